"""The didactic loop, batched: attempt, verify, feedback through the guard, next attempt with the whole history.

A dialogue ends at the first correct attempt or at `max_turns`. One bad verdict or one teacher that has nothing to say
ends its own dialogue with a typed stop reason and is counted; the batch goes on. The loop knows nothing of training:
`trainer.py` turns rollouts into a loss, `evaluation/` into figures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rl2f_hub.chat import ChatFormat, Ledger
from rl2f_hub.engines import Engine, Sampling, Session, derive_seed
from rl2f_hub.records import Dialogue, Feedback, StopReason, Task, Turn, Verdict
from rl2f_hub.teachers import Situation, Teacher
from rl2f_hub.teachers.environment import EnvironmentTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.verify import verify_many
from rl2f_hub.verify.scorers import many_answers

REPLY_TOKENS = 64  # a teacher's reply with its template, where only a guess is needed
CLOSING_WORDS = "Correct."  # the teacher's last words on a solved dialogue: a target for the critique term only


@dataclass(slots=True)
class Student:
    """A policy that can be talked to: an engine and the chat format of its tokenizer, under a name for the records."""

    engine: Engine
    chat: ChatFormat
    name: str


@dataclass(slots=True)
class Rollout:
    """A dialogue with the ids it was made of."""

    task: Task
    seed: int
    ledger: Ledger
    turns: list[Turn] = field(default_factory=list)
    stop_reason: StopReason | None = None

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
) -> list[Rollout]:
    """Run one dialogue per task, at most `wave` at once; the rollouts come in the order of the tasks.

    A dialogue that ends gives its place to the next one. Where the engine's cache would not hold `wave` dialogues of
    the length to be expected, fewer run at once.

    Args:
        seeds: one seed a dialogue; by default derived from `seed` and the task's id, so that a task draws the same
            numbers in any order and any batch.
        on_wave: called with the number of dialogues just finished (progress).
    """
    if seeds is None:
        seeds = [derive_seed(seed, task.task_id) for task in tasks]
    rollouts = [Rollout(task, s, student.chat.open(task.prompt)) for task, s in zip(tasks, seeds, strict=True)]
    if not rollouts:
        return []
    wave = _fitting(rollouts, student.engine, max_turns, sampling, wave)
    if getattr(teacher, "resamples", False):
        for start in range(0, len(rollouts), wave):
            batch = rollouts[start : start + wave]
            _resample_wave(batch, student, max_turns, sampling)
            if on_wave:
                on_wave(len(batch))
    else:
        _run(rollouts, student, teacher, guard, max_turns, sampling, wave, on_wave)
    return rollouts


def _fitting(rollouts: list[Rollout], engine: Engine, max_turns: int, sampling: Sampling, wave: int) -> int:
    """How many dialogues to run at once. A guess: the engine keeps to its budget if dialogues grow longer."""
    prompt = max(len(r.ledger.ids) for r in rollouts)
    longest = min(engine.context_length, prompt + max_turns * sampling.turn_tokens + (max_turns - 1) * REPLY_TOKENS)
    return max(1, min(wave, engine.cache_tokens // (longest + 1)))


def _run(
    rollouts: list[Rollout],
    student: Student,
    teacher: Teacher,
    guard: Guard,
    max_turns: int,
    sampling: Sampling,
    wave: int,
    on_wave: Callable[[int], None] | None,
) -> None:
    session = student.engine.open([r.seed for r in rollouts], sampling, student.chat.stop_ids)
    fed = [0] * len(rollouts)  # how many ids of each ledger the engine has seen or sampled
    waiting = deque(range(len(rollouts)))
    active: list[int] = []
    while active or waiting:
        while waiting and len(active) < wave:
            active.append(waiting.popleft())
        running = [
            i for i in active if len(rollouts[i].ledger.ids) + sampling.turn_tokens <= student.engine.context_length
        ]
        for i in set(active) - set(running):
            rollouts[i].stop_reason = StopReason.CONTEXT_FULL
        going_on = _turn(rollouts, running, fed, session, student, teacher, guard, max_turns) if running else []
        if on_wave and len(going_on) < len(active):
            on_wave(len(active) - len(going_on))
        active = going_on


def _turn(
    rollouts: list[Rollout],
    active: list[int],
    fed: list[int],
    session: Session,
    student: Student,
    teacher: Teacher,
    guard: Guard,
    max_turns: int,
) -> list[int]:
    """One attempt of each of `active` (indices into `rollouts`) and what is said to it; returns those that go on."""
    chat = student.chat
    turns = {i: len(rollouts[i].turns) + 1 for i in active}
    new_ids = [rollouts[i].ledger.ids[fed[i] :] for i in active]
    sampled = session.generate(active, new_ids, [turns[i] for i in active])
    for i, attempt in zip(active, sampled, strict=True):
        chat.attempt(rollouts[i].ledger, attempt.ids, attempt.logprobs, turns[i])
        fed[i] = len(rollouts[i].ledger.ids)
    judge([(rollouts[i], chat.decode(attempt.ids)) for i, attempt in zip(active, sampled, strict=True)])
    solved = [i for i in active if rollouts[i].stop_reason is StopReason.SOLVED]
    wrong = [i for i in active if rollouts[i].stop_reason in (None, StopReason.GAME_OVER)]
    replies = dict(zip(wrong, ask(teacher, guard, [rollouts[i] for i in wrong]), strict=True))
    early = [i for i in solved if turns[i] < max_turns]
    doubts = dict(zip(early, _doubts(teacher, guard, [rollouts[i] for i in early]), strict=True))
    for i in solved:
        doubt = doubts.get(i)
        if doubt is None:
            _say(student, rollouts[i].ledger, CLOSING_WORDS, turns[i], closing=True)
        else:
            rollouts[i].stop_reason, replies[i] = None, doubt
    going_on = []
    for i in sorted(replies):
        rollout, reply = rollouts[i], replies[i]
        last = turns[i] == max_turns or rollout.stop_reason is StopReason.GAME_OVER
        if reply is None:
            rollout.stop_reason = rollout.stop_reason or StopReason.TEACHER_ERROR
            continue
        heard = _say(student, rollout.ledger, reply.text, turns[i], closing=last)
        if heard:
            rollout.turns[-1] = Turn(rollout.turns[-1].attempt, rollout.turns[-1].verdict, reply)
        if last:
            rollout.stop_reason = rollout.stop_reason or StopReason.TURN_LIMIT
        elif heard:
            going_on.append(i)
        else:
            rollout.stop_reason = StopReason.CONTEXT_FULL
    return going_on


def _doubts(teacher: Teacher, guard: Guard, rollouts: list[Rollout]) -> list[Feedback | None]:
    """What a misleading teacher says against right attempts; None where an attempt stands, as with any other teacher."""
    if not rollouts or not hasattr(teacher, "contradict"):
        return [None] * len(rollouts)
    return guard.pass_on(_Contradiction(teacher), [_situation(r) for r in rollouts])


class _Contradiction:
    """A teacher's `contradict` as the `feedback` that the guard asks for."""

    def __init__(self, teacher: Any) -> None:
        self.name, self.feedback = f"{teacher.name}'s doubts", teacher.contradict


def _resample_wave(batch: list[Rollout], student: Student, max_turns: int, sampling: Sampling) -> None:
    """Every attempt afresh at the bare question: no history, no feedback. The ledger kept is the last attempt's."""
    active = list(batch)
    for turn in range(1, max_turns + 1):
        for rollout in active:
            rollout.ledger = student.chat.open(rollout.task.prompt)
        session = student.engine.open([r.seed for r in active], sampling, student.chat.stop_ids)
        sampled = session.generate(list(range(len(active))), [r.ledger.ids for r in active], turn)
        for rollout, attempt in zip(active, sampled, strict=True):
            student.chat.attempt(rollout.ledger, attempt.ids, attempt.logprobs, turn)
        judge([(r, student.chat.decode(a.ids)) for r, a in zip(active, sampled, strict=True)], afresh=True)
        for rollout in active:
            if rollout.stop_reason is StopReason.GAME_OVER:  # of that game: the next attempt starts another
                rollout.stop_reason = None
        active = [r for r in active if r.stop_reason is None]
        if not active:
            return
    for rollout in active:
        rollout.stop_reason = StopReason.TURN_LIMIT


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


def _say(student: Student, ledger: Ledger, text: str, turn: int, closing: bool) -> bool:
    """Append the teacher's words; False, with the ledger as it was, if they do not fit into the context."""
    ids, spans = len(ledger.ids), len(ledger.spans)
    student.chat.feedback(ledger, text, turn, closing=closing)
    if len(ledger.ids) <= student.engine.context_length:
        return True
    del ledger.ids[ids:], ledger.spans[spans:]
    return False


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
