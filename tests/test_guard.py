"""The guard: what counts as a leak, what does not, and what happens then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.teachers import Reply
from rl2f_hub.teachers.guard import REDACTED, Guard, find_leaks

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("It is 1234.", "1234"),
        ("It is (1234)", "1234"),
        ("=1234", "1234"),
        ("1234, of course", "1234"),
        ("It is 1,234.", "1234"),
        ("It is 1 234.", "1234"),
        ("It is 1_234_567.", "1234567"),
        ("It is 12,345,678.", "12345678"),
        ("It is 1234.", "1,234"),
        ("It is \\boxed{1234}.", "1234"),
        ("It is $1234$.", "1234"),
        ("It is 001234.", "1234"),
        ("It is 1234.0", "1234"),
        ("It is _1234_.", "1234"),
        ("It is **1234**.", "1234"),
        ("Say RED PLUM.", "red plum"),
        ("Say red\n  plum.", "red plum"),
        ("Say \\text{red plum}.", "red plum"),
        ("Say x^2+1.", "x^2+1"),
    ],
)
def test_the_reference_is_found_in_its_usual_spellings(text: str, reference: str) -> None:
    assert find_leaks(text, reference, ())


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("Wrong: tens 3 too low, units 4 right.", "34"),
        ("It is near 12345.", "1234"),
        ("It is not 51234.", "1234"),
        ("It is not 1234.5", "1234"),
        ("It is 0.05", "0.5"),
        ("Try version 1.1234", "1234"),
        ("explained", "plain"),
        ("anything", ""),
        ("anything", "  "),
        ("", "1234"),
    ],
)
def test_other_words_are_no_leak(text: str, reference: str) -> None:
    assert find_leaks(text, reference, ()) == ()


def test_what_the_student_wrote_is_no_leak(situation: Make) -> None:
    said = situation("I had 34 first, then 35", "34", answer="35")
    assert not find_leaks("Your 34 was better than your 35.", "34", said.attempts)
    assert find_leaks("Say 34.", "34", ("I thought of 340",))


def test_a_number_of_the_question_is_no_leak() -> None:
    assert not find_leaks("Look at the 34 again.", "34", ("What is 34 * 1?",))
    assert not find_leaks("Look at the 1,234 again.", "1234", ("What is 1234 * 1?",))


@given(
    st.integers(0, 10**12), st.sampled_from(["{}", "{:,}", "00{}", "\\boxed{{{}}}", "${}$", "_{}_", "{}.0", "x = {}!"])
)
def test_a_number_is_found_in_every_form(value: int, form: str) -> None:
    assert find_leaks(f"The result is {form.format(value)}, so try that.", str(value), ())


@given(st.integers(10, 10**9), st.integers(10, 10**9))
def test_another_number_is_no_leak(value: int, other: int) -> None:
    assert bool(find_leaks(f"The result is {other}, so try that.", str(value), ())) == (value == other)


def guarded(teacher: Any, asked: list[Any], **options: Any) -> tuple[list[Any], Guard]:
    guard = Guard(**options)
    return guard.pass_on(teacher, asked), guard


def test_a_clean_reply_passes_unchanged(situation: Make, telling: Make) -> None:
    (feedback,), guard = guarded(telling("Wrong: too low."), [situation("5", "34")])
    assert (feedback.text, feedback.kind, feedback.leaked) == ("Wrong: too low.", "told", ())
    assert dict(guard.counts) == {"passed": 1, "leaked": 0}


def test_a_leak_is_asked_for_again_and_then_redacted(situation: Make, telling: Make) -> None:
    teacher = telling("The answer is 34, not 5.")
    (feedback,), guard = guarded(teacher, [situation("5", "34")], max_retries=2)
    assert feedback.text == f"The answer is {REDACTED}, not 5."
    assert "literal" in feedback.leaked
    assert dict(guard.counts) == {"leaked": 3, "retried": 2, "redacted": 1}
    assert len(teacher.seen) == 3


def test_every_retry_has_a_seed_of_its_own(situation: Make, telling: Make) -> None:
    """A sampling teacher must get a new chance to say something else each time."""
    teacher = telling("It is 34.")
    guarded(teacher, [situation("5", "34")], max_retries=3)
    assert len({s.seed for s in teacher.seen}) == 4


def test_a_teacher_that_mends_itself_is_not_redacted(situation: Make, telling: Make) -> None:
    teacher = telling(lambda s: "It is 34." if s.seed == 0 else "Too low.")
    (feedback,), guard = guarded(teacher, [situation("5", "34")])
    assert feedback.text == "Too low."
    assert not feedback.leaked
    assert guard.counts["passed"] == guard.counts["retried"] == guard.counts["leaked"] == 1
    assert not guard.counts["redacted"]


def test_no_retries_means_redaction_at_once(situation: Make, telling: Make) -> None:
    teacher = telling("It is 34.")
    (feedback,), _ = guarded(teacher, [situation("5", "34")], max_retries=0)
    assert REDACTED in feedback.text
    assert len(teacher.seen) == 1


@pytest.mark.parametrize("text", ["It is 1,234.", "It is \\boxed{01234}.", "It is 1,234, I repeat: 1234.", "1 234"])
def test_a_form_that_cannot_be_cut_out_is_replaced_as_a_whole(text: str, situation: Make, telling: Make) -> None:
    (feedback,), _ = guarded(telling(text), [situation("5", "1234")])
    assert not find_leaks(feedback.text, "1234", ())
    assert feedback.text.strip()
    assert "234" not in feedback.text


def test_the_solution_is_guarded_like_the_reference(situation: Make, telling: Make) -> None:
    solution = "First 12 * 30 = 360,\nthen 12 * 4 = 48."
    asked = situation("5", "408", solution=solution)
    (feedback,), guard = guarded(telling(f"Look: {solution} Now you."), [asked])
    assert "360" not in feedback.text
    assert feedback.leaked
    assert guard.counts["redacted"] == 1


def test_only_the_leaking_replies_of_a_batch_are_asked_for_again(situation: Make, telling: Make) -> None:
    teacher = telling(lambda s: "It is 34." if s.privilege.reference == "34" else "Too low.")
    out, guard = guarded(teacher, [situation("5", r) for r in ("33", "34", "35")], max_retries=1)
    assert [f.text for f in out] == ["Too low.", f"It is {REDACTED}.", "Too low."]
    assert guard.counts["retried"] == 1
    assert len(teacher.seen) == 4


@pytest.mark.parametrize("reply", [None, "", "  \n"])
def test_no_words_are_no_feedback_and_counted(reply: str | None, situation: Make, telling: Make) -> None:
    out, guard = guarded(telling(lambda _: reply), [situation("5", "34")])
    assert out == [None]
    assert guard.counts["teacher_error"] == 1


class Raises:
    name = "raises"

    def feedback(self, situations: Any) -> list[Any]:
        raise RuntimeError("out of memory")


class Short:
    name = "short"

    def feedback(self, situations: Any) -> list[Any]:
        return [Reply("Too low.", "told")] * (len(situations) - 1)


@pytest.mark.parametrize("teacher", [Raises(), Short()], ids=["raises", "one reply too few"])
def test_a_broken_teacher_fails_its_dialogues_and_not_the_run(teacher: Any, situation: Make) -> None:
    """With one reply too few nobody knows which reply belongs to whom: none is used."""
    out, guard = guarded(teacher, [situation("5", "34"), situation("6", "34")])
    assert out == [None, None]
    assert guard.counts["teacher_error"] == 2


def test_nobody_asked_nobody_called(telling: Make) -> None:
    teacher = telling("x")
    assert guarded(teacher, [])[0] == []
    assert teacher.seen == []
