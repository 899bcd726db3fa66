"""What makes an environment a supported game: how its moves are read, who plays, what may be set, how it can be won."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.tasks.textarena.moves import Reader

if TYPE_CHECKING:
    from rl2f_hub.tasks.textarena.match import Match


@dataclass(frozen=True, slots=True)
class Param:
    """A setting that an environment accepts: a whole number from `low` to `high`, a list of up to `longest` of them, or,
    without bounds, true or false. `drawn`: null leaves it to chance. Bounds keep a task file from outside small."""

    low: int = 0
    high: int = 0
    longest: int = 0
    drawn: bool = False

    def refuses(self, value: Any) -> str:
        """Why a value is refused; empty when it is not."""
        if self.drawn and value is None:
            return ""
        if self.longest:
            fits = isinstance(value, list) and 1 <= len(value) <= self.longest
            fits = fits and all(type(v) is int and self.low <= v <= self.high for v in value)
            return "" if fits else f"give 1 to {self.longest} whole numbers from {self.low} to {self.high}"
        if self.high:
            fits = type(value) is int and self.low <= value <= self.high
            return "" if fits else f"give a whole number from {self.low} to {self.high}"
        return "" if isinstance(value, bool) else "give true or false"


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """A supported environment.

    Attributes:
        players: 1, or 2 with a scripted opponent.
        looks: a sentence that says what a move looks like; its examples stand in the game's own rules too.
        reader: settings -> how a move is read.
        line: a started match -> the moves of a winning line, or None. It may look at everything.
        found: how that line is found, for people.
        params: the settings that `config` may change.
        opponent: (environment, generator) -> its move.
        secret: what the student has to find out, where that is one thing.
        target: the points that count as success, where textarena's own winner is not the measure.
        gained: the points reached so far.
        build: makes the environment where textarena's own class needs the network or breaks its own rules.
        noise: matches words that textarena shows after the end and that mean nothing any more.
        slip: matches a part of textarena's words that is wrong, to be cut out.
    """

    players: int
    looks: str
    reader: Callable[[dict[str, Any]], Reader]
    line: Callable[[Match], list[str] | None]
    found: str
    params: dict[str, Param] = field(default_factory=dict)
    domain: str = "games"
    opponent: Callable[[Any, random.Random], str] | None = None
    secret: Callable[[Any], str] | None = None
    target: Callable[[Any], int] | None = None
    gained: Callable[[Any], int] | None = None
    build: Callable[..., Any] | None = None
    noise: re.Pattern[str] | None = None
    slip: re.Pattern[str] | None = None

    def check(self, params: dict[str, Any], at: str) -> None:
        """Raises UsageError for a setting that is unknown or out of bounds."""
        for name, value in params.items():
            if name not in self.params:
                known = did_you_mean(name, self.params) or "; this environment has no settings"
                raise UsageError(f"{at}.config.{name}: no such setting{known}")
            reason = self.params[name].refuses(value)
            if reason:
                raise UsageError(f"{at}.config.{name}: {value!r} was refused; {reason}")
