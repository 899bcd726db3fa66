"""Multi-step tasks from textarena: `source: "textarena:Wordle-v0"` with the environment's own settings as `config`.

Here the world is the teacher: each attempt of a dialogue is one move, the feedback is what the environment shows after
it, and the dialogue ends when the game is won, when it is over, or at the recipe's `max_turns` (give it at least as many
turns as the game has). `games.py` lists what is supported, `match.py` says what we changed in textarena's rules,
`opponents.py` who the student plays against.

A game is a pure function of the task and the moves so far. Item i of seed s is the same for ever, in any process, and
`verify.replay` plays it again from the start for every verdict; nothing is kept between turns. Only games for which a winning
line was found become tasks (`report["unwinnable"]` counts the others); the line is the task's solution, and the secret,
where there is one, its reference. The prompt ends with a number that stands for the hidden start, the opponent's
chance included, so that two tasks with the same words are two tasks exactly when they are two games.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Privilege, Task, Verdict, fingerprint
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.textarena.game import Game
from rl2f_hub.tasks.textarena.games import SUPPORTED, game_of
from rl2f_hub.tasks.textarena.match import Match, Shown, Unplayable, open_match
from rl2f_hub.verify.base import Environment
from rl2f_hub.verify.extract import without_question

__all__ = ["SUPPORTED", "TextArena", "tasks"]
MAX_MISSES = 300  # this many games in a row that cannot be won: the settings are at fault


def tasks(request: Request) -> Iterator[Task]:
    """Endless tasks of one environment, in index order, each of them winnable.

    Raises:
        UsageError: an environment that is not supported, a setting that it refuses, or settings under which no game
            can be won.
    """
    game_id, params = request.name, request.spec.config
    game = game_of(game_id, request.at)
    if request.spec.verifier not in (None, "environment"):
        raise UsageError(f"{request.at}.verifier: {request.spec.verifier!r} cannot judge a game; leave it out")
    game.check(params, request.at)
    key = fingerprint([game_id, params])[:8]
    name = re.sub(r"[^A-Za-z0-9]+", "_", game_id)
    misses = 0
    for index in range(1 << 40):
        won = _won_game(game_id, game, params, request.seed, index)
        if won is None:
            misses += 1
            request.report["unwinnable"] = request.report.get("unwinnable", 0) + 1
            if misses > MAX_MISSES:
                raise UsageError(
                    f"{request.at}.config: textarena:{game_id} was not won in {misses} games; ease {params}"
                )
            continue
        misses = 0
        match, line, number = won
        yield Task(
            task_id=f"ta-{name}-{key}-{request.seed}-{index}",
            source=f"textarena:{game_id}",
            domain=game.domain,
            prompt=_prompt(match, number),
            privilege=Privilege("solution", game.secret(match.env) if game.secret else "", "\n".join(line)),
            verifier="environment",
            config=json.dumps({"environment": game_id, "params": params, "index": index}, sort_keys=True),
            seed=request.seed,
            split=request.split,
        )


class TextArena(Environment):
    """A game of textarena as it stands after the moves so far."""

    def reset(self, task: Task) -> None:
        self._match, self._prompt = _match_of(task), task.prompt

    def step(self, attempt: str) -> Verdict:
        shown = self._match.answer(without_question(attempt, self._prompt))
        return Verdict(shown.won, shown.score, shown.move, _reason(shown), shown.text, shown.over)


def _reason(shown: Shown) -> str:
    if shown.won:
        return "the game is won"
    if shown.over:
        return "the game is over without success"
    if shown.move is None:
        return "no move could be read in the attempt"
    return "the game goes on" if shown.legal else "the move is not allowed"


def _match_of(task: Task) -> Match:
    try:
        settings: dict[str, Any] = task.settings
        game_id, params, index = settings["environment"], settings["params"], settings["index"]
        if not isinstance(game_id, str) or not isinstance(params, dict) or type(index) is not int:
            raise TypeError("of the wrong type")
        return open_match(game_id, game_of(game_id, "tasks"), params, task.seed, index)
    except (UsageError, Unplayable, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"task {task.task_id}: its config names no game that can be played: {error}") from None


def _won_game(
    game_id: str, game: Game, params: dict[str, Any], seed: int, index: int
) -> tuple[Match, list[str], int] | None:
    """A game at its start, a line that wins it, and its number; None if it cannot be won."""
    try:
        match = open_match(game_id, game, params, seed, index)
    except Unplayable:
        return None
    start = repr(match.state.game_state)
    line = game.line(match.copy())
    if not line:
        return None
    played, said = match.copy(), [match.opening, start]
    for move in line:
        if played.won or played.state.done:
            return None
        said.append(played.answer(move).text)
    if not played.won:
        return None
    digest = hashlib.sha256("\x1f".join([str(seed), game_id, *said]).encode()).digest()
    return match, line, int.from_bytes(digest[:8], "big") % 1_000_000


def _prompt(match: Match, number: int) -> str:
    parts = [match.opening]
    if match.game.gained is not None:
        parts.append(
            f"You succeed as soon as your trades have raised the value of your own resources by at least {match.target}."
        )
    parts.append(f"Give one move a message, in square brackets. (Game {number:06d})")
    return "\n\n".join(parts)
