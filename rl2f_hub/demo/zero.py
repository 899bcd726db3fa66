"""ZeroGPU: on that hardware of the Hub, a GPU is there only while a function decorated with `spaces.GPU` runs.

Such a function runs in a process of its own, so no cache is kept between calls: it gets ids and gives ids, as they are
drawn. Anywhere else, players stay as they are. The `spaces` package is the Space's own; nothing here installs it.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from rl2f_hub.demo.players import Player
from rl2f_hub.engines import Engine, Sampling

SECONDS = 60  # the longest that one attempt may hold a GPU


def on_zero_gpu(players: list[Player]) -> list[Player]:
    """The players, drawing through `spaces.GPU` where this is a ZeroGPU Space."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "true"):
        return players
    from importlib import import_module

    gpu = import_module("spaces").GPU(duration=SECONDS)
    return [replace(player, remote=gpu(drawing(player))) for player in players]


def drawing(player: Player) -> Callable[[list[int], int, int, Sampling], Iterator[int]]:
    """A function that draws an attempt: ids so far, seed, turn and sampling in, new ids out, one by one."""

    def draw(ids: list[int], seed: int, turn: int, sampling: Sampling) -> Iterator[int]:
        _to_gpu(player.student.engine)
        news: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                session = player.student.engine.open([seed], sampling, player.student.chat.stop_ids)
                with player.weights():
                    session.generate([0], [ids], turn, on_token=lambda row, token: news.put(token))
                news.put(None)
            except BaseException as error:
                news.put(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while (new := news.get()) is not None:
            if isinstance(new, BaseException):
                raise new
            yield new
        thread.join()

    return draw


def _to_gpu(engine: Engine) -> None:
    import torch

    if engine.model is not None and torch.cuda.is_available():
        engine.model.to("cuda")
