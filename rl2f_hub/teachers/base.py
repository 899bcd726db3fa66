"""What a teacher is asked (`FeedbackRequest`), what it says (`Reply`), and what everybody may ask of it (`Teacher`).

A teacher that adds something to another one is a `WrappedTeacher`, which forwards all that it does not change. A plain
function is a teacher too (`as_teacher`).
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Privilege, Usage, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.recipe.teacher_sections import TeacherSpec


@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """What the teacher sees after an attempt: the public history, the verdict and the privilege.

    `verifier` judged it; without `one_answer` the reference is only one of many right answers. `accepts` says, for such tasks
    and for code, whether one of several texts would be a right attempt. `objection` says what was
    wrong with the teacher's last words on it, where the guard asks again.
    """

    question: str  # the task's prompt
    domain: str  # `Task.domain`
    attempts: tuple[str, ...]  # all so far; the last one is to be answered
    feedbacks: tuple[str, ...]  # what followed the attempts before it
    verdict: Verdict  # of the last attempt
    privilege: Privilege
    seed: int = 0  # for teachers that draw their words
    verifier: str = ""
    one_answer: bool = True
    source: str = ""  # `Task.source`
    objection: str = ""
    answers_itself: bool = False  # the task is an environment, whose own observation is the feedback
    accepts: Callable[[Sequence[str]], bool] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A teacher's raw `text` and what `kind` of feedback it is (`digits`, `position`, `format`, `try_again`, ...).

    `usage` is what a model took for them; the guard passes it on, with that of replies it asked for again added.
    """

    text: str
    kind: str = "free"
    usage: Usage | None = None


class Teacher(ABC):
    """Answers wrong attempts, a batch at a time. A subclass needs a `name` and `feedback`; all else has a default."""

    name: str  # for the records
    is_remote: bool = False  # feedback comes from another machine: time spent on it is idle here
    is_local_model: bool = False  # a model in this process writes: nothing else may generate meanwhile
    independent_attempts: bool = False  # no dialogue: every attempt is a first one at the bare question
    guarded: bool = True  # False: leaks are recorded, and pass
    sees_privilege: bool = True  # False: it knows only what the student knows, so nothing can leak

    @classmethod
    def from_spec(cls, spec: TeacherSpec, student: Student | None, folder: Path | None) -> Teacher:
        """The teacher of a recipe's section `teacher`; by default it has no settings.

        `spec`, `student` and `folder` are those of `build_teacher`.
        """
        return cls()

    @abstractmethod
    def feedback(self, requests: Sequence[FeedbackRequest]) -> Sequence[Reply | str | None]:
        """A reply to each of `requests`, in order; None where it has nothing to say. A text is a reply of kind `free`."""

    def challenge_correct(self, requests: Sequence[FeedbackRequest]) -> Sequence[Reply | str | None]:
        """What it says against the attempts of `requests`, which are right; None where an attempt stands."""
        return [None] * len(requests)

    def record(self) -> dict[str, Any]:
        """What a manifest says about it beside its name."""
        return {}

    @property
    def stopped(self) -> str:
        """Why it says nothing more from now on; empty while it goes on."""
        return ""

    @property
    def shown(self) -> Sequence[str]:
        """The prompts that a model was shown, oldest first, where they are kept."""
        return ()


class WrappedTeacher(Teacher):
    """Another teacher, to which everything is forwarded that a subclass does not change."""

    def __init__(self, teacher: Teacher) -> None:
        teacher = as_teacher(teacher)
        self.teacher, self.name = teacher, teacher.name
        self.is_remote, self.is_local_model = teacher.is_remote, teacher.is_local_model
        self.independent_attempts = teacher.independent_attempts
        self.guarded, self.sees_privilege = teacher.guarded, teacher.sees_privilege

    def feedback(self, requests: Sequence[FeedbackRequest]) -> Sequence[Reply | str | None]:
        """The inner teacher's replies to `requests`."""
        return self.teacher.feedback(requests)

    def challenge_correct(self, requests: Sequence[FeedbackRequest]) -> Sequence[Reply | str | None]:
        """What the inner teacher says against the right attempts of `requests`."""
        return self.teacher.challenge_correct(requests)

    def record(self) -> dict[str, Any]:
        """The inner teacher's record."""
        return self.teacher.record()

    @property
    def stopped(self) -> str:
        """Why the inner teacher says nothing more."""
        return self.teacher.stopped

    @property
    def shown(self) -> Sequence[str]:
        """The prompts that the inner teacher's model was shown."""
        return self.teacher.shown


Words = Callable[[FeedbackRequest], "Reply | str | None"]


class FunctionTeacher(Teacher):
    """A function of one request, returning a text, a `Reply` or None, as a teacher."""

    def __init__(self, function: Words, name: str = "") -> None:
        self.function, self.name = function, name or function.__name__

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | str | None]:
        return [self.function(request) for request in requests]


@runtime_checkable
class _HasFeedback(Protocol):
    name: str

    def feedback(self, requests: Sequence[FeedbackRequest]) -> Sequence[Reply | str | None]: ...


class _Undeclared(Teacher):
    """An object with `name` and `feedback` that is no `Teacher`: what earlier versions took. It goes in the next one."""

    def __init__(self, teacher: _HasFeedback) -> None:
        kind = type(teacher).__name__
        warnings.warn(f"{kind} should subclass rl2f_hub.teachers.Teacher", DeprecationWarning, stacklevel=4)
        self.teacher, self.name = teacher, teacher.name

    def feedback(self, requests: Sequence[FeedbackRequest]) -> Sequence[Reply | str | None]:
        return self.teacher.feedback(requests)


def as_teacher(teacher: Any, student: Student | None = None) -> Teacher:
    """A teacher, a function that is one, or a function of the `student` that returns one, as a `Teacher`.

    Raises:
        UsageError: anything else.
    """
    if isinstance(teacher, Teacher):
        return teacher
    if isinstance(teacher, type) and issubclass(teacher, Teacher):
        return as_teacher(teacher())
    if isinstance(teacher, _HasFeedback):
        return _Undeclared(teacher)
    if callable(teacher):
        if "student" in inspect.signature(teacher).parameters:
            return as_teacher(teacher(student))
        return FunctionTeacher(teacher)
    raise UsageError(
        f"teacher: {type(teacher).__name__} is none; give an rl2f_hub.teachers.Teacher, or a function of a FeedbackRequest "
        "that returns a text"
    )
