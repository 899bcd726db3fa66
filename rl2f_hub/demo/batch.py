"""Several tasks at once with the teacher, for every player: accuracy by attempt, while it grows.

Attempt by attempt, and within it player by player, all tasks that are still open go through the model as one batch.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from rl2f_hub.demo.marks import solved_at, solved_by
from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue.events import TokenDrawn, TurnStarted
from rl2f_hub.dialogue.runner import DialogueRunner, start_rollouts
from rl2f_hub.engines import Sampling
from rl2f_hub.records import Task
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

    def __init__(
        self, player: Player, tasks: Sequence[Task], seeds: list[int], teacher: Teacher, sampling: Sampling
    ) -> None:
        self.label, self.note = player.label, ""
        self.rollouts = start_rollouts(player.student, tasks, seeds)
        runner = DialogueRunner(player.student, self.rollouts, max_turns=TURNS, sampling=sampling, tokens=True)
        self.events = runner.run(Guard().wrap(teacher), max_parallel=len(tasks), overlap=False)

    @property
    def made(self) -> int:
        """How many attempts every open dialogue has made."""
        return min((len(r.turns) for r in self.rollouts if r.stop_reason is None), default=TURNS)


def play_batch(
    players: Sequence[Player], tasks: Sequence[Task], teacher: Teacher, sampling: Sampling, stop: threading.Event
) -> Generator[Picture, None, None]:
    """Play all tasks with every player; yields pictures while it goes on, the last of which has `ended`.

    A stop keeps what was reached.
    """
    seeds = [secrets.randbits(63) for _ in tasks]
    sides = [_Side(p, tasks, seeds, teacher, sampling) for p in players]
    shown = time.monotonic()
    try:
        while any(side.made < TURNS for side in sides):
            for side in sides:
                tokens = 0
                for event in side.events:
                    if stop.is_set():
                        yield _picture(sides, tasks, "Stopped: this is how far it came.", ended=True)
                        return
                    if isinstance(event, TurnStarted):
                        count = len(event.dialogues)
                        side.note = f"attempt {side.made + 1} of {TURNS}: {side.label} is at {count} tasks"
                        if tokens:
                            break
                    tokens += isinstance(event, TokenDrawn)
                    if time.monotonic() - shown >= FRAME_S:
                        yield _picture(sides, tasks, f"{side.note}, {tokens} tokens so far")
                        shown = time.monotonic()
                yield _picture(sides, tasks, side.note)
        yield _picture(sides, tasks, f"All {len(tasks)} tasks are played.", ended=True)
    finally:
        for side in sides:
            side.events.close()


def _picture(sides: Sequence[_Side], tasks: Sequence[Task], note: str, ended: bool = False) -> Picture:
    solved = {s.label: [solved_at(r) for r in s.rollouts] for s in sides}
    made = {s.label: s.made for s in sides}
    curves = {name: solved_by(values, made[name]) for name, values in solved.items()}
    done = sum(made.values()) / (TURNS * len(sides))
    return Picture(tasks, solved, made, curves, done, note, ended)
