"""The didactic loop, batched: attempt, verify, feedback through the guard, next attempt with the whole history.

It is the only place where an attempt is generated, judged, answered and appended: generation, training, evaluation, the
page and the terminal read the events that `DialogueRunner` yields, or call `run_dialogues`, which reads them to the end.

A dialogue ends at the first correct attempt or at `max_turns`, and gives its place to the next one. One bad verdict or
one teacher that has nothing to say ends its own dialogue with a typed stop reason and is counted; the batch goes on.
What happens where a dialogue meets a limit of length is said by `Rules` (`context_window.py`). The loop knows nothing of
training: `training/` turns rollouts into a loss, `evaluation/` into figures.

Where verdicts or feedback are remote, the dialogues are split into two half-batches: while one generates, the other is
judged and answered in a thread. No text depends on it.

Closing the generator of events cancels: attempts under way are dropped, what was attempted before is judged and answered,
and every dialogue that is not over ends with `cancelled`. Any other exception, Ctrl-C too, loses what is under way: stages
write whole shards only and make the lost one again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.context_window import RULES, Context, Rules
from rl2f_hub.dialogue.events import (
    AttemptJudged,
    AttemptMade,
    DialogueEnded,
    Event,
    FeedbackGiven,
    TokenDrawn,
    TurnStarted,
)
from rl2f_hub.dialogue.rollout import Rollout, ask, get_feedback, judge
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.engines import Engine, Interrupted, OnToken, Sampling, derive_seed
from rl2f_hub.records import Feedback, StopReason, Task
from rl2f_hub.teachers.guard import Guard, GuardedTeacher
from rl2f_hub.verify import Verifier, as_verifier, verifier_of

__all__ = [
    "CLOSING_WORDS",
    "DialogueRunner",
    "Rollout",
    "Student",
    "ask",
    "get_feedback",
    "judge",
    "run_dialogues",
    "start_rollouts",
]

REPLY_TOKENS = 64  # a teacher's reply with its template, where only a guess is needed
CLOSING_WORDS = "Correct."  # the teacher's last words on a solved dialogue: a target for the critique term only

Events = Generator[Event, None, None]


@dataclass(slots=True)
class Student:
    """A policy that can be talked to: an engine and the chat format of its tokenizer, under a name for the records."""

    engine: Engine
    chat: ChatFormat
    name: str


def start_rollouts(student: Student, tasks: Sequence[Task], seeds: Sequence[int]) -> list[Rollout]:
    """One rollout of `student` per task of `tasks`, with its seed of `seeds`, in which nothing has been attempted yet."""
    chat = student.chat
    return [
        Rollout(t, s, chat.new_ledger(t.prompt), opened=chat.opened_mark) for t, s in zip(tasks, seeds, strict=True)
    ]


def run_dialogues(
    tasks: Sequence[Task],
    student: Student,
    teacher: Any,
    *,
    guard: Guard | None = None,
    max_turns: int,
    sampling: Sampling,
    seed: int,
    seeds: Sequence[int] | None = None,
    wave: int = 256,
    on_wave: Callable[[int], None] | None = None,
    rules: Rules = RULES,
    timings: Timings | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    on_token: OnToken | None = None,
    overlap: bool | None = None,
    verifier: Any = None,
) -> list[Rollout]:
    """Run one dialogue per task, at most `wave` at once; the rollouts come in the order of the tasks.

    `DialogueRunner.run` to its end; the callbacks are for programs that do not read its events themselves. Where the
    engine's cache would not hold `wave` dialogues of the length to be expected, fewer run at once.

    Args:
        teacher: answers wrong attempts: a `Teacher`, a function of a `FeedbackRequest` that returns a text, or a teacher
            behind its guard (`Guard.wrap`).
        guard: all feedback passes through it; by default a new one.
        max_turns: attempts that a dialogue may have.
        sampling: how attempts are drawn.
        seeds: one seed a dialogue; by default derived from `seed` and the task's id, so that a task draws the same
            numbers in any order and any batch.
        on_wave: called with the number of dialogues just finished (progress).
        rules: what happens in a context that is full, and after an attempt that was cut.
        timings: where the time and the tokens of these dialogues are added.
        cancelled: asked before every turn; once it says yes, all dialogues that are not over end with `cancelled`.
        on_token: called with (index of the dialogue, id) as the student draws it. When it raises `Interrupted`, the
            attempts under way are dropped and all dialogues that are not over end with `cancelled`.
        overlap: generate for one half of the dialogues while the other half is judged and answered; by default where
            that is waited for (`feedback_is_remote`).
        verifier: judges in place of the verifiers that tasks name: a `Verifier`, or a function (task, attempt) that
            returns a `Verdict`, a bool or a score.
    Raises:
        UsageError: something else as a teacher or verifier.
    """
    guarded = teacher if isinstance(teacher, GuardedTeacher) else (guard or Guard()).wrap(teacher)
    if seeds is None:
        seeds = [derive_seed(seed, task.task_id) for task in tasks]
    runner = DialogueRunner(
        student,
        start_rollouts(student, tasks, seeds),
        max_turns=max_turns,
        sampling=sampling,
        rules=rules,
        timings=timings,
        verifier=None if verifier is None else as_verifier(verifier),
        tokens=on_token is not None,
    )
    over = 0
    with closing(runner.run(guarded, max_parallel=wave, overlap=overlap)) as events:
        try:
            for event in events:
                match event:
                    case TokenDrawn(dialogue, token) if on_token is not None:
                        on_token(dialogue, token)
                    case TurnStarted() if cancelled():
                        break
                    case DialogueEnded() if on_wave is not None:
                        over += 1
                        on_wave(1)
        except Interrupted:
            pass
    if on_wave is not None and over < len(runner.rollouts):
        on_wave(len(runner.rollouts) - over)
    return runner.rollouts


def feedback_is_remote(teacher: GuardedTeacher, tasks: Sequence[Task]) -> bool:
    """Whether verdicts or feedback come from other processes or machines, so that time spent on them is idle here.

    Never with a model in this process as the teacher: it may be the student's own weights with the adapter switched off,
    which nothing else may use meanwhile.
    """
    if teacher.teacher.is_local_model:
        return False
    return teacher.teacher.is_remote or any(verifier_of(task).is_remote for task in tasks)


@dataclass(slots=True)
class _Batch:
    """Dialogues, by index, that make their attempts together, and what gets the feedback on their last ones."""

    context: Context
    size: int
    active: list[int] = field(default_factory=list)
    pending_feedback: Callable[[], list[Feedback | None]] | None = None


@dataclass(slots=True)
class _Attempt:
    dialogue: int
    turn: int
    text: str
    cut: bool  # it reached `turn_tokens` without its stop token


class DialogueRunner:
    """Runs the dialogues of one student: all of them to their ends (`run`), or turn by turn.

    With somebody in between, `attempt` lets every open dialogue make its next attempt, then `give_feedback` asks a teacher,
    or `append_feedback` takes feedback from elsewhere. Events name dialogues by their index in `rollouts`.

    Args:
        rollouts: what to run; see `start_rollouts`. They are changed in place, and may be anywhere in their dialogues.
        max_turns: attempts that a dialogue may have.
        sampling: how attempts are drawn.
        rules: what happens in a context that is full, and after an attempt that was cut.
        timings: where the time and the tokens of these dialogues are added.
        verifier: judges in place of the verifiers that tasks name.
        tokens: yield `TokenDrawn` as well; without, generation has no overhead per token.
    """

    def __init__(
        self,
        student: Student,
        rollouts: list[Rollout],
        *,
        max_turns: int,
        sampling: Sampling,
        rules: Rules = RULES,
        timings: Timings | None = None,
        verifier: Verifier | None = None,
        tokens: bool = False,
    ) -> None:
        self.student, self.rollouts, self.max_turns, self.sampling = student, rollouts, max_turns, sampling
        self.rules, self.timings, self.verifier, self.tokens = rules, timings or Timings(), verifier, tokens
        self._batch: _Batch | None = None  # of the methods for one turn

    # -- all turns -----------------------------------------------------------------------------------------------

    def run(self, teacher: GuardedTeacher, *, max_parallel: int = 256, overlap: bool | None = None) -> Events:
        """Run every open dialogue to its end; yields what happens, in order.

        Args:
            teacher: answers wrong attempts, behind its guard.
            max_parallel: most dialogues at once; fewer, where the engine's cache would not hold them.
            overlap: generate for one half of the dialogues while the other half is judged and answered; by default where
                `feedback_is_remote`.
        """
        waiting = deque(i for i, rollout in enumerate(self.rollouts) if rollout.stop_reason is None)
        if not waiting:
            return
        max_parallel = self._fitting(max_parallel)
        if overlap is None:
            overlap = feedback_is_remote(teacher, [rollout.task for rollout in self.rollouts])
        count = 2 if overlap and max_parallel > 1 and _holds_two(self.student.engine) else 1
        batches = [self._open(max_parallel // count + (n < max_parallel % count), 1 / count) for n in range(count)]
        pool = ThreadPoolExecutor(1) if count > 1 else None
        try:
            while waiting or any(batch.active for batch in batches):
                for batch in batches:
                    yield from self._collect_feedback(batch, teacher)
                    while waiting and len(batch.active) < batch.size:
                        batch.active.append(waiting.popleft())
                    if not batch.active:
                        continue
                    yield TurnStarted(tuple(batch.active))
                    attempts = yield from self._make_attempts(batch, teacher.independent_attempts)
                    work = partial(self._judge_and_answer, attempts, teacher)
                    batch.pending_feedback = pool.submit(work).result if pool else work
                    yield from [AttemptMade(a.dialogue, a.turn, a.text) for a in attempts]
        except GeneratorExit:
            for batch in batches:
                self._collect_feedback(batch, teacher)
            for rollout in self.rollouts:
                rollout.stop_reason = rollout.stop_reason or StopReason.CANCELLED
            raise
        finally:
            if pool is not None:  # what is asked of others at this moment is left to end by itself
                pool.shutdown(wait=False, cancel_futures=True)

    def _judge_and_answer(self, attempts: list[_Attempt], teacher: GuardedTeacher) -> list[Feedback | None]:
        """Verify attempts, then get feedback on those that have any coming: not where a rule ended the dialogue."""
        independent = teacher.independent_attempts
        self._judge(attempts, independent)
        out: list[Feedback | None] = [None] * len(attempts)
        if independent:
            return out
        rollouts = [self.rollouts[attempt.dialogue] for attempt in attempts]
        places = [i for i, rollout in enumerate(rollouts) if self._is_answered(rollout)]
        with self.timings.during("teacher"):
            for i, feedback in zip(places, get_feedback(teacher, [rollouts[i] for i in places]), strict=True):
                out[i] = feedback
        return out

    def _is_answered(self, rollout: Rollout) -> bool:
        if rollout.stop_reason is StopReason.SOLVED:
            return len(rollout.turns) < self.max_turns
        return rollout.stop_reason in (None, StopReason.GAME_OVER)

    def _collect_feedback(self, batch: _Batch, teacher: GuardedTeacher) -> list[Event]:
        """Append the feedback on the last attempts of the batch; dialogues that are over leave it."""
        if batch.pending_feedback is None:
            return []
        replies, batch.pending_feedback = batch.pending_feedback(), None
        events: list[Event] = []
        for i, reply in zip(list(batch.active), replies, strict=True):
            events.append(self._judged(i))
            events += (
                self._end_unanswered(i) if teacher.independent_attempts else self._append_feedback(batch, i, reply)
            )
        batch.active = [i for i in batch.active if self.rollouts[i].stop_reason is None]
        return events

    def _end_unanswered(self, dialogue: int) -> list[Event]:
        """The end of a dialogue whose last attempt gets no feedback, if it was the last one."""
        rollout = self.rollouts[dialogue]
        if rollout.stop_reason is None and len(rollout.turns) < self.max_turns:
            return []
        return [self._end(dialogue, rollout.stop_reason or StopReason.TURN_LIMIT)]

    # -- one turn ------------------------------------------------------------------------------------------------

    def attempt(self) -> Events:
        """Let every open dialogue make its next attempt, and judge it.

        A wrong attempt that is the last one ends its dialogue, unanswered.
        """
        batch = self._one_batch()
        batch.active = [i for i, rollout in enumerate(self.rollouts) if rollout.stop_reason is None]
        yield TurnStarted(tuple(batch.active))
        attempts = yield from self._make_attempts(batch)
        yield from [AttemptMade(a.dialogue, a.turn, a.text) for a in attempts]
        self._judge(attempts)
        for attempt in attempts:
            yield self._judged(attempt.dialogue)
            yield from self._end_unanswered(attempt.dialogue)

    def give_feedback(self, teacher: GuardedTeacher) -> list[Event]:
        """Ask the teacher about the last attempt of every dialogue that is open, or solved and not at its last turn.

        A solved dialogue that the teacher challenges is open again.
        """
        asked = [
            i
            for i, rollout in enumerate(self.rollouts)
            if rollout.turns and rollout.stop_reason is not StopReason.GAME_OVER and self._is_answered(rollout)
        ]
        with self.timings.during("teacher"):
            replies = get_feedback(teacher, [self.rollouts[i] for i in asked])
        return self.append_feedback(
            {i: reply for i, reply in zip(asked, replies, strict=True) if reply or not self.rollouts[i].stop_reason}
        )

    def append_feedback(self, feedback: Mapping[int, Feedback | None]) -> list[Event]:
        """Append feedback on the last attempts of dialogues, by index; without any, a dialogue ends with `teacher_error`."""
        batch = self._one_batch()
        return [event for i, reply in feedback.items() for event in self._append_feedback(batch, i, reply)]

    def _one_batch(self) -> _Batch:
        self._batch = self._batch or self._open(len(self.rollouts), 1.0)
        return self._batch

    # -- the parts of a turn -------------------------------------------------------------------------------------

    def _open(self, size: int, share: float) -> _Batch:
        """An empty batch of at most `size` dialogues, with a share of the engine's cache."""
        seeds = [rollout.seed for rollout in self.rollouts]
        engine, chat = self.student.engine, self.student.chat
        return _Batch(Context(engine, chat, seeds, self.sampling, self.rules, share), size)

    def _fitting(self, max_parallel: int) -> int:
        """How many dialogues to run at once. A guess: the engine keeps to its budget if dialogues grow longer."""
        engine, tokens = self.student.engine, self.sampling.turn_tokens
        prompt = max(len(rollout.ledger.ids) for rollout in self.rollouts)
        longest = min(engine.context_length, prompt + self.max_turns * tokens + (self.max_turns - 1) * REPLY_TOKENS)
        most = engine.most_rows or max_parallel  # what an engine has learnt from a lack of memory
        return max(1, min(max_parallel, most, len(self.rollouts), engine.cache_tokens // (longest + 1)))

    def _make_attempts(self, batch: _Batch, independent: bool = False) -> Generator[Event, None, list[_Attempt]]:
        """Generate one attempt per active dialogue; those without room, or whose attempt failed, end and leave the batch."""
        for i in list(batch.active):
            rollout = self.rollouts[i]
            if independent and rollout.turns:
                rollout.ledger = self.student.chat.new_ledger(rollout.task.prompt)
            if not _set_ledger(rollout, batch.context.before_turn(rollout.ledger)):
                batch.active.remove(i)
                yield self._end(i, StopReason.CONTEXT_FULL)
        rows = list(batch.active)
        if not rows:
            return []
        ledgers = [self.rollouts[i].ledger for i in rows]
        turns = [len(self.rollouts[i].turns) + 1 for i in rows]
        out: list[_Attempt] = []
        with self.timings.during("student"):
            sampled = yield from batch.context.stream(rows, ledgers, turns, self.tokens)
            for i, turn, made in zip(rows, turns, sampled, strict=True):
                if made.failure is None:
                    out.append(_Attempt(i, turn, self.student.chat.decode(made.ids), not made.stopped))
                    self.rollouts[i].written.append(made.tokens)
                    self.timings.student_tokens += made.tokens
        batch.active = [attempt.dialogue for attempt in out]
        for i, made in zip(rows, sampled, strict=True):
            if made.failure is not None:
                yield self._end(i, made.failure)
        return out

    def _judge(self, attempts: list[_Attempt], independent: bool = False) -> None:
        """Verify attempts and mark those that were cut, which may end their dialogues by rule."""
        pairs = [(self.rollouts[attempt.dialogue], attempt.text) for attempt in attempts]
        with self.timings.during("verify"):
            judge(pairs, independent, self.verifier)
        for (rollout, _), attempt in zip(pairs, attempts, strict=True):
            if attempt.cut:
                rollout.turns[-1] = replace(rollout.turns[-1], cut=True)
                if self.rules.on_cut == "stop" and rollout.stop_reason is None:
                    rollout.stop_reason = StopReason.TOKEN_LIMIT

    def _judged(self, dialogue: int) -> Event:
        turns = self.rollouts[dialogue].turns
        return AttemptJudged(dialogue, len(turns), turns[-1].verdict)

    def _append_feedback(self, batch: _Batch, dialogue: int, reply: Feedback | None) -> list[Event]:
        """Append feedback to the ledger and the record, and end the dialogue if that was its last turn."""
        rollout = self.rollouts[dialogue]
        turn = len(rollout.turns)
        last = turn == self.max_turns or rollout.stop_reason is StopReason.GAME_OVER
        if reply is None:
            if rollout.stop_reason is StopReason.SOLVED:
                _set_ledger(rollout, batch.context.append_feedback(rollout.ledger, CLOSING_WORDS, turn, closing=True))
            return [self._end(dialogue, rollout.stop_reason or StopReason.TEACHER_ERROR)]
        if rollout.stop_reason is StopReason.SOLVED:  # the teacher challenges it
            rollout.stop_reason = None
        self.timings.teacher_tokens += reply.usage.completion_tokens if reply.usage else 0
        events: list[Event] = []
        fits = _set_ledger(rollout, batch.context.append_feedback(rollout.ledger, reply.text, turn, closing=last))
        if fits:
            rollout.turns[-1] = replace(rollout.turns[-1], feedback=reply)
            events.append(FeedbackGiven(dialogue, turn, reply))
        if last or not fits:
            end = StopReason.TURN_LIMIT if last else StopReason.CONTEXT_FULL
            events.append(self._end(dialogue, rollout.stop_reason or end))
        return events

    def _end(self, dialogue: int, reason: StopReason) -> DialogueEnded:
        self.rollouts[dialogue].stop_reason = reason
        return DialogueEnded(dialogue, reason)


def _set_ledger(rollout: Rollout, ledger: Ledger | None) -> bool:
    """Set the ledger that the rollout goes on in; False where there is none that has room, and it keeps its own."""
    if ledger is None:
        return False
    rollout.forked |= ledger is not rollout.ledger
    rollout.ledger = ledger
    return True


def _holds_two(engine: Engine) -> bool:
    return engine.cache_tokens >= 2 * (engine.context_length + 1)
