"""A rollout, and what follows an attempt in it: a verdict, then feedback from the teacher, through the guard.

Nothing here generates: both may run in a thread while a model generates for other dialogues, as long as the teacher
needs no model of this process.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.engines import Sampling
from rl2f_hub.records import Dialogue, Feedback, StopReason, Task, Turn, Verdict
from rl2f_hub.teachers.base import FeedbackRequest, Teacher
from rl2f_hub.teachers.environment import EnvironmentTeacher
from rl2f_hub.teachers.guard import Guard, GuardedTeacher
from rl2f_hub.verify import Verifier, verifier_of, verify_many


@dataclass(slots=True)
class Rollout:
    """A dialogue under way on `task`, with the ids it is made of; without a `stop_reason` it goes on.

    One ledger holds all of it, unless a rule forked it (see `context_window.py`): then `ledger` is the last attempt's, with
    what it was made from before it, and `forked` is true. `written` counts the tokens of each attempt, as its engine does.
    """

    task: Task
    seed: int  # of the numbers that its attempts are drawn with
    ledger: Ledger
    turns: list[Turn] = field(default_factory=list)  # those that are judged
    stop_reason: StopReason | None = None
    forked: bool = False
    opened: str = ""  # the thinking mark with which the chat template begins every attempt, and which the texts lack
    written: list[int] = field(default_factory=list)

    def dialogue(self, student: str, teacher: str, sampling: Sampling) -> Dialogue:
        """The record of a dialogue that has ended, with the names of `student` and `teacher`, and its `sampling`."""
        assert self.stop_reason is not None
        settings = {"temperature": sampling.temperature, "top_p": sampling.top_p, "turn_tokens": sampling.turn_tokens}
        return Dialogue(
            dialogue_id=f"{self.task.task_id}#{self.seed:016x}",
            task_id=self.task.task_id,
            prompt=self.task.prompt,
            turns=tuple(self.turns),
            stop_reason=self.stop_reason,
            student=student,
            teacher=EnvironmentTeacher.name if verifier_of(self.task).answers_itself else teacher,
            privilege=self.task.privilege.kind,
            sampling=settings,
        )


def judge(
    attempts: Sequence[tuple[Rollout, str]], independent_attempts: bool = False, verifier: Verifier | None = None
) -> None:
    """Verify attempts and record each as its rollout's next turn; sets the stop reason when it is the last.

    Args:
        independent_attempts: judge each attempt as a first one: a game starts again, and one that is lost is not the end.
        verifier: judges in place of the verifier that each task names.
    """
    verdicts = verify_many(
        [
            (r.task, r.opened + text, [] if independent_attempts else [r.opened + t.attempt for t in r.turns])
            for r, text in attempts
        ],
        verifier=verifier,
    )
    for (rollout, text), verdict in zip(attempts, verdicts, strict=True):
        if isinstance(verdict, Exception):  # a verifier's bug costs its own dialogue, never the batch
            reason = f"verifier failed: {type(verdict).__name__}: {verdict}"
            verdict = Verdict(False, 0.0, None, reason)
            rollout.stop_reason = StopReason.VERIFIER_ERROR
        rollout.turns.append(Turn(text, verdict))
        if verdict.correct:
            rollout.stop_reason = StopReason.SOLVED
        elif verdict.final and not independent_attempts:
            rollout.stop_reason = StopReason.GAME_OVER


def get_feedback(teacher: GuardedTeacher, rollouts: Sequence[Rollout]) -> list[Feedback | None]:
    """Guarded feedback on the last attempt of each of `rollouts`; None where there is none.

    A correct attempt gets none unless the teacher challenges it. Tasks whose verifier answers for itself (environments)
    get its observation, whoever the teacher of the others is.
    """
    requests = [request_of(rollout) for rollout in rollouts]
    wrong = [i for i, request in enumerate(requests) if not request.verdict.correct]
    out: list[Feedback | None] = [None] * len(rollouts)
    for speak, places in (
        (teacher.feedback, [i for i in wrong if not requests[i].answers_itself]),
        (teacher.guard.wrap(EnvironmentTeacher()).feedback, [i for i in wrong if requests[i].answers_itself]),
        (teacher.challenge_correct, [i for i, request in enumerate(requests) if request.verdict.correct]),
    ):
        for i, feedback in zip(places, speak([requests[i] for i in places]), strict=True):
            out[i] = feedback
    return out


def ask(teacher: Teacher, guard: Guard, rollouts: list[Rollout]) -> list[Feedback | None]:
    """`get_feedback` under its earlier name, which goes in the next version."""
    warnings.warn("ask(teacher, guard, ...) is called get_feedback(guard.wrap(teacher), ...)", DeprecationWarning, 2)
    return get_feedback(guard.wrap(teacher), rollouts)


def request_of(r: Rollout) -> FeedbackRequest:
    """What the teacher is asked about the last attempt of `r`."""
    verifier = verifier_of(r.task)
    one_answer = verifier.has_one_answer(r.task)
    return FeedbackRequest(
        question=r.task.prompt,
        domain=r.task.domain,
        attempts=tuple(t.attempt for t in r.turns),
        feedbacks=tuple(t.feedback.text for t in r.turns if t.feedback),
        verdict=r.turns[-1].verdict,
        privilege=r.task.privilege,
        seed=r.seed,
        verifier=r.task.verifier,
        one_answer=one_answer,
        answers_itself=verifier.answers_itself,
        source=r.task.source,
        accepts=None if one_answer and not r.task.privilege.tests else partial(_any_right, r.task),
    )


def _any_right(task: Task, texts: Sequence[str]) -> bool:
    """Whether one of `texts` would be a right attempt. A text that cannot be judged is none."""
    verdicts = verify_many([(task, text, ()) for text in texts])
    return any(isinstance(verdict, Verdict) and verdict.correct for verdict in verdicts)
