"""Verifiers: an attempt in, a `Verdict` out. Tasks name theirs; `kinds.VERIFIERS` says where each is.

A verifier never raises on model text: what it cannot read is wrong, with a reason that a person can read. It raises
ValueError when the task itself is at fault. Whatever may take long runs in a child with a time limit (`limited.py`),
whatever runs model-written code in the sandbox. An empty attempt, and one that only quotes the question, is wrong
before any verifier sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.kinds import VERIFIERS, find_part
from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.answer import Marks, without_scratch
from rl2f_hub.verify.base import Environment, Verifier, replay
from rl2f_hub.verify.extract import without_question
from rl2f_hub.verify.plugin import HasVerify, is_plugin, verdict_by

__all__ = [
    "VERIFIERS",
    "Environment",
    "Verifier",
    "as_verifier",
    "named",
    "replay",
    "verifier_of",
    "verify",
    "verify_many",
]


def named(name: str) -> Verifier:
    """The verifier of a name in `kinds.VERIFIERS`. Raises: UsageError where there is none."""
    return find_part(VERIFIERS, name, "verifier")


def verifier_of(task: Task) -> Verifier:
    """The verifier that a task names."""
    if task.verifier == "environment" and is_plugin(task):
        from rl2f_hub.verify.environment import OWN_ENVIRONMENT

        return OWN_ENVIRONMENT
    return named(task.verifier)


def as_verifier(judge: Any) -> Verifier:
    """`judge` as a `Verifier`: it may be one, a function (task, attempt), an object with `verify`, or an `Environment`'s class.

    A function or `verify` returns a `Verdict`, True or False, or a score from 0 to 1. It runs in this process, without a
    time limit.

    Raises:
        UsageError: anything else.
    """
    if isinstance(judge, Verifier):
        return judge
    if isinstance(judge, type) and issubclass(judge, Environment):
        return Verifier(
            lambda task, attempt, earlier: replay(judge(), task, (*earlier, attempt)),
            history=True,
            answers_itself=True,
            takes_all=True,
        )
    if isinstance(judge, HasVerify) or callable(judge):
        return Verifier(lambda task, attempt: verdict_by(judge, task, attempt))
    raise UsageError(
        f"verifier: {type(judge).__name__} is none; give a Verifier, or a function (task, attempt) that returns a bool, a "
        "score or a Verdict"
    )


def verify(task: Task, attempt: str, earlier: Sequence[str] = ()) -> Verdict:
    """Judge one attempt at a task with the verifier that the task names. Scratch work in it is never judged.

    Args:
        earlier: the dialogue's attempts before this one, oldest first.
    Raises:
        ValueError: the task is at fault, not the attempt.
    """
    verdict = verify_many([(task, attempt, earlier)])[0]
    if isinstance(verdict, Exception):
        raise verdict
    return verdict


def verify_many(
    items: Sequence[tuple[Task, str, Sequence[str]]], verifier: Verifier | None = None
) -> list[Verdict | Exception]:
    """`verify` for many (task, attempt, earlier) at once; code is run in parallel. An exception stands in its place.

    `verifier` judges in place of those that the tasks name.
    """
    known = {task.verifier: verifier or verifier_of(task) for task, _, _ in items if task.verifier != "environment"}
    whose = [verifier or known.get(task.verifier) or verifier_of(task) for task, _, _ in items]
    results: list[Verdict | Exception | None] = []
    words: list[str] = []
    for w, (task, attempt, _) in zip(whose, items, strict=True):
        said = without_scratch(attempt, _marks(task))
        words.append(_own_words(w, task, said or ""))
        unfinished = said is None and not w.answers_itself  # an environment says itself what a move looks like
        results.append(UNFINISHED if unfinished else _too_little(w, said or "", words[-1]))
    for several in {id(w): w for w in whose if w.judge_many is not None}.values():
        places = [i for i, w in enumerate(whose) if w is several and results[i] is None]
        if len(places) > 1 and several.judge_many is not None:
            judged = several.judge_many([(items[i][0], words[i]) for i in places])
            for i, verdict in zip(places, judged, strict=True):
                results[i] = verdict
    for i, (task, _, earlier) in enumerate(items):
        if results[i] is None:
            try:
                marks = _marks(task)
                before = [without_scratch(text, marks) or "" for text in earlier] if whose[i].history else ()
                results[i] = whose[i].judge(task, words[i], before)
            except Exception as error:  # one bad task or verifier costs its own dialogue, never the batch
                results[i] = error
    return [verdict for verdict in results if verdict is not None]


def _marks(task: Task) -> Sequence[Marks]:
    """The thinking marks that the task's source names in its recipe."""
    return task.settings.get("thinking_marks", ()) if '"thinking_marks"' in task.config else ()


UNFINISHED = Verdict(False, 0.0, None, "the thinking never ends: there is no answer after it")


def _too_little(verifier: Verifier, said: str, own: str) -> Verdict | None:
    if verifier.answers_itself:
        return None  # the environment itself says what a move looks like, and the dialogue goes on
    if not said.strip():
        return Verdict(False, 0.0, None, "empty attempt")
    if not own.strip():
        return Verdict(False, 0.0, None, "the attempt only quotes the question")
    return None


def _own_words(verifier: Verifier, task: Task, attempt: str) -> str:
    """The attempt without the question; code and moves are taken as they are."""
    return attempt if verifier.takes_all else without_question(attempt, task.prompt)
