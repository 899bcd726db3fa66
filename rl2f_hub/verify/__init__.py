"""Verifiers: an attempt in, a `Verdict` out. `VERIFIERS` maps the names that tasks carry to them.

A verifier never raises on model text: what it cannot read is wrong, with a reason that a person can read. It raises
ValueError when the task itself is at fault. Whatever may take long runs in a child with a time limit (`limited.py`),
whatever runs model-written code in the sandbox. An empty attempt, and one that only quotes the question, is wrong
before any verifier sees it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify import environment, exact, grid, mathematics, plugin, scorers, unit_tests
from rl2f_hub.verify.answer import Marks, without_scratch
from rl2f_hub.verify.extract import without_question


def _nothing_to_check(task: Task) -> None:
    """For tasks that a program made: their reference needs no reading."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """How to judge an attempt and how to check, when a task is loaded, that its reference can be used.

    Attributes:
        own_judge: (task, attempt) -> verdict; with `history`, (task, attempt, earlier attempts) -> verdict.
        own_check: raises ValueError when the task's reference cannot be used.
        limited: both run in the time-limited child.
        history: the verdict depends on the earlier attempts too (environments).
    """

    own_judge: Callable[..., Verdict]
    own_check: Callable[[Task], None] = _nothing_to_check
    limited: bool = False
    history: bool = False

    def judge(self, task: Task, attempt: str, earlier: Sequence[str] = ()) -> Verdict:
        if self.limited:
            from rl2f_hub.verify.limited import shared

            return shared().judge(task, attempt)
        return self.own_judge(task, attempt, tuple(earlier)) if self.history else self.own_judge(task, attempt)

    def check(self, task: Task) -> None:
        if self.limited and self.own_check is not _nothing_to_check:
            from rl2f_hub.verify.limited import shared

            shared().check(task)
        else:
            self.own_check(task)


VERIFIERS: dict[str, Verifier] = {
    "integer": Verifier(exact.integer, exact.check_integer),
    "text": Verifier(exact.text, exact.check_text),
    "choice": Verifier(exact.choice, exact.check_choice),
    "math": Verifier(mathematics.mathematics, mathematics.check_mathematics, limited=True),
    "grid": Verifier(grid.grid, grid.check_grid),
    "reasoning_gym": Verifier(scorers.own_scorer, limited=True),
    "unit_tests": Verifier(unit_tests.unit_tests, unit_tests.check_unit_tests),
    "environment": Verifier(environment.environment, history=True),
    "python": Verifier(plugin.plugin, limited=True),
}


def verify(task: Task, attempt: str, earlier: Sequence[str] = ()) -> Verdict:
    """Judge one attempt at a task with the verifier that the task names. Scratch work in it is never judged.

    Args:
        earlier: the dialogue's attempts before this one, oldest first.
    Raises:
        ValueError: the task is at fault, not the attempt.
    """
    judged = verify_many([(task, attempt, earlier)])[0]
    if isinstance(judged, Exception):
        raise judged
    return judged


def verify_many(items: Sequence[tuple[Task, str, Sequence[str]]]) -> list[Verdict | Exception]:
    """`verify` for many (task, attempt, earlier) at once; code is run in parallel. An exception stands in its place."""
    out: list[Verdict | Exception | None] = []
    words: list[str] = []
    for task, attempt, _ in items:
        said = without_scratch(attempt, _marks(task))
        words.append(_own_words(task, said or ""))
        unfinished = (
            said is None and task.verifier != "environment"
        )  # an environment says itself what a move looks like
        out.append(UNFINISHED if unfinished else _too_little(task, said or "", words[-1]))
    code = [i for i, (task, _, _) in enumerate(items) if out[i] is None and task.verifier == "unit_tests"]
    if len(code) > 1:
        judged = unit_tests.judge_many([(items[i][0], words[i]) for i in code])
        for i, verdict in zip(code, judged, strict=True):
            out[i] = verdict
    for i, (task, _, earlier) in enumerate(items):
        if out[i] is None:
            verifier = VERIFIERS[task.verifier]
            try:
                before = [without_scratch(text, _marks(task)) or "" for text in earlier] if verifier.history else ()
                out[i] = verifier.judge(task, words[i], before)
            except Exception as error:  # one bad task or verifier costs its own dialogue, never the batch
                out[i] = error
    return [verdict for verdict in out if verdict is not None]


def _marks(task: Task) -> Sequence[Marks]:
    """The thinking marks that the task's source names in its recipe."""
    return json.loads(task.config).get("thinking_marks", ()) if '"thinking_marks"' in task.config else ()


UNFINISHED = Verdict(False, 0.0, None, "the thinking never ends: there is no answer after it")


def _too_little(task: Task, said: str, own: str) -> Verdict | None:
    if task.verifier == "environment":
        return None  # the environment itself says what a move looks like, and the dialogue goes on
    if not said.strip():
        return Verdict(False, 0.0, None, "empty attempt")
    if not own.strip():
        return Verdict(False, 0.0, None, "the attempt only quotes the question")
    return None


def _own_words(task: Task, attempt: str) -> str:
    """The attempt without the question; code and moves are taken as they are."""
    return attempt if task.verifier in ("unit_tests", "environment") else without_question(attempt, task.prompt)
