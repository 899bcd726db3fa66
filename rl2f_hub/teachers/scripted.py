"""The scripted teacher: feedback computed from privilege and attempt, without a model.

It finds out what is wrong (`marks.py`): digits of a whole number, size of a decimal, items of a list, cells of a grid,
number, order and spelling of words, the failing test of a program; and says it in one of three strengths and several
phrasings. It quotes only what the student wrote, so the student has to act on the words; the answer itself is never
said, though enough feedback narrows it down: that is what feedback is for. Where a question has many right answers, the
difference from one of them says nothing, and the teacher only says that the conditions are not met.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl2f_hub.errors import UsageError
from rl2f_hub.teachers.base import FeedbackRequest, Reply, Teacher
from rl2f_hub.teachers.marks import (
    Finding,
    as_grid,
    as_items,
    as_number,
    mark_code,
    mark_grid,
    mark_integer,
    mark_items,
    mark_number,
    mark_text,
    same,
)
from rl2f_hub.teachers.writing import mark_writing
from rl2f_hub.verify.quantity import as_integer

if TYPE_CHECKING:
    from pathlib import Path

    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.recipe.teacher_sections import TeacherSpec

STRENGTHS = ("direction", "place", "full")
PHRASINGS = (
    "Wrong: {}.",
    "Not yet: {}.",
    "That is not right: {}.",
    "Look at this again: {}.",
    "Check: {}. Then try again.",
    "I see a mistake here: {}.",
)


class ScriptedTeacher(Teacher):
    """Marks what is wrong with the last attempt and in which direction.

    Args:
        strength: how much is said: `direction`, `place` or `full`.
        phrasings: how many of the ways of saying it are used, drawn by the dialogue's seed and turn.
    """

    name = "scripted"

    def __init__(self, strength: str = "full", phrasings: int = 1) -> None:
        if strength not in STRENGTHS:
            raise UsageError(f"teacher.strength: {strength!r} is unknown; choose one of {', '.join(STRENGTHS)}")
        if not 1 <= phrasings <= len(PHRASINGS):
            raise UsageError(f"teacher.phrasings: {phrasings} is refused; there are 1 to {len(PHRASINGS)}")
        self.strength, self.phrasings = strength, phrasings

    @classmethod
    def from_spec(cls, spec: TeacherSpec, student: Student | None, folder: Path | None) -> Teacher:
        return cls(spec.strength, spec.phrasings)

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        return [self._one(s) for s in requests]

    def _one(self, s: FeedbackRequest) -> Reply:
        if s.verifier == "writing":
            rng = random.Random(f"{s.seed}/{len(s.attempts)}")
            found = mark_writing(s.verdict.observation, rng, self.phrasings)
            return Reply(found.at(self.strength), found.kind)
        found = find(s)
        if found.kind == "format":
            return Reply(found.full, found.kind)
        phrasing = PHRASINGS[0]
        if self.phrasings > 1:
            phrasing = random.Random(f"{s.seed}/{len(s.attempts)}").choice(PHRASINGS[: self.phrasings])
        return Reply(phrasing.format(found.at(self.strength)), found.kind)


def find(s: FeedbackRequest) -> Finding:
    """What is wrong with the last attempt of a request."""
    if s.privilege.tests:
        return mark_code(s.verdict)
    answer, reference = s.verdict.answer, s.privilege.reference
    if answer is None:
        return same("format", "I cannot find an answer in that. Give only the answer.")
    if not s.one_answer or not reference:
        part = ", though a part of it does" if 0.1 < s.verdict.score < 1 else ""
        return same("conditions", f"that does not meet the conditions of the question{part}")
    wanted, given = as_integer(reference), as_integer(answer)
    if wanted is not None and given is not None:
        return mark_integer(given, wanted)
    value, number = as_number(reference), as_number(answer)
    if value is not None:
        if number is not None:
            return mark_number(number, value)
        whole = "a whole number" if wanted is not None else "a number"
        return same("format", f"The answer must be {whole}. Give only the number.")
    if s.verifier == "choice":
        return same("choice", f"({answer}) is not the right choice")
    if s.verifier == "math":
        return same("value", "your expression is not equal to the right one")
    grid, ours = as_grid(reference), as_grid(answer)
    if grid is not None:
        return mark_grid(ours, grid) if ours is not None else same("format", "The answer must be a grid, row by row.")
    items, own = as_items(reference), as_items(answer)
    if items is not None and len(items) > 1:
        return mark_items(own, items) if own is not None else same("format", "The answer must be a list.")
    return mark_text(answer, reference)
