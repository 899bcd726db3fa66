"""The didactic loop, batched: attempt, verify, feedback through the guard, next attempt with the whole history.

A dialogue ends at the first correct attempt or at `max_turns`, and gives its place to the next one. One bad verdict or
one teacher that has nothing to say ends its own dialogue with a typed stop reason and is counted; the batch goes on.
What happens where a dialogue meets a limit of length is said by `Rules` (`context_window.py`). The loop knows nothing of
training: `training/` turns rollouts into a loss, `evaluation/` into figures.

Where verdicts or teachers are waited for, the dialogues play in two crews: while one generates, the other is judged
and answered in a thread. No text depends on it.

An interrupt (Ctrl-C) leaves the loop as any exception does, and the dialogues in flight are not recorded: stages write
whole shards only and make the lost one again. A caller that wants the unfinished dialogues passes `cancelled`; they end
with `cancelled`, after the turn that was under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.context_window import RULES, Context, Rules
from rl2f_hub.dialogue.rollout import Rollout, ask, get_feedback, judge, verify_and_give_feedback
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.engines import Engine, Interrupted, OnToken, Sampled, Sampling, derive_seed
from rl2f_hub.records import Feedback, StopReason, Task
from rl2f_hub.teachers.guard import Guard, GuardedTeacher
from rl2f_hub.verify import Verifier, as_verifier, verifier_of

__all__ = ["CLOSING_WORDS", "Rollout", "Student", "ask", "get_feedback", "judge", "run_dialogues"]

REPLY_TOKENS = 64  # a teacher's reply with its template, where only a guess is needed
CLOSING_WORDS = "Correct."  # the teacher's last words on a solved dialogue: a target for the critique term only


@dataclass(slots=True)
class Student:
    """A policy that can be talked to: an engine and the chat format of its tokenizer, under a name for the records."""

    engine: Engine
    chat: ChatFormat
    name: str


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

    Where the engine's cache would not hold `wave` dialogues of the length to be expected, fewer run at once.

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
            that is waited for (`waits`).
        verifier: judges in place of the verifiers that tasks name: a `Verifier`, or a function (task, attempt) that
            returns a `Verdict`, a bool or a score.
    Raises:
        UsageError: something else as a teacher or verifier.
    """
    guarded = teacher if isinstance(teacher, GuardedTeacher) else (guard or Guard()).wrap(teacher)
    verifier = None if verifier is None else as_verifier(verifier)
    if seeds is None:
        seeds = [derive_seed(seed, task.task_id) for task in tasks]
    opened = student.chat.opened_mark
    rollouts = [
        Rollout(task, s, student.chat.open(task.prompt), opened=opened) for task, s in zip(tasks, seeds, strict=True)
    ]
    if not rollouts:
        return []
    wave = _fitting(rollouts, student.engine, max_turns, sampling, wave)
    if overlap is None:
        overlap = waits(guarded, tasks)
    crews = 2 if overlap and wave > 1 and _holds_two(student.engine) else 1
    play = _Play(rollouts, student, guarded, verifier, max_turns, rules, timings or Timings(), on_token)
    play.run([play.crew(sampling, wave, n, crews) for n in range(crews)], on_wave, cancelled)
    return rollouts


def waits(teacher: GuardedTeacher, tasks: Sequence[Task]) -> bool:
    """Whether verdicts or feedback come from other processes or machines, so that time spent on them is idle here.

    Never with a model in this process as the teacher: it may be the student's own weights with the adapter switched off,
    which nobody else may use meanwhile.
    """
    if teacher.teacher.is_local_model:
        return False
    return teacher.teacher.is_remote or any(verifier_of(task).is_remote for task in tasks)


def _fitting(rollouts: list[Rollout], engine: Engine, max_turns: int, sampling: Sampling, wave: int) -> int:
    """How many dialogues to run at once. A guess: the engine keeps to its budget if dialogues grow longer."""
    prompt = max(len(r.ledger.ids) for r in rollouts)
    longest = min(engine.context_length, prompt + max_turns * sampling.turn_tokens + (max_turns - 1) * REPLY_TOKENS)
    most = engine.most_rows or wave  # what an engine has learnt from a lack of memory
    return max(1, min(wave, most, len(rollouts), engine.cache_tokens // (longest + 1)))


def _holds_two(engine: Engine) -> bool:
    return engine.cache_tokens >= 2 * (engine.context_length + 1)


@dataclass(slots=True)
class _Crew:
    """Dialogues, by index, that make their attempts together; `said` waits for what their last ones earned."""

    context: Context
    size: int
    active: list[int] = field(default_factory=list)
    said: Callable[[], list[Feedback | None]] | None = None


@dataclass(slots=True)
class _Play:
    """What all dialogues of one call have in common."""

    rollouts: list[Rollout]
    student: Student
    teacher: GuardedTeacher
    verifier: Verifier | None
    max_turns: int
    rules: Rules
    timings: Timings
    on_token: OnToken | None

    def crew(self, sampling: Sampling, wave: int, number: int, count: int) -> _Crew:
        """Crew `number` of `count`, which have a share of the places and of the engine's cache each."""
        seeds = [r.seed for r in self.rollouts]
        context = Context(self.student.engine, self.student.chat, seeds, sampling, self.rules, 1 / count)
        return _Crew(context, wave // count + (number < wave % count))

    def run(self, crews: list[_Crew], on_wave: Callable[[int], None] | None, cancelled: Callable[[], bool]) -> None:
        """Play every dialogue to its end. An exception loses all that are under way."""
        waiting = deque(range(len(self.rollouts)))
        over = 0
        pool = ThreadPoolExecutor(1) if len(crews) > 1 else None
        try:
            while waiting or any(crew.active for crew in crews):
                for crew in crews:
                    self._settle(crew)
                    if not (waiting or crew.active):
                        continue
                    if cancelled() or not self._turn(crew, waiting, pool):
                        cancelled = _always
                        self._cancel([*crew.active, *waiting])
                        crew.active, crew.said = [], None
                        waiting.clear()
                now = len(self.rollouts) - len(waiting) - sum(len(crew.active) for crew in crews)
                if on_wave and now > over:
                    on_wave(now - over)
                over = now
        finally:
            if pool is not None:  # what is asked of others at this moment is left to end by itself
                pool.shutdown(wait=False, cancel_futures=True)

    def _turn(self, crew: _Crew, waiting: deque[int], pool: ThreadPoolExecutor | None) -> bool:
        """Fill the crew up and let it make its attempts; False when the one who reads along stopped it."""
        while waiting and len(crew.active) < crew.size:
            crew.active.append(waiting.popleft())
        for i in list(crew.active):
            rollout = self.rollouts[i]
            if self.teacher.independent_attempts and rollout.turns:
                rollout.ledger = self.student.chat.open(rollout.task.prompt)
            if not self._goes_on(rollout, crew.context.before_turn(rollout.ledger)):
                rollout.stop_reason = StopReason.CONTEXT_FULL
                crew.active.remove(i)
        if not crew.active:
            return True
        rollouts = [self.rollouts[i] for i in crew.active]
        turns = [len(r.turns) + 1 for r in rollouts]
        with self.timings.during("student"):
            try:
                sampled = crew.context.generate(crew.active, [r.ledger for r in rollouts], turns, self.on_token)
            except Interrupted:
                return False
            made = [attempt for attempt in sampled if attempt.failure is None]
            texts = [self.student.chat.decode(attempt.ids) for attempt in made]
        crew.active = self._without_failed(crew.active, sampled)
        rollouts = [self.rollouts[i] for i in crew.active]
        for rollout, attempt in zip(rollouts, made, strict=True):
            rollout.written.append(attempt.tokens)
            self.timings.student_tokens += attempt.tokens
        attempts, cut = list(zip(rollouts, texts, strict=True)), [not attempt.stopped for attempt in made]
        work = partial(
            verify_and_give_feedback,
            attempts,
            cut,
            self.teacher,
            self.rules,
            self.max_turns,
            self.timings,
            self.verifier,
        )
        crew.said = pool.submit(work).result if pool else work
        return True

    def _without_failed(self, active: list[int], sampled: list[Sampled]) -> list[int]:
        """Those of whom there is an attempt; the others end with the failure."""
        for i, attempt in zip(active, sampled, strict=True):
            self.rollouts[i].stop_reason = attempt.failure
        return [i for i, attempt in zip(active, sampled, strict=True) if attempt.failure is None]

    def _settle(self, crew: _Crew) -> None:
        """Tell the crew's dialogues what their last attempts earned; those that are over leave it."""
        if crew.said is None:
            return
        replies, crew.said = crew.said(), None
        crew.active = [i for i, reply in zip(crew.active, replies, strict=True) if self._hears(i, reply, crew.context)]

    def _hears(self, index: int, reply: Feedback | None, context: Context) -> bool:
        """Whether a dialogue goes on after the words, if any, that its last attempt earned."""
        rollout = self.rollouts[index]
        turn = len(rollout.turns)
        last = turn == self.max_turns or rollout.stop_reason is StopReason.GAME_OVER
        if self.teacher.independent_attempts:
            rollout.stop_reason = rollout.stop_reason or (StopReason.TURN_LIMIT if last else None)
            return rollout.stop_reason is None
        if reply is None:
            if rollout.stop_reason is StopReason.SOLVED:
                self._goes_on(rollout, context.say(rollout.ledger, CLOSING_WORDS, turn, closing=True))
            rollout.stop_reason = rollout.stop_reason or StopReason.TEACHER_ERROR
            return False
        if rollout.stop_reason is StopReason.SOLVED:  # the teacher doubts it
            rollout.stop_reason = None
        self.timings.teacher_tokens += reply.usage.completion_tokens if reply.usage else 0
        heard = self._goes_on(rollout, context.say(rollout.ledger, reply.text, turn, closing=last))
        if heard:
            rollout.turns[-1] = replace(rollout.turns[-1], feedback=reply)
        if last:
            rollout.stop_reason = rollout.stop_reason or StopReason.TURN_LIMIT
        elif not heard:
            rollout.stop_reason = StopReason.CONTEXT_FULL
        return rollout.stop_reason is None

    @staticmethod
    def _goes_on(rollout: Rollout, ledger: Ledger | None) -> bool:
        """Give the rollout the ledger that it goes on in; False, with the one it has, where there is no room."""
        if ledger is None:
            return False
        rollout.forked |= ledger is not rollout.ledger
        rollout.ledger = ledger
        return True

    def _cancel(self, indices: list[int]) -> None:
        for i in indices:
            self.rollouts[i].stop_reason = StopReason.CANCELLED


def _always() -> bool:
    return True
