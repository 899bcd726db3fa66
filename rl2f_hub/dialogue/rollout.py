"""A rollout, and what an attempt in it earns: a verdict, then words from the teacher, through the guard.

Nothing here generates. `verify_and_give_feedback` may therefore run in a thread of its own while a model generates for
other dialogues, as long as the teacher needs no model of this process.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rl2f_hub.dialogue.context_window import Rules
from rl2f_hub.dialogue.timings import Timings
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


def verify_and_give_feedback(
    attempts: Sequence[tuple[Rollout, str]],
    cut: Sequence[bool],
    teacher: GuardedTeacher,
    rules: Rules,
    max_turns: int,
    timings: Timings,
    verifier: Verifier | None = None,
) -> list[Feedback | None]:
    """Judge attempts, of which `cut` says which were cut short, and let the teacher answer: None where it says nothing.

    A correct attempt gets no feedback unless the teacher challenges it; neither does an attempt that ends its dialogue by
    rule. Before a teacher of `independent_attempts` each attempt is judged as a first one, a game that it lost is not the
    end, and nobody answers.
    """
    independent = teacher.independent_attempts
    rollouts = [rollout for rollout, _ in attempts]
    with timings.during("verify"):
        judge(attempts, independent, verifier)
    for rollout, short in zip(rollouts, cut, strict=True):
        if independent and rollout.stop_reason is StopReason.GAME_OVER:  # of that game: the next attempt starts another
            rollout.stop_reason = None
        if short:
            rollout.turns[-1] = replace(rollout.turns[-1], cut=True)
            if rules.on_cut == "stop" and rollout.stop_reason is None:
                rollout.stop_reason = StopReason.TOKEN_LIMIT
    out: list[Feedback | None] = [None] * len(attempts)
    if independent:
        return out
    wrong = [i for i, r in enumerate(rollouts) if r.stop_reason in (None, StopReason.GAME_OVER)]
    solved = [i for i, r in enumerate(rollouts) if r.stop_reason is StopReason.SOLVED and len(r.turns) < max_turns]
    with timings.during("teacher"):
        feedback = get_feedback(teacher, [rollouts[i] for i in wrong])
        challenges = teacher.challenge_correct([request_of(rollouts[i]) for i in solved])
    for i, said in [*zip(wrong, feedback, strict=True), *zip(solved, challenges, strict=True)]:
        out[i] = said
    return out


def judge(attempts: Sequence[tuple[Rollout, str]], afresh: bool = False, verifier: Verifier | None = None) -> None:
    """Verify attempts and record each as its rollout's next turn; sets the stop reason when it is the last.

    Args:
        afresh: judge each attempt as a first one: a game starts again.
        verifier: judges in place of the verifier that each task names.
    """
    verdicts = verify_many(
        [(r.task, r.opened + text, [] if afresh else [r.opened + t.attempt for t in r.turns]) for r, text in attempts],
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
        elif verdict.final:
            rollout.stop_reason = StopReason.GAME_OVER


def get_feedback(teacher: GuardedTeacher, rollouts: list[Rollout]) -> list[Feedback | None]:
    """Guarded feedback for each of `rollouts`, whose last attempt was wrong; None where there is none.

    Tasks whose verifier answers for itself (environments) get its observation, whoever the teacher of the others is.
    """
    out: list[Feedback | None] = [None] * len(rollouts)
    for speaker, own in ((teacher, False), (teacher.guard.wrap(EnvironmentTeacher()), True)):
        places = [i for i, r in enumerate(rollouts) if verifier_of(r.task).answers_itself is own]
        for i, feedback in zip(places, speaker.feedback([request_of(rollouts[i]) for i in places]), strict=True):
            out[i] = feedback
    return out


def ask(teacher: Teacher, guard: Guard, rollouts: list[Rollout]) -> list[Feedback | None]:
    """`get_feedback` under its earlier name, which goes in the next version."""
    warnings.warn("ask(teacher, guard, ...) is called get_feedback(guard.wrap(teacher), ...)", DeprecationWarning, 2)
    return get_feedback(guard.wrap(teacher), rollouts)


def request_of(r: Rollout) -> FeedbackRequest:
    return FeedbackRequest(
        question=r.task.prompt,
        domain=r.task.domain,
        attempts=tuple(t.attempt for t in r.turns),
        feedbacks=tuple(t.feedback.text for t in r.turns if t.feedback),
        verdict=r.turns[-1].verdict,
        privilege=r.task.privilege,
        seed=r.seed,
        verifier=r.task.verifier,
        one_answer=verifier_of(r.task).has_one_answer(r.task),
        answers_itself=verifier_of(r.task).answers_itself,
        source=r.task.source,
    )
