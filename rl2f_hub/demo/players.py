"""Who plays: students under a label, and how many of them share one machine fairly.

Base and RL2F are one loaded model with its adapter off and on. A model can serve one dialogue at a time, so players take
turns token by token (`SharedEngine`): base and RL2F stream side by side, and two visitors do not wait for each other's
whole attempts. Ids only ever grow in a rollout's ledger; the key-value cache of a dialogue is kept beside the model and
made again from the ledger's ids when it is gone.

Left out: batching different visitors' attempts into one forward pass.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from rl2f_hub.dialogue.runner import Student
from rl2f_hub.engines import Engine, Sampled, Sampling, Session, Stream, TokenDrawn

KEPT_SESSIONS = 32  # dialogues whose cache stays in memory, per player
PROBE_S = 5.0  # the longest wait for a first answer of the Hub
SLICE_S = 0.03  # how long a turn lasts: switching an adapter costs about a token of a small model

Weights = Callable[[], AbstractContextManager[Any]]


class Turns:
    """Whose turn it is at a model: first come, first served."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()  # the one that stands first has the model

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the model, and have it within the block."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket)
        try:
            yield
        finally:
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()


class SharedEngine(Engine):
    """An engine whose model others use between two tokens.

    The model is held, with `weights` in place, for `SLICE_S` at a time, and never while a reader looks at an id. Sessions
    of the last dialogues stay open: one that is opened for a single dialogue goes on where an earlier one left off.
    """

    def __init__(self, engine: Engine, turns: Turns, weights: Weights = nullcontext) -> None:
        self.engine, self.turns, self.weights = engine, turns, weights
        self.model, self.pad_id = engine.model, engine.pad_id
        self.context_length, self.cache_tokens = engine.context_length, engine.cache_tokens
        # by dialogue: its session, and the ids that it has read or sampled
        self.kept: OrderedDict[tuple[int, Sampling], tuple[Session, list[int]]] = OrderedDict()

    @property
    def generation_config(self) -> Any:
        return self.engine.generation_config

    def open(self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0) -> Session:
        return _SharedSession(self, seeds, sampling, lambda: self.engine.open(seeds, sampling, stop_ids, share))


class _SharedSession(Session):
    def __init__(self, engine: SharedEngine, seeds: list[int], sampling: Sampling, new: Callable[[], Session]) -> None:
        self.engine, self.key, self.new = engine, (seeds[0], sampling), new
        self.single = len(seeds) == 1
        self.session: Session | None = None
        self.fed: list[int] = []  # of a single dialogue

    def restart(self, row: int) -> None:
        """See `engines.Session`."""
        self.fed = []
        if self.session is not None:
            self.session.restart(row)

    def stream(
        self, rows: list[int], new_ids: list[list[int]], turn: int | Sequence[int], tokens: bool = True
    ) -> Stream:
        """See `engines.Session`."""
        # Back only after success: a call that failed leaves no half-fed cache.
        session, fed = self.engine.kept.pop(self.key, (None, [])) if self.single else (None, [])
        if self.session is None and session is not None and new_ids[0][: len(fed)] == fed:
            self.session, self.fed, new_ids = session, fed, [new_ids[0][len(fed) :]]
        self.session = self.session or self.new()
        sampled: list[Sampled] | None = None
        with closing(self.session.stream(rows, new_ids, turn)) as drawn:
            slice_s = 0.0  # the first id is told at once
            while sampled is None:
                fresh: list[TokenDrawn] = []
                with self.engine.turns.turn(), self.engine.weights():
                    since = time.monotonic()
                    while not fresh or time.monotonic() - since < slice_s:
                        try:
                            fresh.append(next(drawn))
                        except StopIteration as end:
                            sampled = end.value
                            break
                slice_s = SLICE_S
                if tokens:
                    yield from fresh
        if self.single:
            self.fed = [*self.fed, *new_ids[0], *sampled[0].ids]
            self.engine.kept[self.key] = self.session, self.fed
            while len(self.engine.kept) > KEPT_SESSIONS:
                self.engine.kept.popitem(last=False)
        return sampled


@dataclass(slots=True)
class Player:
    """A student that visitors can talk to."""

    label: str
    about: str
    student: Student


def players_of(model: Any, tokenizer: Any, is_adapter: bool) -> list[Player]:
    """Base and RL2F from one adapter on its base, or the one student that a full model is."""
    from rl2f_hub.dialogue.chat_format import ChatFormat
    from rl2f_hub.engines.transformers import TransformersEngine

    # Others use the model between two tokens, with the adapter as they need it: a call must not keep it changed.
    engine, turns = TransformersEngine(model, tokenizer.pad_token_id, fold=False), Turns()
    chat = ChatFormat(tokenizer, thinking="keep")

    def player(label: str, about: str, weights: Weights = nullcontext) -> Player:
        return Player(label, about, Student(SharedEngine(engine, turns, weights), chat, label))

    if not is_adapter:
        return [player("Student", "one model, no adapter")]
    return [
        player("Base", "the same weights, adapter off", model.disable_adapter),
        player("RL2F", "adapter on: trained to use feedback"),
    ]


@contextmanager
def cache_alone_if_the_hub_is_silent(model_id: str) -> Iterator[None]:
    """While it lasts, a Hub that does not answer within seconds is not asked: its client would try for minutes.

    What the cache holds is loaded from there; the rest fails at once.
    """
    from pathlib import Path

    from huggingface_hub import constants, get_session

    before = constants.HF_HUB_OFFLINE
    try:
        if not before and not Path(model_id).is_dir():
            try:
                get_session().head(constants.ENDPOINT, timeout=PROBE_S)
            except Exception:  # of httpx or httpx2, as the client's version has it: no answer, whatever the reason
                constants.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def tiny_players() -> list[Player]:
    """The student that comes with the package: the quickstart's base and adapter, at half the precision.

    It answers in milliseconds on any CPU and needs no Hub; three-digit whole numbers are all that it knows.
    """
    from pathlib import Path

    from peft import PeftModel

    from rl2f_hub.students.load import Origin, load_model, load_tokenizer

    folder = Path(__file__).parent / "tiny"
    base = Origin(str(folder / "base"))
    model = PeftModel.from_pretrained(load_model(base), str(folder / "adapter")).eval()
    return players_of(model, load_tokenizer(base), True)


def warm(players: Sequence[Player]) -> None:
    """Let everyone say a word, so that the first visitor does not wait for what is loaded at the first use."""
    for player in players:
        chat = player.student.chat
        session = player.student.engine.open([0], Sampling(0.0, turn_tokens=2), chat.stop_ids)
        session.generate([0], [chat.new_ledger("1 + 1").ids], 1)
