"""What a visitor can do, without any interface: the page and its API call these and draw what they yield.

Every action works on a copy of the episode and is kept only when all of it went well: an attempt that failed, was stopped
or whose visitor left changes nothing. Who acts too often, or asks for what cannot be, is told so by a `UsageError`.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from rl2f_hub.demo import batch, play
from rl2f_hub.demo.episode import Episode, TooHard, check_open, new_episode, own_task
from rl2f_hub.demo.marks import solved_at
from rl2f_hub.demo.play import Growing
from rl2f_hub.demo.players import Player
from rl2f_hub.demo.teaching import SCRIPTED, TEACHERS, SameModelTeacher
from rl2f_hub.demo.visits import OneEach, Pace, Stops, Visit, Visits
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Task
from rl2f_hub.teachers import Teacher

log = logging.getLogger(__name__)

MAX_TOKENS = 512
SLOW_COSTS = 30  # actions that one right answer counts for which took all the judge's time
FAILED = "The model failed on this attempt; nothing was changed. Try again, or pick another task."


@dataclass(frozen=True, slots=True)
class Who:
    """A visitor, for what is counted: `name` is the browser's session, `address` where it comes from."""

    name: str = "local"
    address: str = "local"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of an action under way, with who is at it if no player is. The last one has nothing growing."""

    episode: Episode
    growing: Sequence[Growing | None] = ()
    who: str = ""


@dataclass(slots=True)
class Acts:
    """The actions over loaded players.

    Attributes:
        tasks: what can be picked from.
        reading: whose right answer the judges, whom all share, are reading at the moment.
        pace, address_pace: how often a visitor and an address may act; a class behind one address is many visitors.
    """

    players: list[Player]
    tasks: list[Task]
    teacher: Teacher
    model_name: str = ""
    visits: Visits = field(default_factory=Visits)
    stops: Stops = field(default_factory=Stops)
    reading: OneEach = field(default_factory=OneEach)
    pace: Pace = field(default_factory=lambda: Pace(40, 20))
    address_pace: Pace = field(default_factory=lambda: Pace(1_200, 200))

    def kinds(self) -> dict[str, list[int]]:
        """Numbers of the tasks by domain or, where all are of one, by source."""
        domains = {t.domain for t in self.tasks}
        out: dict[str, list[int]] = {}
        for i, task in enumerate(self.tasks):
            name = task.domain if len(domains) > 1 else task.source.partition(":")[2] or task.source
            out.setdefault(name.replace("_", " ").capitalize(), []).append(i)
        return out

    def begin(self, visit: Visit, prompt: str, reference: str, sampling: Sampling, who: Who) -> Iterator[Frame]:
        """A new episode: every player makes its first attempt."""
        prompt, reference = prompt or "", reference or ""
        asked = (prompt.strip(), reference.strip())
        known = (t for t in self.tasks if (t.prompt.strip(), t.privilege.reference.strip()) == asked)
        self._count(who)  # before anything is looked at: reading a right answer as mathematics can take seconds
        try:
            with self.reading.held(who.name):
                task = next(known, None) or own_task(prompt, reference)
        except TooHard:  # all visitors share the judge: who kept it busy is not let in again for a while
            self.pace.charge(who.name, SLOW_COSTS)
            self.address_pace.charge(who.address, SLOW_COSTS)
            raise
        before = visit.episode
        yield from self._played(visit, new_episode(self.players, task), sampling, who)
        if before is not None and before.checked and before.tried:
            visit.earlier = [*visit.earlier, tuple(solved_at(r) for r in before.rollouts)][-100:]
            self.visits.keep(visit)

    def answer(
        self, visit: Visit, by: str, words: str, sampling: Sampling, who: Who, teacher: str = SCRIPTED
    ) -> Iterator[Frame]:
        """Feedback by the visitor, the teacher, the students themselves or a deceiver; then everyone tries again.

        Args:
            by: visitor, teacher, self or misleading.
            teacher: one of `TEACHERS`.
        """
        episode = copy.deepcopy(check_open(visit.episode))
        if by == "misleading":
            play.by_deceiver(self.players, episode)
        elif episode.over:
            raise UsageError("This task is over: start again, or pick another one.")
        elif by == "teacher" and teacher not in TEACHERS:
            raise UsageError(f"teacher: {str(teacher)[:40]!r} is unknown; choose {' or '.join(map(repr, TEACHERS))}")
        elif by == "visitor":
            play.by_visitor(self.players, episode, words or "")
        self._count(who)
        yield from self._played(visit, episode, sampling, who, by == "self", teacher if by == "teacher" else "")

    def _played(
        self, visit: Visit, episode: Episode, sampling: Sampling, who: Who, itself: bool = False, teacher: str = ""
    ) -> Iterator[Frame]:
        with self._stoppable(who) as stop:
            if teacher == SCRIPTED:
                play.by_teacher(self.players, episode, self.teacher)
            elif teacher:  # it takes its time
                yield Frame(episode, [None if r.stop_reason else Growing() for r in episode.rollouts], "The teacher")
                play.by_teacher(self.players, episode, SameModelTeacher(self.players[0], stop))
            for growing in play.take_turns(self.players, episode, sampling, itself=itself, stop=stop):
                yield Frame(episode, growing)
        visit.episode, visit.temperature, visit.tokens = episode, sampling.temperature, sampling.turn_tokens
        self.visits.keep(visit)
        yield Frame(episode)

    def batch(self, kind: str, count: int, sampling: Sampling, who: Who) -> Iterator[batch.Picture]:
        """Several tasks at once with the teacher, for every player."""
        indices = self.kinds().get(kind) or range(len(self.tasks))
        tasks = batch.choose([self.tasks[i] for i in indices], count)
        self._count(who)
        with self._stoppable(who) as stop:
            yield from batch.play_batch(self.players, tasks, self.teacher, sampling, stop)

    @contextmanager
    def _stoppable(self, who: Who) -> Iterator[threading.Event]:
        stop = self.stops.begin(who.name)
        try:
            yield stop
        except RL2FError:
            raise
        except Exception:
            log.exception("an attempt failed")
            raise UsageError(FAILED) from None
        finally:
            self.stops.end(who.name, stop)

    def _count(self, who: Who) -> None:
        self.address_pace.take(who.address)
        self.pace.take(who.name)

    def found(self, key: str) -> Visit:
        """The visit with that key."""
        return self.visits.find(key)

    def again(self, key: str) -> Visit | None:
        """A visit to go on with in another page: the same dialogue under a key of its own; None if it is gone."""
        try:
            visit = replace(self.visits.find(key), key=Visit().key)
        except UsageError:
            return None
        self.visits.keep(visit)
        return visit


def sampling_of(temperature: float | None, tokens: int | None) -> Sampling:
    """A visitor's settings within bounds."""
    heat = min(max(0.0, float(temperature or 0.0)), 2.0)
    return Sampling(temperature=heat, turn_tokens=max(1, min(int(tokens or 64), MAX_TOKENS)))
