"""The didactic loop, batched: attempt, verify, feedback through the guard, next attempt with the whole history.

A dialogue ends at the first correct attempt or at `max_turns`. One bad verdict or one teacher that has nothing to say
ends its own dialogue with a typed stop reason and is counted; the batch goes on. What happens where a dialogue meets a
limit of length is said by `Rules` (`context.py`). The loop knows nothing of training: `trainer.py` turns rollouts into
a loss, `evaluation/` into figures.

An interrupt (Ctrl-C) leaves the loop as any exception does, and the dialogues in flight are not recorded: stages write
whole shards only and make the lost one again. A caller that wants the unfinished dialogues passes `cancelled`; they end
with `cancelled`, after the turn that was under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rl2f_hub.chat import ChatFormat, Ledger
from rl2f_hub.context import RULES, Context, Rules
from rl2f_hub.engines import Engine, Sampled, Sampling, derive_seed
from rl2f_hub.records import Dialogue, Feedback, StopReason, Task, Turn, Verdict
from rl2f_hub.teachers import Situation, Teacher
from rl2f_hub.teachers.environment import EnvironmentTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.timings import Timings
from rl2f_hub.verify import verify_many
from rl2f_hub.verify.scorers import many_answers

CLOSING_WORDS = "Correct."  # the teacher's last words on a solved dialogue: a target for the critique term only


@dataclass(slots=True)
class Student:
    """A policy that can be talked to: an engine and the chat format of its tokenizer, under a name for the records."""

    engine: Engine
    chat: ChatFormat
    name: str


@dataclass(slots=True)
class Rollout:
    """A dialogue with the ids it was made of.

    One ledger holds all of it, unless a rule forked it (see `context.py`): then `ledger` is the last attempt's, with
    what it was made from before it, and `forked` is true.
    """

    task: Task
    seed: int
    ledger: Ledger
    turns: list[Turn] = field(default_factory=list)
    stop_reason: StopReason | None = None
    forked: bool = False

    def dialogue(self, student: str, teacher: str, sampling: Sampling) -> Dialogue:
        assert self.stop_reason is not None
        settings = {"temperature": sampling.temperature, "top_p": sampling.top_p, "turn_tokens": sampling.turn_tokens}
        return Dialogue(
            dialogue_id=f"{self.task.task_id}#{self.seed:016x}",
            task_id=self.task.task_id,
            prompt=self.task.prompt,
            turns=tuple(self.turns),
            stop_reason=self.stop_reason,
            student=student,
            teacher="environment" if self.task.verifier == "environment" else teacher,
            privilege=self.task.privilege.kind,
            sampling=settings,
        )


def run_dialogues(
    tasks: Sequence[Task],
    student: Student,
    teacher: Teacher,
    *,
    guard: Guard,
    max_turns: int,
    sampling: Sampling,
    seed: int,
    seeds: Sequence[int] | None = None,
    wave: int = 256,
    on_wave: Callable[[int], None] | None = None,
    rules: Rules = RULES,
    timings: Timings | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Rollout]:
    """Run one dialogue per task, in order, in waves of at most `wave` dialogues at once.

    Args:
        seeds: one seed a dialogue; by default derived from `seed` and the task's id, so that a task draws the same
            numbers in any order and any batch.
        on_wave: called with the number of dialogues just finished (progress).
        rules: what happens in a context that is full, and after an attempt that was cut.
        timings: where the time and the tokens of these dialogues are added.
        cancelled: asked before every turn; once it says yes, all dialogues that are not over end with `cancelled`.
    """
    timings = timings or Timings()
    if seeds is None:
        seeds = [derive_seed(seed, task.task_id) for task in tasks]
    out: list[Rollout] = []
    for start in range(0, len(tasks), wave):
        batch = [
            Rollout(task, s, student.chat.open(task.prompt))
            for task, s in zip(tasks[start : start + wave], seeds[start : start + wave], strict=True)
        ]
        if getattr(teacher, "resamples", False):
            _resample_wave(batch, student, max_turns, sampling, rules, timings, cancelled)
        else:
            _run_wave(batch, student, teacher, guard, max_turns, sampling, rules, timings, cancelled)
        out.extend(batch)
        if on_wave:
            on_wave(len(batch))
    return out


def _run_wave(
    batch: list[Rollout],
    student: Student,
    teacher: Teacher,
    guard: Guard,
    max_turns: int,
    sampling: Sampling,
    rules: Rules,
    timings: Timings,
    cancelled: Callable[[], bool],
) -> None:
    context = Context(student.engine, student.chat, [r.seed for r in batch], sampling, rules)
    active = list(range(len(batch)))
    for turn in range(1, max_turns + 1):
        active = [i for i in active if _goes_on(batch[i], context.before_turn(batch[i].ledger))]
        if not active or _cancel([batch[i] for i in active], cancelled):
            return
        _attempt(batch, active, context, turn, timings)
        solved = [i for i in active if batch[i].stop_reason is StopReason.SOLVED]
        wrong = [i for i in active if batch[i].stop_reason in (None, StopReason.GAME_OVER)]
        with timings.during("teacher"):
            replies = dict(zip(wrong, ask(teacher, guard, [batch[i] for i in wrong]), strict=True))
            doubts = _doubts(teacher, guard, [batch[i] for i in solved], turn < max_turns)
        for i, doubt in zip(solved, doubts, strict=True):
            if doubt is None:
                _say(batch[i], context, CLOSING_WORDS, turn, closing=True)
            else:
                batch[i].stop_reason, replies[i] = None, doubt
        active = []
        for i in sorted(replies):
            rollout, reply = batch[i], replies[i]
            last = turn == max_turns or rollout.stop_reason is StopReason.GAME_OVER
            if reply is None:
                rollout.stop_reason = rollout.stop_reason or StopReason.TEACHER_ERROR
                continue
            timings.teacher_tokens += reply.usage.completion_tokens if reply.usage else 0
            heard = _say(rollout, context, reply.text, turn, closing=last)
            if heard:
                rollout.turns[-1] = replace(rollout.turns[-1], feedback=reply)
            if last:
                rollout.stop_reason = rollout.stop_reason or StopReason.TURN_LIMIT
            elif heard:
                active.append(i)
            else:
                rollout.stop_reason = StopReason.CONTEXT_FULL


def _goes_on(rollout: Rollout, ledger: Ledger | None) -> bool:
    """Whether there is room for another attempt; the rollout takes the ledger that it is made from."""
    if ledger is None:
        rollout.stop_reason = StopReason.CONTEXT_FULL
        return False
    rollout.forked |= ledger is not rollout.ledger
    rollout.ledger = ledger
    return True


def _say(rollout: Rollout, context: Context, text: str, turn: int, closing: bool) -> bool:
    """Append the teacher's words; False, with the ledger as it was, if they do not fit into the context."""
    ledger = context.say(rollout.ledger, text, turn, closing)
    if ledger is not None:
        rollout.forked |= ledger is not rollout.ledger
        rollout.ledger = ledger
    return ledger is not None


def _cancel(rollouts: list[Rollout], cancelled: Callable[[], bool]) -> bool:
    """Whether the user stopped the dialogues: then they all end here."""
    if not cancelled():
        return False
    for rollout in rollouts:
        rollout.stop_reason = StopReason.CANCELLED
    return True


def _attempt(
    batch: list[Rollout], active: list[int], context: Context, turn: int, timings: Timings, afresh: bool = False
) -> None:
    """Let the dialogues `active` of a batch make their next attempt, judge it and say which were cut short."""
    rollouts = [batch[i] for i in active]
    with timings.during("student"):
        sampled = context.generate(active, [r.ledger for r in rollouts], turn)
        texts = [context.chat.decode(attempt.ids) for attempt in sampled]
    timings.student_tokens += sum(len(attempt.ids) for attempt in sampled)
    with timings.during("verify"):
        judge(list(zip(rollouts, texts, strict=True)), afresh=afresh)
    for rollout in rollouts:
        if afresh and rollout.stop_reason is StopReason.GAME_OVER:  # of that game: the next attempt starts another
            rollout.stop_reason = None
    _mark_cut(rollouts, sampled, context.rules)


def _mark_cut(rollouts: list[Rollout], sampled: list[Sampled], rules: Rules) -> None:
    """Say of the attempts just judged which were cut short; by rule, and unless they are right, they are the last."""
    for rollout, attempt in zip(rollouts, sampled, strict=True):
        if not attempt.stopped:
            rollout.turns[-1] = replace(rollout.turns[-1], cut=True)
            if rules.on_cut == "stop" and rollout.stop_reason is None:
                rollout.stop_reason = StopReason.TOKEN_LIMIT


def _doubts(teacher: Teacher, guard: Guard, rollouts: list[Rollout], going_on: bool) -> list[Feedback | None]:
    """What a misleading teacher says against right attempts; None where an attempt stands, as with any other teacher."""
    if not going_on or not hasattr(teacher, "contradict"):
        return [None] * len(rollouts)
    return guard.pass_on(_Contradiction(teacher), [_situation(r) for r in rollouts])


class _Contradiction:
    """A teacher's `contradict` as the `feedback` that the guard asks for."""

    def __init__(self, teacher: Any) -> None:
        self.name, self.feedback = f"{teacher.name}'s doubts", teacher.contradict


def _resample_wave(
    batch: list[Rollout],
    student: Student,
    max_turns: int,
    sampling: Sampling,
    rules: Rules,
    timings: Timings,
    cancelled: Callable[[], bool],
) -> None:
    """Every attempt afresh at the bare question: no history, no feedback. The ledger kept is the last attempt's."""
    context = Context(student.engine, student.chat, [r.seed for r in batch], sampling, rules)
    active = list(range(len(batch)))
    for turn in range(1, max_turns + 1):
        if _cancel([batch[i] for i in active], cancelled):
            return
        for i in active:
            batch[i].ledger = student.chat.open(batch[i].task.prompt)
        active = [i for i in active if _goes_on(batch[i], context.before_turn(batch[i].ledger))]
        if not active:
            return
        _attempt(batch, active, context, turn, timings, afresh=True)
        active = [i for i in active if batch[i].stop_reason is None]
    for i in active:
        batch[i].stop_reason = StopReason.TURN_LIMIT


def judge(attempts: Sequence[tuple[Rollout, str]], afresh: bool = False) -> None:
    """Verify attempts and record each as its rollout's next turn; sets the stop reason when it is the last.

    With `afresh` each attempt is judged as a first one: a game starts again.
    """
    verdicts = verify_many([(r.task, text, [] if afresh else [t.attempt for t in r.turns]) for r, text in attempts])
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


def ask(teacher: Teacher, guard: Guard, rollouts: list[Rollout]) -> list[Feedback | None]:
    """Guarded feedback for each rollout, whose last attempt was wrong; None where the teacher had nothing to give.

    Tasks that are an environment answer for themselves, whoever the teacher of the others is.
    """
    out: list[Feedback | None] = [None] * len(rollouts)
    for speaker, own in ((teacher, False), (EnvironmentTeacher(), True)):
        places = [i for i, r in enumerate(rollouts) if (r.task.verifier == "environment") is own]
        for i, feedback in zip(places, guard.pass_on(speaker, [_situation(rollouts[i]) for i in places]), strict=True):
            out[i] = feedback
    return out


def _situation(r: Rollout) -> Situation:
    return Situation(
        question=r.task.prompt,
        domain=r.task.domain,
        attempts=tuple(t.attempt for t in r.turns),
        feedbacks=tuple(t.feedback.text for t in r.turns if t.feedback),
        verdict=r.turns[-1].verdict,
        privilege=r.task.privilege,
        seed=r.seed,
        verifier=r.task.verifier,
        one_answer=not many_answers(r.task),
        source=r.task.source,
    )
