"""Who is visiting: the dialogues of the last hour, how often somebody may act, who pressed Stop.

A dialogue is found again by its key alone, a random number that only its visitor knows: it is what a page keeps over a
reload and what a client of the API passes on. All in memory, bounded, and gone with the process.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rl2f_hub.demo.episode import Episode
from rl2f_hub.errors import UsageError

KEPT = 1_000  # visits
KEPT_S = 3_600.0


@dataclass(slots=True)
class Visit:
    """What one visitor did: the episode at hand, and at which attempt each player solved the earlier ones (0: not)."""

    key: str = field(default_factory=lambda: secrets.token_hex(16))
    episode: Episode | None = None
    earlier: list[tuple[int, ...]] = field(default_factory=list)
    temperature: float = 0.0
    tokens: int = 64


class Visits:
    """The visits that can be found again, the longest unused of which go first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept: OrderedDict[str, tuple[float, Visit]] = OrderedDict()
        self._lock, self._clock = threading.Lock(), clock

    def keep(self, visit: Visit) -> None:
        with self._lock:
            now = self._clock()
            self._kept[visit.key] = (now, visit)
            self._kept.move_to_end(visit.key)
            while len(self._kept) > KEPT or next(iter(self._kept.values()))[0] < now - KEPT_S:
                self._kept.popitem(last=False)

    def find(self, key: str) -> Visit:
        """The visit with that key.

        Raises:
            UsageError: there is none, or none any more.
        """
        with self._lock:
            kept = self._kept.get(key) if isinstance(key, str) else None
            if kept is None or kept[0] < self._clock() - KEPT_S:
                raise UsageError("This dialogue is not known here (any more): start a new one.")
            return kept[1]

    def __len__(self) -> int:
        return len(self._kept)


class Pace:
    """How often one visitor, and one network address, may act: `rate` a minute on average, `burst` at once."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # who -> (when, how much was left)
        self._lock = threading.Lock()

    def take(self, who: str) -> None:
        """Count one action.

        Raises:
            UsageError: too many.
        """
        with self._lock:
            now = self._clock()
            when, left = self._buckets.pop(who, (now, float(self.burst)))
            left = min(self.burst, left + (now - when) * self.rate / 60)
            self._buckets[who] = (now, left - 1 if left >= 1 else left)
            while len(self._buckets) > 10 * KEPT:
                self._buckets.popitem(last=False)
        if left < 1:
            wait = math.ceil((1 - left) * 60 / self.rate)
            raise UsageError(f"That was a lot at once: please wait {wait} s and press the button again.")

    def charge(self, who: str, actions: float) -> None:
        """Count that many actions more, even if they were not left: the next ones wait until they are made up for."""
        with self._lock:
            when, left = self._buckets.pop(who, (self._clock(), float(self.burst)))
            self._buckets[who] = (when, left - actions)


class OneEach:
    """What each visitor may have one of under way: a burst of one takes one place in the queue that all share."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def held(self, who: str) -> Iterator[None]:
        """The visitor's place while the block runs.

        Raises:
            UsageError: the visitor has it already. A refusal, since who waits holds one of the page's threads.
        """
        with self._lock:
            if who in self._busy:
                raise UsageError("Your right answer before this one is still being read: please wait for it.")
            self._busy.add(who)
        try:
            yield
        finally:
            with self._lock:
                self._busy.remove(who)


class Stops:
    """The Stop buttons: one event for each visitor that has something under way."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def begin(self, who: str) -> threading.Event:
        """A fresh event for what the visitor starts now."""
        event = threading.Event()
        with self._lock:
            self._events[who] = event
        return event

    def end(self, who: str, event: threading.Event) -> None:
        with self._lock:
            if self._events.get(who) is event:
                del self._events[who]

    def stop(self, who: str) -> bool:
        """Stop what is under way; whether there was anything."""
        with self._lock:
            event = self._events.get(who)
        if event is not None:
            event.set()
        return event is not None
