"""The guard: what counts as a leak in plain words, and what happens then. `test_leaks.py` has the forms one by one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.dialogue.rollout import Rollout, request_of
from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.errors import RL2FError
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Privilege, Turn, Usage, Verdict
from rl2f_hub.sandbox.jobs import CodeTests
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.teachers import FeedbackRequest, Reply
from rl2f_hub.teachers.controls import LeakedTeacher, ShuffledTeacher
from rl2f_hub.teachers.guard import NEUTRAL, REDACTED, Guard, Judge, find_leaks, leaks_of
from rl2f_hub.teachers.leaks.reading import MAX_CHARS
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.verify import verify

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
    assert {k: v for k, v in guard.counts.items() if "_" not in k} == {"leaked": 3, "retried": 2, "redacted": 1}
    assert guard.counts["leaked_literal"] == 3
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
    assert feedback.text == f"Look: {REDACTED} Now you."
    assert feedback.leaked == ("solution",)
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


# -- asking again, redacting, falling back ------------------------------------------------------------------------------


def test_the_teacher_hears_what_was_wrong_with_its_words(situation: Make, telling: Make) -> None:
    teacher = telling(lambda s: "That is 804 backwards." if not s.objection else "Too low.")
    (feedback,), guard = guarded(teacher, [situation("5", "408")])
    assert feedback.text == "Too low."
    assert [s.objection for s in teacher.seen] == ["", "your feedback gave the answer away (reversed)"]
    assert guard.counts["leaked_reversed"] == 1


def test_what_cannot_be_cut_out_becomes_the_scripted_hint(situation: Make, telling: Make) -> None:
    asked = situation("512", "408")
    (feedback,), guard = guarded(telling("Think of four hundred and eight."), [asked])
    (hint,) = ScriptedTeacher().feedback([asked])
    assert hint is not None
    assert feedback.text == hint.text
    assert feedback.kind == "told"
    assert feedback.leaked == ("words",)
    assert guard.counts["fell_back"] == 1
    assert not guard.counts["redacted"]


def test_a_scripted_hint_that_leaks_itself_becomes_a_fixed_sentence(
    situation: Make, telling: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedTeacher, "feedback", lambda self, s: [Reply("It is 408.", "digits")])
    (feedback,), guard = guarded(telling("Think of four hundred and eight."), [situation("512", "408")])
    assert feedback.text == NEUTRAL
    assert guard.counts["fell_back"] == 1


def test_a_scripted_teacher_that_fails_costs_the_hint_alone(
    situation: Make, telling: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Any, situations: Any) -> Any:
        raise KeyError("shape")

    monkeypatch.setattr(ScriptedTeacher, "feedback", fails)
    (feedback,), _ = guarded(telling("Think of four hundred and eight."), [situation("512", "408")])
    assert feedback.text == NEUTRAL


def test_a_teacher_that_falls_silent_when_asked_again_is_redacted(situation: Make, telling: Make) -> None:
    teacher = telling(lambda s: "It is 408." if not s.objection else None)
    (feedback,), guard = guarded(teacher, [situation("5", "408")])
    assert feedback.text == f"It is {REDACTED}."
    assert guard.counts["redacted"] == 1
    assert not guard.counts["teacher_error"]


def test_every_situation_is_counted_once(situation: Make, telling: Make) -> None:
    says = {"1": "Too low.", "2": "It is 408.", "3": "mulp, that is 804 backwards", "4": None}
    teacher = telling(lambda s: says[s.attempts[-1]])
    out, guard = guarded(teacher, [situation(a, "408") for a in "1234"])
    assert [f is None for f in out] == [False, False, False, True]
    outcomes = ("passed", "redacted", "fell_back", "unguarded", "teacher_error")
    assert [guard.counts[name] for name in outcomes] == [1, 1, 1, 0, 1]


def test_everyday_words_are_not_cut_out_of_a_sentence(situation: Make, telling: Make) -> None:
    (feedback,), guard = guarded(telling("There is no doubt that the answer is no."), [situation("yes", "no")])
    assert REDACTED not in feedback.text
    assert guard.counts["fell_back"] == 1


def test_nothing_is_passed_on_that_was_not_read(situation: Make, telling: Make) -> None:
    (feedback,), guard = guarded(telling("Too low. " * MAX_CHARS + "It is 408."), [situation("5", "408")])
    assert guard.counts["passed"] == 1
    assert "408" not in feedback.text


def test_usage_of_all_replies_is_added_up(situation: Make) -> None:
    class Paid:
        name = "paid"

        def feedback(self, situations: Any) -> list[Reply | None]:
            return [
                Reply("It is 408." if not s.objection else "Too low.", "told", Usage(10, 5, 0.5)) for s in situations
            ]

    (feedback,), _ = guarded(Paid(), [situation("5", "408")])
    assert feedback.usage == Usage(20, 10, 1.0)


def test_the_control_that_tells_the_answer_is_recorded_and_passes(situation: Make) -> None:
    (feedback,), guard = guarded(LeakedTeacher(), [situation("5", "408")])
    assert "408" in feedback.text
    assert feedback.leaked
    assert guard.counts["unguarded"] == guard.counts["leaked"] == 1
    assert not guard.counts["retried"]
    assert not guard.counts["redacted"]


# -- teachers of ours, the world, judges, code ---------------------------------------------------------------------------


def test_the_scripted_teachers_own_words_pass_as_they_are(rng: Any) -> None:
    """Whatever digits they quote. The dialogues of the quickstart consist of them."""
    asked = []
    while len(asked) < 2000:
        attempts = [str(rng.randint(100, 999)) for _ in range(rng.randint(1, 5))]
        reference = str(rng.randint(100, 999))
        if reference not in attempts:
            numbers = [rng.randint(100, 999) for _ in range(2)]
            question = f"Find the Least Common Multiple (LCM) of these numbers: {numbers[0]}, {numbers[1]}"
            verdict = Verdict(False, 0.0, attempts[-1], "another number")
            privilege = Privilege("answer", reference)
            asked.append(FeedbackRequest(question, "arithmetic", tuple(attempts), (), verdict, privilege, len(asked)))
    raw = ScriptedTeacher().feedback(asked)
    out, guard = guarded(ScriptedTeacher(), asked)
    assert [f.text for f in out] == [r.text for r in raw if r]
    assert not any(f.leaked for f in out)
    assert dict(guard.counts) == {"passed": 2000, "leaked": 0}


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from(["full", "place", "direction"]))
def test_the_scripted_teacher_never_leaks(situation: Make, given_: int, wanted: int, strength: str) -> None:
    if given_ != wanted:
        (feedback,), _ = guarded(ScriptedTeacher(strength), [situation(str(given_), str(wanted))])
        assert not feedback.leaked


def test_the_world_may_show_what_a_teacher_may_not_say(situation: Make) -> None:
    """A board that shows letters one by one is the game; the secret as a word is not."""

    class World:
        name = "environment"

        def __init__(self, text: str) -> None:
            self.text = text

        def feedback(self, situations: Any) -> list[Reply | None]:
            return [Reply(self.text, "environment") for _ in situations]

    (shown,), _ = guarded(World("Board: P L U M"), [situation("[m]", "plum")])
    assert (shown.text, shown.leaked) == ("Board: P L U M", ())
    (told,), _ = guarded(World("The word was plum."), [situation("[m]", "plum")])
    assert told.leaked
    assert "plum" not in told.text


def test_shuffled_words_about_another_answer_are_looked_at_for_this_one(situation: Make) -> None:
    asked = [situation("500", "408", question="one"), situation("403", "700", question="two")]
    out, _ = guarded(ShuffledTeacher(), asked)
    assert all(not find_leaks(f.text, s.privilege.reference, s.attempts) for f, s in zip(out, asked, strict=True))


class Says(Judge):
    """A judge with an opinion of its own."""

    def __init__(self, verdict: bool | None) -> None:
        self.verdict, self.heard = verdict, []  # type: ignore[var-annotated]

    def leaks(self, situation: Any, text: str) -> bool | None:
        self.heard.append(text)
        return self.verdict


def test_a_judge_may_object_where_nothing_was_found(situation: Make, telling: Make) -> None:
    judge = Says(True)
    (feedback,), guard = guarded(
        telling("The colour of grass."), [situation("red", "green")], judge=judge, max_retries=1
    )
    assert feedback.leaked == ("judge",)
    assert feedback.text != "The colour of grass."
    assert guard.counts["leaked_judge"] == 2
    assert guard.counts["fell_back"] == 1


@pytest.mark.parametrize("verdict", [False, None])
def test_a_judge_that_does_not_object_changes_nothing(verdict: bool | None, situation: Make, telling: Make) -> None:
    judge = Says(verdict)
    (feedback,), guard = guarded(telling("The colour of grass."), [situation("red", "green")], judge=judge)
    assert (feedback.text, feedback.leaked) == ("The colour of grass.", ())
    assert guard.counts["judge_silent"] == (verdict is None)
    assert judge.heard == ["The colour of grass."]


def test_a_judge_is_not_asked_about_what_was_found(situation: Make, telling: Make) -> None:
    judge = Says(False)
    guarded(telling("It is 408."), [situation("5", "408")], judge=judge, max_retries=0)
    assert judge.heard == [f"It is {REDACTED}."]


SOLVES = "Try\n```python\ndef twice(x):\n    y = x\n    y += x\n    return y\n```"
FAILS = "Try\n```python\ndef twice(x):\n    y = x\n    return y\n```"


def code_situation() -> FeedbackRequest:
    tests = CodeTests("function", tests=("assert twice(4) == 8", "assert twice(-3) == -6"), entry_points=("twice",))
    privilege = Privilege("tests", "", "def twice(x):\n    return 2 * x\n", tests.to_json())
    attempt = "def twice(x):\n    return x ** 2\n"
    verdict = Verdict(False, 0.0, attempt, "test 2 of 2 fails")
    return FeedbackRequest("Define `twice`.", "code", (attempt,), (), verdict, privilege, verifier="unit_tests")


def test_code_that_passes_the_tests_is_a_leak_when_it_is_run(telling: Make) -> None:
    from rl2f_hub.sandbox import shared

    try:
        shared()
    except RL2FError as error:
        pytest.skip(str(error))
    asked = [code_situation()] * 3
    says = iter([SOLVES, FAILS, "No code here."] * 2)
    out, guard = guarded(telling(lambda s: next(says)), asked, check_code=True, max_retries=0)
    assert [f.leaked for f in out] == [("code",), (), ()]
    assert out[0].text != SOLVES
    assert guard.counts["leaked_code"] == 1
    (unchecked,), _ = guarded(telling(SOLVES), asked[:1])
    assert not unchecked.leaked


def test_what_was_said_before_adds_up(situation: Make, telling: Make) -> None:
    first, second = "The first two digits are 17.", "Now the last two digits: they are 86."
    asked = situation("1686", "1786")
    later = replace(asked, attempts=("1686", "1696"), feedbacks=(first,))
    assert guarded(telling(first), [asked], max_retries=0)[0][0].leaked == ()
    assert guarded(telling(second), [asked], max_retries=0)[0][0].leaked == ()
    assert "grouped" in guarded(telling(second), [later], max_retries=0)[0][0].leaked
    assert guarded(telling("Check the carry."), [later], max_retries=0)[0][0].leaked == ()


@pytest.mark.parametrize(
    "said",
    [
        "Double it: `lambda v: v + v`.",
        "The body is only\n```\ny = x\ny += x\nreturn y\n```",
        "Write\n```python\ndef dbl(q):\n    return q + q\n```",
        "Inside: `x + x`",
    ],
)
def test_code_is_made_whole_before_it_is_run(said: str, telling: Make) -> None:
    from rl2f_hub.sandbox import shared

    try:
        shared()
    except RL2FError as error:
        pytest.skip(str(error))
    asked = [code_situation()] * 2
    says = iter([said, said.replace("+", "-")])
    out, _ = guarded(telling(lambda s: next(says)), asked, check_code=True, max_retries=0)
    assert [f.leaked for f in out] == [("code",), ()]


def countdown_rollout(attempt: str) -> Rollout:
    task = next(iter(stream(request_for(SourceSpec(source="reasoning_gym:countdown", count=1), "tasks.train[0]", 3))))
    rollout = Rollout(task, 0, Ledger())
    rollout.turns.append(Turn(attempt, Verdict(False, 0.0, attempt, "another")))
    return rollout


def test_another_right_answer_is_a_leak_where_many_are_right(telling: Make) -> None:
    """The reference of such a task is one of many: what the verifier accepts is one too, and the hint of a number is not."""
    asked = request_of(countdown_rollout("1 + 1"))
    turned = f"({asked.privilege.reference})"
    for said, leaked in ((f'You could have said "{turned}".', True), ("Use every number once.", False)):
        (out,), _ = guarded(telling(said), [replace(asked, privilege=Privilege("answer", ""))], max_retries=0)
        assert out.leaked == (("accepted",) if leaked else ())


def test_marks_on_the_students_own_digits_never_add_up_to_a_leak(situation: Any) -> None:
    """The scripted teacher's words over many turns, as the quickstart hears them: 72 of 17,288 were once stopped."""
    rng = random.Random(5)
    for reference in ("555", "888", "101", "166", "882", "407", "950"):
        heard: list[str] = []
        attempts: list[str] = []
        for _ in range(6):
            digits = [d if rng.random() < 0.6 else str(rng.randrange(10)) for d in reference]
            attempt = "".join(["1" if digits[0] == "0" else digits[0], *digits[1:]])
            if attempt == reference:
                continue
            attempts.append(attempt)
            request = situation(attempt, reference, attempts=tuple(attempts), feedbacks=tuple(heard))
            [reply] = ScriptedTeacher().feedback([request])
            assert leaks_of(reply.text, request, reply.kind) == (), (reference, attempts, heard, reply.text)
            heard.append(reply.text)


@pytest.mark.parametrize("strength", ["full", "place", "direction"])
def test_no_words_of_the_scripted_teacher_are_stopped_on_reasoning_gym(strength: str) -> None:
    """Over sets of every shape of answer; a wrong attempt is the answer of another task of the set, and a constant."""
    names = (
        "basic_arithmetic chain_sum lcm gcd prime_factorization decimal_arithmetic fraction_simplification "
        "number_sorting word_sorting letter_counting spell_backward caesar_cipher letter_jumble number_filtering "
        "base_conversion leg_counting count_bits rotate_matrix mini_sudoku game_of_life manipulate_matrix "
        "knights_knaves syllogism family_relationships calendar_arithmetic time_intervals simple_equations"
    ).split()
    asked = []
    for name in names:
        source = SourceSpec(source=f"reasoning_gym:{name}", count=2)
        one, other = itertools.islice(stream(request_for(source)), 2)
        for attempt in (other.privilege.reference, "100"):
            verdict = verify(one, attempt)
            if not verdict.correct:
                asked.append(
                    FeedbackRequest(
                        one.prompt,
                        one.domain,
                        (attempt,),
                        (),
                        verdict,
                        one.privilege,
                        len(asked),
                        verifier=one.verifier,
                    )
                )
    assert len(asked) > 40
    out, _ = guarded(ScriptedTeacher(strength), asked)
    assert [(f.text, f.leaked) for f in out if f.leaked] == []
