"""Verifiers: an attempt in, a `Verdict` out. `VERIFIERS` maps the names that tasks carry to functions.

A verifier never raises on model text: what it cannot read is wrong, with the reason. Left out: unit tests, symbolic
mathematics.
"""

from __future__ import annotations

from collections.abc import Callable

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.extract import as_integer, extract_integer, extract_text


def verify(task: Task, attempt: str) -> Verdict:
    """Judge one attempt at a task with the verifier that the task names."""
    return VERIFIERS[task.verifier](task, attempt)


def verify_integer(task: Task, attempt: str) -> Verdict:
    """Right when the attempt's last number equals the reference. Only the last counts: guesses before it are free."""
    answer = extract_integer(attempt)
    if answer is None:
        return Verdict(False, 0.0, None, "no whole number in the attempt")
    wanted = as_integer(task.privilege.reference)
    if wanted is None:
        raise ValueError(f"reference {task.privilege.reference!r} is not a whole number")
    correct = int(answer) == wanted
    return Verdict(correct, float(correct), answer, "equal to the reference" if correct else "another number")


def verify_text(task: Task, attempt: str) -> Verdict:
    """Right when the extracted text equals the reference, case and runs of white space aside."""
    answer = extract_text(attempt)
    if answer is None:
        return Verdict(False, 0.0, None, "empty attempt")
    correct = _plain(answer) == _plain(task.privilege.reference)
    return Verdict(correct, float(correct), answer, "equal to the reference" if correct else "another text")


def verify_reasoning_gym(task: Task, attempt: str) -> Verdict:
    """Right when the data set's own scorer gives full marks (1.0) to the extracted text."""
    from rl2f_hub.tasks.reasoning_gym import entry_of, scorer_of

    answer = extract_text(attempt)
    if answer is None:
        return Verdict(False, 0.0, None, "empty attempt")
    score = float(scorer_of(task)(answer, entry_of(task)))
    return Verdict(score >= 1.0, score, answer, f"scored {score:g} of 1 by the data set's own scorer")


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


VERIFIERS: dict[str, Callable[[Task, str], Verdict]] = {
    "integer": verify_integer,
    "text": verify_text,
    "reasoning_gym": verify_reasoning_gym,
}
