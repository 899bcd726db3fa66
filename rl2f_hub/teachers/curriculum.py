"""A teacher whose help weakens with a level, as a curriculum raises it for each task's source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rl2f_hub.records import Privilege
from rl2f_hub.teachers.base import FeedbackRequest, Reply, Teacher, WrappedTeacher
from rl2f_hub.teachers.scripted import STRENGTHS, ScriptedTeacher


class CurriculumTeacher(WrappedTeacher):
    """A teacher whose help weakens with the level that each task's source has reached.

    Without another `teacher` it is the scripted one at the level's strength. A model teacher is shown less: all it can
    have at level 0 (tests, else the solution, else the answer), one thing less at each level, the bare verdict last.

    Args:
        level: a task's source -> its level, 0 for the fullest help.
    """

    def __init__(self, level: Callable[[str], int], teacher: Teacher | None = None, phrasings: int = 1) -> None:
        super().__init__(teacher or ScriptedTeacher(phrasings=phrasings))
        self.level = level
        self._scripted = [ScriptedTeacher(strength, phrasings) for strength in STRENGTHS] if teacher is None else None

    def feedback(self, requests: Sequence[FeedbackRequest]) -> Sequence[Reply | str | None]:
        if self._scripted is not None:
            weakest_first = [self._scripted[max(0, len(STRENGTHS) - 1 - self.level(r.source))] for r in requests]
            return [teacher.feedback([r])[0] for teacher, r in zip(weakest_first, requests, strict=True)]
        return super().feedback([replace(r, privilege=weaker(r.privilege, self.level(r.source))) for r in requests])


def weaker(privilege: Privilege, level: int) -> Privilege:
    """What a model teacher is shown at a level."""
    held = {"tests": privilege.tests, "solution": privilege.solution, "answer": privilege.reference}
    kinds = [kind for kind, value in held.items() if value] + ["verdict"]
    return replace(privilege, kind=kinds[min(level, len(kinds) - 1)])
