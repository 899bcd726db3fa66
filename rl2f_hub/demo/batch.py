"""Several tasks at once with the teacher, for every player: accuracy by attempt, while it grows.

Attempt by attempt, and within it player by player, all tasks that are still open go through the model as one batch.
"""

from __future__ import annotations

import queue
import random
import secrets
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from rl2f_hub.demo.marks import solved_at, solved_by
from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue.rollout import Rollout, get_feedback, judge
from rl2f_hub.engines import Interrupted, Sampled, Sampling, Session
from rl2f_hub.records import StopReason, Task, Turn
from rl2f_hub.teachers import Teacher
from rl2f_hub.teachers.guard import Guard

TURNS = 6
SIZE = 10
FRAME_S = 0.15


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a batch stands.

    Attributes:
        solved: by player, the attempt that solved each task (0: not yet).
        made: by player, how many attempts are made.
        curves: by player, the share solved by each attempt made.
        done: the share of the work that is done, 0 to 1.
        note: what is happening.
        ended: nothing more comes.
    """

    tasks: Sequence[Task]
    solved: dict[str, list[int]]
    made: dict[str, int]
    curves: dict[str, list[float]]
    done: float
    note: str
    ended: bool = False


def choose(tasks: Sequence[Task], count: int = SIZE) -> list[Task]:
    """That many different tasks, drawn at random, or all there are."""
    return random.sample(list(tasks), min(max(1, int(count)), SIZE, len(tasks)))


class _Side:
    """One player's half of a batch."""

    def __init__(self, player: Player, tasks: Sequence[Task], seeds: list[int], sampling: Sampling) -> None:
        self.player, self.sampling = player, sampling
        chat = player.student.chat
        self.rollouts = [Rollout(t, s, chat.open(t.prompt)) for t, s in zip(tasks, seeds, strict=True)]
        self.session: Session | None = None
        if player.remote is None:
            self.session = player.student.engine.open(seeds, sampling, chat.stop_ids)
        self.fed = [0] * len(tasks)
        self.made = 0

    @property
    def open(self) -> list[int]:
        return [i for i, r in enumerate(self.rollouts) if r.stop_reason is None]

    def step(self, teacher: Teacher, on_token: Callable[[], None]) -> None:
        """The next attempt of every open task and, unless it was the last, what the teacher says to the wrong ones."""
        turn = self.made + 1
        for i in self.open:
            if not self.player.fits(self.rollouts[i], self.sampling.turn_tokens):
                self.rollouts[i].stop_reason = StopReason.CONTEXT_FULL
        rows = self.open
        if rows:
            texts = self._texts(rows, turn, on_token)
            judge([(self.rollouts[i], text) for i, text in zip(rows, texts, strict=True)])
        self.made = turn
        wrong = [self.rollouts[i] for i in self.open]
        if turn == TURNS or not wrong:
            return
        for rollout, said in zip(wrong, get_feedback(Guard().wrap(teacher), wrong), strict=True):
            if said is None:
                rollout.stop_reason = StopReason.TEACHER_ERROR
                continue
            last = rollout.turns[-1]
            self.player.student.chat.feedback(rollout.ledger, said.text, turn)
            rollout.turns[-1] = Turn(last.attempt, last.verdict, said, last.cut)

    def _texts(self, rows: list[int], turn: int, on_token: Callable[[], None]) -> list[str]:
        player, chat = self.player, self.player.student.chat
        if self.session is None:
            return [player.attempt(self.rollouts[i], self.sampling, lambda _: on_token()) for i in rows]
        with player.turns.turn(player.weights) as hand_on:

            def drawn(row: int, token: int) -> None:
                on_token()
                hand_on()

            new = [self.rollouts[i].ledger.ids[self.fed[i] :] for i in rows]
            sampled: list[Sampled] = self.session.generate(rows, new, turn, on_token=drawn)
        for i, attempt in zip(rows, sampled, strict=True):
            chat.attempt(self.rollouts[i].ledger, attempt.ids, attempt.logprobs, turn)
            self.fed[i] = len(self.rollouts[i].ledger.ids)
        return [chat.decode(attempt.ids) for attempt in sampled]


def play_batch(
    players: Sequence[Player], tasks: Sequence[Task], teacher: Teacher, sampling: Sampling, stop: threading.Event
) -> Generator[Picture, None, None]:
    """Play all tasks with every player; yields pictures while it goes on, the last of which has `ended`.

    A stop keeps what was reached.
    """
    seeds = [secrets.randbits(63) for _ in tasks]
    sides = [_Side(p, tasks, seeds, sampling) for p in players]
    steps = TURNS * len(sides)
    for number in range(steps):
        side = sides[number % len(sides)]
        if not side.open:
            side.made += 1
            continue
        note = f"attempt {side.made + 1} of {TURNS}: {side.player.label} is at {len(side.open)} tasks"
        for tokens in _watched(side, teacher, stop):
            yield _picture(sides, tasks, number / steps, f"{note}, {tokens} tokens so far")
        if stop.is_set():
            yield _picture(sides, tasks, number / steps, "Stopped: this is how far it came.", ended=True)
            return
        yield _picture(sides, tasks, (number + 1) / steps, note)
    yield _picture(sides, tasks, 1.0, f"All {len(tasks)} tasks are played.", ended=True)


def _watched(side: _Side, teacher: Teacher, stop: threading.Event) -> Iterator[int]:
    """Make one step in a thread of its own; yields the number of tokens so far, now and then, until it is done."""
    count = 0
    news: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def drawn() -> None:
        nonlocal count
        if stop.is_set():
            raise Interrupted
        count += 1

    def work() -> None:
        try:
            side.step(teacher, drawn)
        except Interrupted:
            news.put(None)
        except BaseException as error:
            news.put(error)
        else:
            news.put(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ended = False
    try:
        while not ended:
            try:
                error = news.get(timeout=FRAME_S)
            except queue.Empty:
                yield count
                continue
            ended = True
            if error is not None:
                raise error
    finally:
        if not ended:
            stop.set()  # whoever watched has left
        thread.join()


def _picture(sides: Sequence[_Side], tasks: Sequence[Task], done: float, note: str, ended: bool = False) -> Picture:
    solved = {s.player.label: [solved_at(r) for r in s.rollouts] for s in sides}
    made = {s.player.label: s.made for s in sides}
    curves = {name: solved_by(values, made[name]) for name, values in solved.items()}
    return Picture(tasks, solved, made, curves, done, note, ended)
