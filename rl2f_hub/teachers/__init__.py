"""Teachers: who answers a wrong attempt. A teacher sees a `Situation`, privilege included, and returns words.

Nothing a teacher says reaches a student except through `guard.Guard`. `TEACHERS` maps the recipe's names to classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Privilege, Verdict


@dataclass(frozen=True, slots=True)
class Situation:
    """What the teacher sees after a wrong attempt: the public history, the verdict and the privilege."""

    question: str
    domain: str
    attempts: tuple[str, ...]
    feedbacks: tuple[str, ...]
    verdict: Verdict
    privilege: Privilege
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A teacher's raw words and what kind of feedback they are (`digits`, `position`, `format`, `try_again`, ...)."""

    text: str
    kind: str


class Teacher(Protocol):
    """Answers wrong attempts, a batch at a time; None where it has nothing to say."""

    name: str

    def feedback(self, situations: Sequence[Situation]) -> list[Reply | None]: ...


def build_teacher(kind: str) -> Teacher:
    """The teacher a recipe names."""
    from rl2f_hub.teachers.controls import ShuffledTeacher, TryAgainTeacher
    from rl2f_hub.teachers.scripted import ScriptedTeacher

    teachers: dict[str, type[Teacher]] = {
        "scripted": ScriptedTeacher,
        "try_again": TryAgainTeacher,
        "shuffled": ShuffledTeacher,
    }
    if kind not in teachers:
        raise UsageError(f"teacher.kind: {kind!r} is unknown; choose one of {', '.join(sorted(teachers))}")
    return teachers[kind]()
