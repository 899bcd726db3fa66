"""ZeroGPU: on that hardware of the Hub, a GPU is there only while a function decorated with `spaces.GPU` runs.

Such a function runs in a process of its own, so no cache is kept between calls: it gets ids and gives ids, as they are
drawn. Anywhere else, players stay as they are. The `spaces` package is the Space's own; nothing here installs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rl2f_hub.demo.players import Player
from rl2f_hub.engines import Engine, Sampled, Sampling, Session, Stream, TokenDrawn

SECONDS = 60  # the longest that one attempt may hold a GPU

Draw = Callable[[list[int], int, int, Sampling], Iterator[int]]  # ids so far, seed, turn, sampling -> new ids


def on_zero_gpu(players: list[Player]) -> list[Player]:
    """The players, drawing through `spaces.GPU` where this is a ZeroGPU Space."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "true"):
        return players
    from importlib import import_module

    gpu = import_module("spaces").GPU(duration=SECONDS)
    return [
        replace(p, student=replace(p.student, engine=ZeroEngine(p.student.engine, gpu(drawing(p))))) for p in players
    ]


def drawing(player: Player) -> Draw:
    """A function that draws an attempt, id by id."""

    def draw(ids: list[int], seed: int, turn: int, sampling: Sampling) -> Iterator[int]:
        engine = player.student.engine
        _to_gpu(engine)
        session = engine.open([seed], sampling, player.student.chat.stop_ids)
        for _, token in session.stream([0], [ids], turn):
            yield token

    return draw


class ZeroEngine(Engine):
    """Draws through `draw`, one dialogue after the other."""

    def __init__(self, engine: Engine, draw: Draw) -> None:
        self.engine, self.draw = engine, draw
        self.context_length, self.cache_tokens = engine.context_length, engine.cache_tokens

    @property
    def generation_config(self) -> Any:
        return self.engine.generation_config

    def open(self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0) -> Session:
        return _ZeroSession(self.draw, seeds, sampling, stop_ids)


class _ZeroSession(Session):
    def __init__(self, draw: Draw, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        self.draw, self.seeds, self.sampling, self.stop_ids = draw, seeds, sampling, stop_ids
        self.history: dict[int, list[int]] = {}

    def restart(self, row: int) -> None:
        """See `engines.Session`."""
        self.history.pop(row, None)

    def stream(
        self, rows: list[int], new_ids: list[list[int]], turn: int | Sequence[int], tokens: bool = True
    ) -> Stream:
        """See `engines.Session`."""
        turns = [turn] * len(rows) if isinstance(turn, int) else turn
        out = []
        for row, new, number in zip(rows, new_ids, turns, strict=True):
            history = self.history.setdefault(row, [])
            history += new
            drawn: list[int] = []
            for token in self.draw(list(history), self.seeds[row], number, self.sampling):
                drawn.append(token)
                if tokens:
                    yield TokenDrawn(row, token)
            history += drawn
            out.append(Sampled(drawn, [], bool(drawn) and drawn[-1] in self.stop_ids))
        return out


def _to_gpu(engine: Engine) -> None:
    import torch

    if engine.model is not None and torch.cuda.is_available():
        engine.model.to("cuda")
