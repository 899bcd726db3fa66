"""Teachers: who answers a wrong attempt. A teacher sees a `Situation`, privilege included, and returns words.

Nothing a teacher says reaches a student except through `guard.Guard`. `build_teacher` maps the recipe's names to
builders; what loads or asks a model is imported there and no earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Privilege, Usage, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.recipe.teacher_sections import TeacherSpec


@dataclass(frozen=True, slots=True)
class Situation:
    """What the teacher sees after a wrong attempt: the public history, the verdict and the privilege.

    `verifier` judged it; without `one_answer` the reference is only one of many right answers. `objection` says what was
    wrong with the teacher's last words on it, where the guard asks again.
    """

    question: str  # the task's prompt
    domain: str  # `Task.domain`
    attempts: tuple[str, ...]  # all so far; the last one is to be answered
    feedbacks: tuple[str, ...]  # what followed the attempts before it
    verdict: Verdict  # of the last attempt
    privilege: Privilege
    seed: int = 0  # for whoever draws words
    verifier: str = ""
    one_answer: bool = True
    source: str = ""  # `Task.source`
    objection: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A teacher's raw `text` and what `kind` of feedback it is (`digits`, `position`, `format`, `try_again`, ...).

    `usage` is what a model took for them; the guard passes it on, with that of replies it asked for again added.
    """

    text: str
    kind: str
    usage: Usage | None = None


class Teacher(Protocol):
    """Answers wrong attempts, a batch at a time. Any object with these two will do."""

    name: str  # for the records

    def feedback(self, situations: Sequence[Situation]) -> list[Reply | None]:
        """A reply to each of `situations`, in order; None where it has nothing to say."""
        ...


def build_teacher(spec: str | TeacherSpec, student: Student | None = None, folder: Path | None = None) -> Teacher:
    """The teacher a recipe describes; a name alone is enough for those that need no settings.

    Args:
        spec: a kind, or a recipe's section `teacher`.
        student: whose base weights teach, for the kind `self`.
        folder: the stage's folder in a run, where an endpoint's bill is kept (and beside the run, its replies).
    Raises:
        UsageError: an unknown kind, or one that lacks its settings or its student.
    """
    from rl2f_hub.teachers import controls
    from rl2f_hub.teachers.scripted import ScriptedTeacher

    def scripted() -> Teacher:
        return ScriptedTeacher() if isinstance(spec, str) else ScriptedTeacher(spec.strength, spec.phrasings)

    def misleading() -> Teacher:
        return controls.MisleadingTeacher(1.0 if isinstance(spec, str) else spec.rate)

    def leaking(unguarded: bool) -> Teacher:
        return controls.LeakedTeacher(1.0 if isinstance(spec, str) else spec.rate, unguarded=unguarded)

    def own() -> Teacher:
        from rl2f_hub.teachers.model import SelfTeacher

        return SelfTeacher(_settings(spec), student)

    def another() -> Teacher:
        from rl2f_hub.teachers.model import open_model_teacher

        return open_model_teacher(_settings(spec))

    def endpoint() -> Teacher:
        from rl2f_hub.teachers.endpoint import open_endpoint_teacher

        return open_endpoint_teacher(_settings(spec), folder)

    kind = spec if isinstance(spec, str) else spec.kind
    teachers: dict[str, Callable[[], Teacher]] = {
        "scripted": scripted,
        "none": controls.NoTeacher,
        "try_again": controls.TryAgainTeacher,
        "shuffled": controls.ShuffledTeacher,
        "leaked": lambda: leaking(True),
        "careless": lambda: leaking(False),
        "misleading": misleading,
        "self": own,
        "model": another,
        "endpoint": endpoint,
    }
    if kind not in teachers:
        raise UsageError(f"teacher.kind: {kind!r} is unknown; choose one of {', '.join(sorted(teachers))}")
    made = teachers[kind]()
    rate = 0.0 if isinstance(spec, str) else spec.doubt_rate
    return controls.DoubtingTeacher(made, rate) if rate else made


def _settings(spec: str | TeacherSpec) -> TeacherSpec:
    if isinstance(spec, str):
        raise UsageError(f"teacher.kind: {spec!r} needs its settings; pass the recipe's `teacher` section")
    return spec


def teacher_record(teacher: Teacher) -> dict[str, Any]:
    """What a manifest says about a teacher: its name and, of a model, privilege, templates, counts and usage."""
    more = getattr(teacher, "record", None)
    return {"name": teacher.name, **(more() if more else {})}
