"""One play of a game: textarena's environment, its own chance, the scripted opponent, and the words it shows.

textarena draws from Python's global generator. A match keeps that generator's state for itself: it is put in place for
the length of a step and taken out again, under a lock, so that a match plays the same whatever else draws numbers, and
nothing else notices that it was played.

Rules of ours on top of textarena's:
- an attempt is read for one move (`moves.py`); the student's other words do not reach the game;
- what cannot be read, and what the rules forbid, costs the turn of the dialogue but nothing in the game: textarena's
  "two bad moves and you have lost" is switched off;
- the student is always player 0; the opponent's moves are played at once, and the student reads what came of them;
- in Kuhn poker a bet and a call cost the chip that the rules say (`games.py`);
- if the game ends without success, words that would name its secret are replaced by a plain closing sentence.
"""

from __future__ import annotations

import copy
import inspect
import json
import random
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rl2f_hub.engines import derive_seed
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.tasks.textarena.game import Game
from rl2f_hub.tasks.textarena.moves import Reader

STUDENT = 0
_LOCK = threading.RLock()  # the global generator belongs to one match at a time


class Unplayable(Exception):
    """This draw gives no game (for example a board that is solved at the start)."""


@dataclass(slots=True)
class Shown:
    """What a move led to: the words for the student, and how it stands. `move` is None when none could be read."""

    move: str | None
    text: str
    score: float
    won: bool = False
    over: bool = False
    legal: bool = True


@dataclass(slots=True)
class Match:
    """A game that has been started. Copies play on independently."""

    game: Game
    env: Any
    read: Reader
    rng: random.Random
    chance: Any = None  # the global generator's state while this match is not being played
    opening: str = ""  # the rules and the first position, as the student reads them
    target: int = 0

    @property
    def state(self) -> Any:
        return self.env.state

    def copy(self) -> Match:
        game, read, opening = self.game, self.read, self.opening
        rng = random.Random()
        rng.setstate(self.rng.getstate())
        return Match(game, copy.deepcopy(self.env), read, rng, self.chance, opening, self.target)

    @property
    def won(self) -> bool:
        if self.game.gained is not None:
            return self.game.gained(self.env) >= self.target
        reward = (self.state.rewards or {}).get(STUDENT, 0)
        return bool(self.state.done and reward >= 1)

    @property
    def score(self) -> float:
        """1 for success; else how far the student has come, below 1.

        Points gained over the target; else textarena's own share of completion; else 0 while the game goes on and
        after a defeat, and a half for a draw.
        """
        if self.won:
            return 1.0
        if self.game.gained is not None:
            return _below_one(self.game.gained(self.env) / max(1, self.target))
        if self.game.players == 2:
            return 0.5 if self.state.done and (self.state.rewards or {}).get(STUDENT) == 0 else 0.0
        share = getattr(self.env, "_get_percentage_completion", None) or getattr(self.env, "_calculate_progress", None)
        return _below_one(float(share())) if share else 0.0

    def answer(self, attempt: str) -> Shown:
        """Read a move in free text and play it. Never raises on an attempt."""
        move = self.read(attempt)
        if move is None:
            return Shown(None, f"I could not read a move in that. {self.game.looks}", self.score, legal=False)
        return self.play(move)

    def play(self, move: str) -> Shown:
        """Play a move of the student and, if there is one, the opponent's answer. The game must not be over."""
        with self._own_chance():
            self.env.step(move)
            refused = _refusal(self.state.observations[STUDENT])
            if refused is not None and self.state.done:  # the limit was reached by a move that does not count
                self.state.done, self.state.rewards = False, None
            self._opponent_moves()
        won = self.won
        over = self.state.done and not won
        text = self._take_words() if refused is None else self._refused_words(refused)
        return Shown(move, text, self.score, won, over, refused is None)

    def _opponent_moves(self) -> None:
        for _ in range(100):
            if self.state.done or self.state.current_player_id == STUDENT:
                return
            assert self.game.opponent is not None
            before = self.state.turn
            move = self.game.opponent(self.env, self.rng)
            self.env.step(move)
            if not self.state.done and self.state.turn == before:
                raise RuntimeError(f"the scripted opponent's move {move} was refused")
        raise RuntimeError("the opponent never gives the turn back")

    def _take_words(self) -> str:
        words = self._words(self.game.noise if self.state.done else None)
        if self.game.gained is not None:
            words.append(f"So far you have gained {self.game.gained(self.env)} of the {self.target} that you need.")
            if self.state.done:
                words.append("The game is over.")
        elif self.state.done and not self.won and self.game.secret is not None:
            words.append("The game is over: no tries are left, and it was not found.")
        elif self.state.done:
            words.append(str(self.state.game_info[STUDENT].get("reason") or "The game is over."))
        return "\n\n".join(words) or "Your move was taken. Go on."

    def _words(self, noise: re.Pattern[str] | None) -> list[str]:
        """What the game has said since it was last asked."""
        said = _spoken(self.state.observations[STUDENT], noise)
        self.state.observations[STUDENT] = []
        return [self.game.slip.sub("", words) for words in said] if self.game.slip else said

    def _refused_words(self, reason: str) -> str:
        self.state.observations[STUDENT] = []
        return f"That move is not allowed. {reason}It does not count; choose another. {self.game.looks}"

    @contextmanager
    def _own_chance(self) -> Iterator[None]:
        with _LOCK:
            outside = random.getstate()
            if self.chance is not None:
                random.setstate(self.chance)
            try:
                yield
            finally:
                self.chance = random.getstate()
                random.setstate(outside)


@lru_cache(maxsize=512)
def _opened(game_id: str, game: Game, params: str, seed: int, index: int) -> Match:
    settings = json.loads(params)
    full = {**_registered(game_id).kwargs, **settings}
    made = Match(game, None, game.reader(full), random.Random(derive_seed("opponent", game_id, params, seed, index)))
    with made._own_chance():
        try:
            _make(game_id, game, full)  # modules draw numbers while they are imported: that must come before the seed
            random.seed(derive_seed("environment", game_id, params, seed, index))
            made.env = _make(game_id, game, full)
            made.env.reset(num_players=game.players, seed=random.getrandbits(60))
        except ZeroDivisionError:  # LightsOut measures progress from the lights at the start, and there are none
            raise Unplayable from None
        except (IndexError, ValueError) as error:
            raise UsageError(f"textarena:{game_id}: config {params} gives no game: {error}") from None
        made.state.error_allowance = sys.maxsize
        made._opponent_moves()
        if game.target is not None:
            made.target = game.target(made.env)
    made.opening = "\n\n".join(made._words(None))
    if made.state.done:
        raise Unplayable
    return made


def open_match(game_id: str, game: Game, params: dict[str, Any], seed: int, index: int) -> Match:
    """Item `index` of a seed, at its start: the same for ever.

    Raises:
        UsageError: a refused setting. Unplayable: this draw gives no game.
    """
    game.check(params, f"textarena:{game_id}")
    return _opened(game_id, game, json.dumps(params, sort_keys=True), seed, index).copy()


def _registered(game_id: str) -> Any:
    try:
        from textarena.envs.registration import ENV_REGISTRY
    except ImportError:
        raise RL2FError("textarena is not installed; install it with: pip install 'rl2f-hub[games]'") from None
    if game_id not in ENV_REGISTRY:
        raise RL2FError(f"textarena:{game_id}: the installed textarena has no such environment; install a newer one")
    return ENV_REGISTRY[game_id]


def _make(game_id: str, game: Game, full: dict[str, Any]) -> Any:
    if game.build is not None:
        return game.build(**full)
    import textarena

    return textarena.make(f"{game_id}-raw", **full)  # without wrappers, which would only reword what we read


def _below_one(share: float) -> float:
    return min(max(share, 0.0), 0.99)


def _refusal(observations: list[Any]) -> str | None:
    """Why textarena refused the last move, empty where it does not say; None if it did not."""
    from textarena import ObservationType

    for _, text, kind in observations:
        found = re.search(r"attempted an invalid move\. Reason: (.*?)(?: Please resubmit|$)", str(text), re.DOTALL)
        if kind is ObservationType.GAME_ADMIN and found:  # Countdown gives its progress in place of the reason
            return "" if re.fullmatch(r"[0-9.]+", found[1]) else found[1].strip() + " "
    return None


def _spoken(observations: list[Any], noise: re.Pattern[str] | None) -> list[str]:
    """What the game says, without the echo of the moves, repetitions and noise."""
    from textarena import ObservationType

    words: list[str] = []
    for _, text, kind in observations:
        if kind is ObservationType.PLAYER_ACTION or not isinstance(kind, ObservationType):
            continue  # Countdown's echo of a move comes with its parts in the wrong places
        text = inspect.cleandoc(text) if kind is ObservationType.PROMPT else text
        lines = [line.rstrip() for line in str(text).strip("\n").splitlines()]
        said = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
        if said and not (noise and noise.search(said)) and (not words or words[-1] != said):
            words.append(said)
    return words
