"""Verifiers: what counts as the answer of an attempt, and that no text of a model can hurt them."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.recipe import SourceSpec
from rl2f_hub.records import Privilege, Task, Verdict
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.tasks.reasoning_gym import entry_of, scorer_of
from rl2f_hub.tasks.scorers import EVALUATES_PYTHON, EVALUATES_SYMPY, own_scorer
from rl2f_hub.verify import named, verify
from rl2f_hub.verify.answer import extract_text
from rl2f_hub.verify.exact import read_integer
from rl2f_hub.verify.limited import LimitedChild
from rl2f_hub.verify.quantity import as_integer


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
        ("twelve", "12"),
        ("٤٢", None),
    ],
)
def test_the_whole_number_of_an_attempt(attempt: str, answer: str | None) -> None:
    assert read_integer(attempt).answer == answer


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
        assert read_integer(f"So it is {text}").answer == str(value)


@given(st.text(max_size=200), st.sampled_from(["integer", "text", "choice"]))
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


@pytest.fixture(scope="module")
def steps_s() -> float:
    """What a million steps of this interpreter take on this machine, in seconds of its processor."""
    start = time.process_time()
    for _ in range(1_000_000):
        pass
    return time.process_time() - start


@pytest.mark.parametrize("verifier", ["integer", "text", "choice"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_wrong_and_quick(name: str, verifier: str, steps_s: float) -> None:
    verify(_task(verifier, "408"), "what is imported late is here now")
    start = time.process_time()
    assert not verify(_task(verifier, "408"), HOSTILE[name]).correct
    assert time.process_time() - start < 20 * steps_s  # a quadratic pattern takes hundreds of millions


def test_an_attempt_is_read_from_its_end() -> None:
    assert read_integer("7 " + "blah " * 10_000 + "8").answer == "8"


@pytest.mark.parametrize("name", ["chain_sum", "products", "lcm"])
def test_integer_agrees_with_the_data_sets_own_scorer(name: str) -> None:
    """Over 200 items: the answer is right for both verifiers, a perturbed one is wrong for both."""
    rng = random.Random(name)
    source = SourceSpec(source=f"reasoning_gym:{name}", count=1, verifier="integer")
    tasks = stream(request_for(source, seed=3))
    for _ in range(200):
        task = next(tasks)
        reference = task.privilege.reference
        own: Callable[[str, dict[str, Any]], float] = scorer_of(task)
        value = int(reference)
        for answer in (reference, str(value + rng.choice([-10, -1, 1, 10])), str(-value), reference + "1"):
            same = int(answer) == value
            assert (own(answer, entry_of(task)) >= 1.0) == same == verify(task, answer).correct, (task.prompt, answer)


def test_the_reasoning_gym_verifier_scores_with_the_data_sets_own_scorer() -> None:
    task = next(stream(request_for(SourceSpec(source="reasoning_gym:chain_sum", count=1), seed=3)))
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


# -- committing to one answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "answer"),
    [
        ("The answer is 12. I like 7", "12"),
        ("The answer is 12, because 7 does not divide it", "12"),
        ("answer: 3 + 4 = 7 apples", "7"),
        ("The result is **42** units of 10", "42"),
        ("\\boxed{\\text{about } 8}", "8"),
        ("7, 8 or 9", None),
        ("The answer is 7, 8 or 9", None),
        ("either 7 or 8", None),
        ("1\n2\n3", None),
        ("8 8", "8"),
        ("\\boxed{7} or \\boxed{8}", None),
    ],
)
def test_the_first_number_after_answer_is_counts_and_a_list_commits_to_none(attempt: str, answer: str | None) -> None:
    assert read_integer(attempt).answer == answer


@pytest.mark.parametrize("verifier", ["integer", "text", "math"])
def test_quoting_the_question_answers_nothing(verifier: str) -> None:
    question = "A farm has 12 hens and 408 eggs; how many eggs are there?"
    task = replace(_task(verifier, "408"), prompt=question)
    for attempt in (question, f"{question}\n", question.replace(" ", "\n"), f"  {question} {question}"):
        verdict = verify(task, attempt)
        assert not verdict.correct
        assert verdict.answer is None
    assert verify(task, f"{question}\n408").correct


@pytest.mark.parametrize(
    ("attempt", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("The answer is (B) because A is wrong.", "B"),
        ("Option A is wrong.\nSo (B)", "B"),
        ("Answer: B) green pear", "B"),
        ("green  Pear", "B"),
        ("\\boxed{B}", "B"),
        ("C", "C"),
        ("A, B, C", None),
        ("The answer is A or B", None),
        ("I think A dog", None),
        ("E", None),
    ],
)
def test_the_choice_of_an_attempt(attempt: str, letter: str | None) -> None:
    config = json.dumps({"options": ["red plum", "green pear", "blue fig"]})
    verdict = verify(replace(_task("choice", "B"), config=config), attempt)
    assert verdict.answer == letter
    assert verdict.correct == (letter == "B")


MATHS = [
    (r"\frac{1}{2}", ["0.5", r"\boxed{\frac12}", "The answer is 1/2.", "2/4"], ["1/3", "2", "0.5 or 0.6"]),
    ("x^2+2x+1", ["$(x+1)^2$", "The answer is (x+1)^2"], ["(x-1)^2", "x^2"]),
    ("3 + 4 = 7, so 7 * 2 = 14\n#### 14", ["14", "$14", "It is 14 dollars", "The answer is 14 dollars"], ["7", "15"]),
    ("#### 1,234", ["1234", "1,234", "\\boxed{1234}"], ["1", "234", "1234.5"]),
    ("[0,1)", ["$[0,1)$"], ["[0, 1]", "(0, 1)"]),
    ("(1,2)", ["(1, 2)"], ["(2, 1)"]),
    (r"\text{even}", ["even", "The answer is even."], ["odd", "evenly"]),
    (r"2\sqrt{3}", [r"$\sqrt{12}$", "\\boxed{2\\sqrt3}"], ["3.46", "$\\sqrt{13}$"]),
]


@pytest.mark.parametrize(("reference", "right", "wrong"), MATHS)
def test_mathematical_equality(reference: str, right: list[str], wrong: list[str]) -> None:
    task = _task("math", reference)
    assert [a for a in right if not verify(task, a).correct] == []
    assert [a for a in wrong if verify(task, a).correct] == []


def test_a_reference_that_is_no_mathematics_is_refused_when_the_task_is_loaded() -> None:
    with pytest.raises(ValueError, match="no mathematical answer"):
        named("math").check(_task("math", "???"))


# -- the time-limited child ----------------------------------------------------------------------------------------


def test_a_verdict_that_takes_too_long_is_wrong_and_the_next_one_is_judged() -> None:
    child = LimitedChild(time_limit=60)
    try:
        task = _task("math", r"\frac{1}{2}")
        assert child.judge(task, "0.5").correct
        child.time_limit = 3
        slow = child.judge(task, "$" + "+".join(f"\\sqrt{{{n}^{{{n}^{{9}}}}}}" for n in range(50, 90)) + "$")
        assert not slow.correct
        child.time_limit = 60
        assert child.judge(task, "0.5").correct
    finally:
        child.close()


def test_the_child_sees_no_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    child = LimitedChild()
    try:
        assert child.judge(_task("math", "1"), "1").correct
        assert child._process is not None
        environment = Path(f"/proc/{child._process.pid}/environ").read_bytes()
    finally:
        child.close()
    assert b"canary" not in environment


PROGRAMS = [
    "__import__('os').system('touch {}')",
    "[__import__('pathlib').Path('{}').touch()]",
    "[x for x in [open('{}', 'w')]]",
    "exec(bytes([{codes}]).decode())",
    "(lambda: open('{}', 'w'))()",
    "sympify(\"open('{}', 'w')\")",
    "1 + open('{}', 'w')!",
]


@pytest.mark.parametrize(
    "dataset", sorted(EVALUATES_PYTHON | EVALUATES_SYMPY | {"number_sorting", "bitwise_arithmetic"})
)
def test_an_answer_that_is_a_program_is_not_run(dataset: str, tmp_path: Path) -> None:
    task = next(stream(request_for(SourceSpec(source=f"reasoning_gym:{dataset}", count=1), seed=3)))
    mark = tmp_path / "ran"
    codes = ",".join(str(b) for b in f"open({str(mark)!r}, 'w')".encode())
    for program in PROGRAMS:
        text = program.replace("{codes}", codes).replace("{}", str(mark))
        assert not own_scorer(task, text).correct, text
        assert not mark.exists(), text


def test_only_what_is_needed_is_judged_by_the_data_sets_that_evaluate() -> None:
    for dataset in sorted(EVALUATES_PYTHON | EVALUATES_SYMPY):
        tasks = stream(request_for(SourceSpec(source=f"reasoning_gym:{dataset}", count=5), seed=3))
        for task in itertools.islice(tasks, 5):
            assert own_scorer(task, task.privilege.reference).correct, (dataset, task.privilege.reference)


def test_the_threshold_decides_which_score_is_correct() -> None:
    for threshold, correct in ((1.0, False), (0.01, True)):
        spec = SourceSpec(source="reasoning_gym:countdown", count=1, threshold=threshold)
        assert own_scorer(next(stream(request_for(spec))), "1").correct == correct


def test_puzzle24_must_use_its_own_four_numbers() -> None:
    task = next(stream(request_for(SourceSpec(source="reasoning_gym:puzzle24", count=1), seed=3)))
    assert own_scorer(task, task.privilege.reference).correct
    assert not own_scorer(task, "6 * 4 * 1 * 1").correct


def test_a_comment_of_html_is_no_part_of_an_answer() -> None:
    task = Task("t", "own", "own", "What is 2 * 3?", Privilege("answer", "6"), "integer")
    assert verify(task, "# a heading\n<!-- hidden 7 --> 6").correct
    assert not verify(task, "7 <!-- 6 -->").correct
