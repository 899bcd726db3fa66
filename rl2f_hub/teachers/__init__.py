"""Teachers answer wrong attempts. A teacher sees a `FeedbackRequest`, privilege included, and returns a `Reply`.

Nothing a teacher says reaches a student except through `guard.Guard`. `build_teacher` makes a teacher of a recipe's
section; its kinds are in `rl2f_hub.kinds`, and their modules are imported when they are asked for.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from rl2f_hub.errors import UsageError
from rl2f_hub.kinds import TEACHERS, find_part
from rl2f_hub.teachers.base import FeedbackRequest, FunctionTeacher, Reply, Teacher, WrappedTeacher, as_teacher

if TYPE_CHECKING:
    from pathlib import Path

    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.recipe.teacher_sections import TeacherSpec

__all__ = [
    "FeedbackRequest",
    "FunctionTeacher",
    "Reply",
    "Teacher",
    "WrappedTeacher",
    "as_teacher",
    "build_teacher",
    "teacher_record",
]


def build_teacher(spec: str | TeacherSpec, student: Student | None = None, folder: Path | None = None) -> Teacher:
    """The teacher a recipe describes; a name alone is enough for those that need no settings.

    Args:
        spec: a kind, or a recipe's section `teacher`. `python:<file>:<name>` is a class or function of your own.
        student: whose base weights teach, for the kind `self`.
        folder: the stage's folder in a run, where an endpoint's bill is kept (and beside the run, its replies).
    Raises:
        UsageError: an unknown kind, one that lacks its settings or its student, or code that is not permitted.
    """
    kind = spec if isinstance(spec, str) else spec.kind
    if isinstance(spec, str) and kind in TEACHERS and TEACHERS[kind].section:
        raise UsageError(f"teacher.kind: {spec!r} needs its settings; pass the recipe's `teacher` section")
    found = find_part({name: known.where for name, known in TEACHERS.items()}, kind, "teacher.kind")
    if not (isinstance(found, type) and issubclass(found, Teacher)):
        return _doubting(as_teacher(found, student), spec)
    if isinstance(spec, str):
        from rl2f_hub.recipe.teacher_sections import TeacherSpec

        spec = TeacherSpec(kind=spec)
    return _doubting(found.from_spec(spec, student, folder), spec)


def _doubting(teacher: Teacher, spec: str | TeacherSpec) -> Teacher:
    from rl2f_hub.teachers.controls import DoubtingTeacher

    rate = 0.0 if isinstance(spec, str) else spec.doubt_rate
    return DoubtingTeacher(teacher, rate) if rate else teacher


def teacher_record(teacher: Teacher) -> dict[str, Any]:
    """What a manifest says about a teacher: its name and, of a model, privilege, templates, counts and usage."""
    return {"name": teacher.name, **teacher.record()}


def __getattr__(name: str) -> Any:
    if name == "Situation":  # the name of earlier versions; it goes in the next one
        warnings.warn("rl2f_hub.teachers.Situation is called FeedbackRequest", DeprecationWarning, stacklevel=2)
        return FeedbackRequest
    raise AttributeError(f"module 'rl2f_hub.teachers' has no attribute {name!r}")
