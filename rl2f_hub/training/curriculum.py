"""Curriculum: per source, a running success rate moves a level; harder tasks and weaker hints come with it.

Level 0 is the easiest tasks with the fullest hints. A level up takes the source's next difficulty (tasks of several
`level`s in the recipe) and, if asked for, a weaker hint: the scripted teacher says less, a model teacher is shown less;
a level down goes back. It
moves when the rate leaves the band [`lower_at`, `raise_at`], and the rate starts afresh at each move, so that
a level is judged by its own dialogues. Everything it does depends on the seed, the step and what was solved: a resumed
run goes on as if it had not been interrupted. Left out: choosing between sources; their shares stay the recipe's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rl2f_hub.records import Task
from rl2f_hub.teachers.scripted import STRENGTHS


@dataclass(slots=True)
class Track:
    """Where one source stands: its level, and over the dialogues since the last move their number and success rate."""

    level: int = 0
    dialogues: int = 0
    rate: float = 0.0


class Curriculum:
    """The levels of all sources of a training split.

    Args:
        tasks: the training tasks; those of one source are grouped by the `level` in their config (0 without one).
        hints: also weaken the teacher's hints with the level.
        raise_at, lower_at: success rates above and below which the level moves.
        memory: dialogues that the running rate looks back on, and the fewest before a move.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        hints: bool = True,
        raise_at: float = 0.7,
        lower_at: float = 0.2,
        memory: int = 64,
        seed: int = 0,
    ) -> None:
        self.hints, self.raise_at, self.lower_at, self.memory, self.seed = hints, raise_at, lower_at, memory, seed
        self.pools: dict[str, list[list[Task]]] = {}
        for source in dict.fromkeys(t.source for t in tasks):
            by_level: dict[int, list[Task]] = {}
            for task in (t for t in tasks if t.source == source):
                by_level.setdefault(_difficulty(task), []).append(task)
            self.pools[source] = [by_level[level] for level in sorted(by_level)]
        self.tracks = {source: Track() for source in self.pools}

    def highest(self, source: str) -> int:
        """The source's last level: its difficulties or, if hints weaken, the strengths, whichever are more."""
        steps = [len(self.pools[source])]
        if self.hints:
            steps.append(len(STRENGTHS))
        return max(steps) - 1

    def level(self, source: str) -> int:
        """How far the hints of a source have weakened; 0 for a source that is not in training."""
        return self.tracks[source].level if source in self.tracks and self.hints else 0

    def swap(self, task: Task, step: int) -> Task:
        """The task to pose instead of `task`: of the same source, at its level; the same for all copies of a step."""
        pools = self.pools[task.source]
        pool = pools[min(self.tracks[task.source].level, len(pools) - 1)]
        if task in pool:
            return task
        digest = hashlib.sha256(f"{self.seed}/{step}/{task.task_id}".encode()).digest()
        return pool[int.from_bytes(digest[:8], "big") % len(pool)]

    def update(self, results: Iterable[tuple[str, bool]]) -> None:
        """Take in (source, solved) of the dialogues of a step, then move levels."""
        for source, solved in results:
            track = self.tracks[source]
            track.dialogues += 1
            weight = 1 / min(track.dialogues, self.memory)  # a mean at first, then an exponential average
            track.rate += weight * (solved - track.rate)
        for source, track in self.tracks.items():
            if track.dialogues < self.memory:
                continue
            move = (track.rate > self.raise_at) - (track.rate < self.lower_at)
            level = min(max(track.level + move, 0), self.highest(source))
            if level != track.level:
                self.tracks[source] = Track(level)

    def metrics(self) -> dict[str, float]:
        """For the training log: level and success rate of every source."""
        out: dict[str, float] = {}
        for source, track in self.tracks.items():
            out[f"curriculum/{source}/level"] = float(track.level)
            out[f"curriculum/{source}/success"] = track.rate
        return out

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {source: asdict(track) for source, track in self.tracks.items()}

    def load(self, state: dict[str, Any]) -> None:
        for source, track in state.items():
            if source in self.tracks:
                self.tracks[source] = Track(**track)


def _difficulty(task: Task) -> int:
    return int(task.settings.get("level", 0))
