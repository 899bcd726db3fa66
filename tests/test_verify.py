"""Verifiers: what counts as the answer of an attempt, and that no text of a model can hurt them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.records import Task, Verdict
from rl2f_hub.tasks.reasoning_gym import entry_of, reasoning_gym_tasks, scorer_of
from rl2f_hub.verify import verify
from rl2f_hub.verify.extract import as_integer, extract_integer, extract_text


@pytest.mark.parametrize(
    ("attempt", "answer"),
    [
        ("408", "408"),
        ("12 * 34 = 408", "408"),
        ("It is 1,234,567.", "1234567"),
        ("-7", "-7"),
        ("the sum is \u22127", "-7"),
        ("+7", "7"),
        ("0042", "42"),
        ("42.0", "42"),
        ("first 5, then 6", "6"),
        ("\\boxed{12} and not 13", "12"),
        ("\\boxed{11} or rather \\boxed{12}, 99", "12"),
        ("\\boxed{1,200}", "1200"),
        ("\\boxed{} 8", "8"),
        ("The answer is 12.\nI checked 3 times.", "12"),
        ("Answer: 4\nFinal answer: 5\nthanks 6", "5"),
        ("the answer is:\n\n  17", "17"),
        ("answer = $17$", "17"),
        ("(42)", "42"),
        ("**42**", "42"),
        ("no number here", None),
        ("", None),
        (" \n\t ", None),
        ("3.14", None),
        ("about 1,234.5", None),
        ("1234,567", None),
        ("twelve", None),
        ("٤٢", None),
    ],
)
def test_the_whole_number_of_an_attempt(attempt: str, answer: str | None) -> None:
    assert extract_integer(attempt) == answer


@pytest.mark.parametrize(
    ("attempt", "answer"),
    [
        ("plum", "plum"),
        ("I think so.\nThe answer is plum.", "plum"),
        ("\\boxed{plum} is my answer: pear", "plum"),
        ("Answer: `plum`", "plum"),
        ("", None),
        ("  \n ", None),
    ],
)
def test_the_text_of_an_attempt(attempt: str, answer: str | None) -> None:
    assert extract_text(attempt) == answer


@given(st.integers(-(10**30), 10**30))
def test_an_integer_is_read_in_every_usual_form(value: int) -> None:
    for text in (str(value), f"{value:,}", f"${value}$", f" {value}.0 ", f"{value:+d}"):
        assert as_integer(text) == value
        assert extract_integer(f"So it is {text}") == str(value)


@given(st.text(max_size=200), st.sampled_from(["integer", "text"]))
def test_no_text_makes_a_verifier_raise(text: str, verifier: str) -> None:
    verdict = verify(_task(verifier, "408"), text)
    assert isinstance(verdict, Verdict)
    assert verdict.reason


HOSTILE = {
    "digits": "1" * 100_000,
    "commas": "1," * 50_000,
    "thousands": ",111" * 25_000,
    "points": "1.0" * 30_000,
    "zeros": "1." + "0" * 100_000 + "1",
    "signs": "+-" * 50_000,
    "boxes": "\\boxed{" * 15_000,
    "closed boxes": "\\boxed{" * 5_000 + "}" * 5_000,
    "blank lines": "answer is" + "\n" * 19_980,
    "blanks": "answer" + " " * 10_000 + "is" + " " * 9_980,
    "colons": "answer" + ":" * 19_980,
    "nul": "\x00" * 1_000,
    "unicode digits": "٣٤٥" * 5_000,
    "superscripts": "answer is ²³",
}


@pytest.mark.parametrize("verifier", ["integer", "text"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_wrong_and_quick(name: str, verifier: str) -> None:
    start = time.process_time()
    assert not verify(_task(verifier, "408"), HOSTILE[name]).correct
    assert time.process_time() - start < 0.5  # a quadratic pattern takes seconds


def test_an_attempt_is_read_from_its_end() -> None:
    assert extract_integer("7 " + "blah " * 10_000 + "8") == "8"


@pytest.mark.parametrize("name", ["chain_sum", "products", "lcm"])
def test_integer_agrees_with_the_data_sets_own_scorer(name: str) -> None:
    """Over 200 items: the answer is right for both verifiers, a perturbed one is wrong for both."""
    rng = random.Random(name)
    stream = reasoning_gym_tasks(name, {}, 3, "train", "integer", None)
    for _ in range(200):
        task = next(stream)
        reference = task.privilege.reference
        own: Callable[[str, dict[str, Any]], float] = scorer_of(task)
        value = int(reference)
        for answer in (reference, str(value + rng.choice([-10, -1, 1, 10])), str(-value), reference + "1"):
            same = int(answer) == value
            assert (own(answer, entry_of(task)) >= 1.0) == same == verify(task, answer).correct, (task.prompt, answer)


def test_the_reasoning_gym_verifier_scores_with_the_data_sets_own_scorer() -> None:
    task = next(reasoning_gym_tasks("chain_sum", {}, 3, "train", "reasoning_gym", None))
    right = verify(task, f"The answer is {task.privilege.reference}")
    wrong = verify(task, str(int(task.privilege.reference) + 1))
    assert right.correct
    assert right.score == 1.0
    assert not wrong.correct
    assert wrong.score < 1.0
    assert not verify(task, "").correct


def test_text_is_compared_without_case_and_spacing() -> None:
    assert verify(_task("text", "Red  Plum"), "red plum").correct
    assert not verify(_task("text", "Red Plum"), "redplum").correct


def test_a_reference_that_is_no_number_is_a_fault_of_the_task_and_not_a_wrong_answer() -> None:
    with pytest.raises(ValueError, match="whole number"):
        verify(_task("integer", "plum"), "5")


def _task(verifier: str, reference: str) -> Task:
    from rl2f_hub.records import Privilege

    return Task("t", "test", "test", "What?", Privilege("answer", reference), verifier)
