"""Engines turn ids into ids: a `Session` holds a batch of dialogues open across their turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl2f_hub.records import StopReason, Usage


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the student's next token is drawn. `temperature` 0 is greedy; `turn_tokens` bounds one attempt.

    `top_p` draws from the most probable tokens that have this share together.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    turn_tokens: int = 64


@dataclass(frozen=True, slots=True)
class Sampled:
    """One attempt as sampled: its ids (stop token included), their log-probabilities, and whether it stopped itself.

    An endpoint gives no log-probabilities, and `usage` says what it counted. `failure` is the end of a dialogue whose
    attempt could not be made; there are no ids then.
    """

    ids: list[int]
    logprobs: list[float]  # natural, as long as `ids`
    stopped: bool
    usage: Usage | None = None
    failure: StopReason | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the student wrote."""
        return len(self.ids) if self.usage is None else self.usage.completion_tokens


OnToken = Callable[[int, int], None]  # (row, id)


class Interrupted(Exception):
    """Raised by an `on_token` to stop sampling. It leaves the session closed, as every exception does."""


class TokenDrawn(NamedTuple):
    """An id (`token`) that the student sampled, stop ids included. `dialogue` is its row."""

    dialogue: int
    token: int


Stream = Generator[TokenDrawn, None, list[Sampled]]


class Session(ABC):
    """Dialogues that share a cache; rows are addressed by their index at opening. A subclass needs `stream` and `restart`."""

    @abstractmethod
    def stream(
        self, rows: list[int], new_ids: list[list[int]], turn: int | Sequence[int], tokens: bool = True
    ) -> Stream:
        """Feed each row its new ids, then sample one attempt for it; yields ids and returns the attempts.

        Rows may join at any call; a row that is left out after it has joined is closed, until it is restarted. A call that
        fails, or whose generator is closed before its end, closes the session for all its rows: open another one.

        Args:
            rows: each once, by index.
            new_ids: for each of `rows` what follows its ids so far; at least one id.
            turn: the number of the attempt, for all rows or one for each.
            tokens: yield every id as it is drawn (those of one row in order), or, where the engine gets whole attempts,
                afterwards; without, yield nothing.
        """

    @abstractmethod
    def restart(self, row: int) -> None:
        """Forget a row: at its next call it joins anew, with all its ids."""

    def generate(
        self,
        rows: list[int],
        new_ids: list[list[int]],
        turn: int | Sequence[int],
        on_token: OnToken | None = None,
    ) -> list[Sampled]:
        """`stream` to its end; `rows`, `new_ids` and `turn` as there.

        `on_token` is called with (row, id); what it raises (`Interrupted`) passes through.
        """
        with closing(self.stream(rows, new_ids, turn, tokens=on_token is not None)) as drawn:
            while True:
                try:
                    row, token = next(drawn)
                except StopIteration as end:
                    return end.value
                if on_token is not None:
                    on_token(row, token)


def tokens_of(rows: Sequence[int], attempts: Sequence[Sampled]) -> Iterator[TokenDrawn]:
    """The ids of whole attempts, row by row."""
    return (TokenDrawn(row, token) for row, attempt in zip(rows, attempts, strict=True) for token in attempt.ids)


class Engine(ABC):
    """Opens sessions. A subclass needs `context_length`, `cache_tokens` and `open`; all else has a default.

    `context_length` is the largest number of ids that a dialogue may reach, `cache_tokens` the largest number of
    positions that the cache of a session may have: what does not fit is fed again at every turn.
    """

    context_length: int
    cache_tokens: int
    most_rows: int | None = None  # dialogues at once, once memory was too short for more
    model: Any = None  # the torch module that generates, where its weights are in this process
    pad_id: int = 0  # any valid id, to fill rows up with
    is_remote: bool = False  # an endpoint: no ids, no log-probabilities, so nothing to train on
    takes_adapters: bool = False  # `sync` gives it another adapter while it runs

    @abstractmethod
    def open(self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0) -> Session:
        """A session of `len(seeds)` rows with `share` of `cache_tokens`, which must hold its longest dialogue.

        Attempts are drawn as `sampling` says and end with one of `stop_ids`.
        """

    @property
    def has_base(self) -> bool:
        """Whether `without_adapter` gives the base model's words."""
        return self.model is not None

    @property
    def generation_config(self) -> Any:
        """The model's own generation settings; None where it has none."""
        return None

    def without_adapter(self) -> AbstractContextManager[None]:
        """The base model's words within the block. Raises: UsageError where adapters cannot be switched off."""
        from rl2f_hub.engines.base_weights import base_alone

        return base_alone(self.model)

    def sync(self, folder: str | Path | None) -> None:
        """From now on generate with the adapter in `folder`, or with the base (None); where it `takes_adapters`."""
        raise NotImplementedError


_U64 = np.uint64


def uniforms(seeds: list[int], turn: int, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1), shape (len(seeds), count), that depend on (seed, turn, position) alone.

    SplitMix64 (Steele, Lea, Flood 2014) used as a hash: a dialogue draws the same numbers whatever batch it is in.
    """
    with np.errstate(over="ignore"):
        state = np.array([s & 0xFFFFFFFFFFFFFFFF for s in seeds], dtype=_U64)[:, None]
        state = _mix(state + _U64(0x9E3779B97F4A7C15) * _U64(turn + 1))
        position = np.arange(1, count + 1, dtype=_U64)[None, :]
        bits = _mix(state + _U64(0x9E3779B97F4A7C15) * position)
    return (bits >> _U64(11)).astype(np.float64) / float(1 << 53)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U64(27))) * _U64(0x94D049BB133111EB)
    return z ^ (z >> _U64(31))


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any values, stable across processes and Python versions."""
    from hashlib import blake2b

    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
