"""What everybody may ask of a verifier, and the environments among them.

An `Environment` is a world that answers an attempt itself (`reset`, `step`). Judging one is playing it again from its start
(`replay`), so that nothing is kept between two verdicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rl2f_hub.records import Task, Verdict


def _nothing_to_check(task: Task) -> None:
    """For tasks that a program made: their reference needs no reading."""


def _reference(task: Task) -> str:
    return task.privilege.reference


def _one_answer(task: Task) -> bool:
    return True


Item = tuple[Task, str]


@dataclass(frozen=True, slots=True)
class Verifier:
    """How to judge an attempt and how to check, when a task is loaded, that its reference can be used.

    Attributes:
        own_judge: (task, attempt) -> verdict; with `history`, (task, attempt, earlier attempts) -> verdict.
        own_check: raises ValueError when the task's reference cannot be used.
        right_attempt: an attempt that must be accepted, made of the task's privilege; empty where there is none.
        has_one_answer: (task) -> whether the reference is the only right answer.
        judge_many: verdicts for many (task, attempt) in parallel, an exception in place of a verdict that failed.
        limited: (task) -> whether both run in the time-limited child.
        history: the verdict depends on the earlier attempts too.
        answers_itself: its observation is the feedback, and no teacher speaks (environments).
        takes_all: the attempt is judged as it is; else without the question that it quotes, and never an empty one.
        needs_its_source: it judges tasks of its own source only.
        is_remote: a verdict is waited for (the sandbox).
    """

    own_judge: Callable[..., Verdict]
    own_check: Callable[[Task], None] = _nothing_to_check
    right_attempt: Callable[[Task], str] = _reference
    has_one_answer: Callable[[Task], bool] = _one_answer
    judge_many: Callable[[Sequence[Item]], list[Verdict | Exception]] | None = None
    limited: bool = False
    history: bool = False
    answers_itself: bool = False
    takes_all: bool = False
    needs_its_source: bool = False
    is_remote: bool = False

    def judge(self, task: Task, attempt: str, earlier: Sequence[str] = ()) -> Verdict:
        """The verdict on one attempt; `earlier` are the dialogue's attempts before it.

        Raises:
            ValueError: the task is at fault, not the attempt.
        """
        if self.limited:
            from rl2f_hub.verify.limited import shared

            return shared().judge(task, attempt, earlier)
        return self.judge_here(task, attempt, earlier)

    def judge_here(self, task: Task, attempt: str, earlier: Sequence[str] = ()) -> Verdict:
        """`judge` of `task`, `attempt` and `earlier` without the time limit."""
        return self.own_judge(task, attempt, tuple(earlier)) if self.history else self.own_judge(task, attempt)

    def check(self, task: Task) -> None:
        """Raises ValueError when the task's reference cannot be used."""
        if self.limited and self.own_check is not _nothing_to_check:
            from rl2f_hub.verify.limited import shared

            shared().check(task)
        else:
            self.own_check(task)


class Environment(ABC):
    """A game or another world that is its own teacher: what it shows after a move is the feedback.

    One object is one game under way; it is a pure function of the task and the moves.
    """

    @abstractmethod
    def reset(self, task: Task) -> None:
        """Begin the task's game again. Raises ValueError where the task names no game."""

    @abstractmethod
    def step(self, attempt: str) -> Verdict:
        """Make a move. `Verdict.observation` is what the student is told, `correct` that the game is won, `final` that it
        is over without success. Never raises on what an attempt says: what is no move is told so."""


def replay(environment: Environment, task: Task, attempts: Sequence[str]) -> Verdict:
    """The verdict of `environment` on the last of `attempts`, after all of them from the task's start.

    A game that has ended stays as it ended: later attempts change nothing.

    Raises:
        ValueError: the task is at fault, or there is no attempt.
    """
    if not attempts:
        raise ValueError("a replay needs at least one attempt")
    environment.reset(task)
    for attempt in attempts:
        verdict = environment.step(attempt)
        if verdict.correct or verdict.final:
            break
    return verdict
