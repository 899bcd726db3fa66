"""Who plays: students under a label, and how many of them share one machine fairly.

Base and RL2F are one loaded model with its adapter off and on. A model can serve one dialogue at a time, so players take
turns token by token (`Turns`): base and RL2F stream side by side, and two visitors do not wait for each other's whole
attempts. Ids only ever grow in a rollout's ledger; the key-value cache of a dialogue is kept beside the model and
made again from the ledger's ids when it is gone.

Left out: batching different visitors' attempts into one forward pass.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from rl2f_hub.dialogue.runner import Rollout, Student
from rl2f_hub.engines import Sampled, Sampling, Session

KEPT_SESSIONS = 32  # dialogues whose cache stays in memory, a player
PROBE_S = 5.0  # the longest wait for a first answer of the Hub
SLICE_S = 0.03  # the shortest turn: switching an adapter costs about a token of a small model

Token = Callable[[int], None]  # is told each token as it is drawn; what it raises ends the attempt
Weights = Callable[[], AbstractContextManager[Any]]


class Turns:
    """Whose turn it is at a model: first come, first served, and a turn is handed on between tokens."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()  # the one that stands first has the model

    @contextmanager
    def turn(self, weights: Weights) -> Iterator[Callable[[], None]]:
        """Wait for the model, with `weights` in place. Yields a function to call between tokens: it lets others in."""
        self._wait()
        since = time.monotonic()
        held = ExitStack()
        held.enter_context(weights())

        def hand_on() -> None:
            nonlocal held, since
            if len(self._waiting) > 1 and time.monotonic() - since >= SLICE_S:
                held.close()
                self._leave()
                self._wait()
                held, since = ExitStack(), time.monotonic()
                held.enter_context(weights())

        try:
            yield hand_on
        finally:
            held.close()
            self._leave()

    def _wait(self) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket)

    def _leave(self) -> None:
        with self._changed:
            self._waiting.popleft()
            self._changed.notify_all()


@dataclass(slots=True)
class _Open:
    session: Session
    sampling: Sampling
    fed: list[int]  # the ids that the session has seen or sampled


@dataclass(slots=True)
class Player:
    """A student that visitors can talk to. `weights` is entered while it generates: it puts its weights in place.

    `remote`, where given, draws in the engine's stead (see `zero.py`): ids, seed, turn, sampling -> ids as drawn.
    """

    label: str
    about: str
    student: Student
    turns: Turns = field(default_factory=Turns)
    weights: Weights = nullcontext
    remote: Callable[[list[int], int, int, Sampling], Iterator[int]] | None = None
    _open: OrderedDict[int, _Open] = field(default_factory=OrderedDict, repr=False)

    def fits(self, rollout: Rollout, tokens: int) -> bool:
        """Whether that many more tokens fit into the context window."""
        return len(rollout.ledger.ids) + tokens <= self.student.engine.context_length

    def attempt(self, rollout: Rollout, sampling: Sampling, on_token: Token | None = None) -> str:
        """Sample the next attempt onto the rollout's ledger; a call that fails leaves the ledger as it was."""
        chat, ledger, turn = self.student.chat, rollout.ledger, len(rollout.turns) + 1
        if self.remote is not None:
            sampled = self._drawn_elsewhere(ledger.ids, rollout.seed, turn, sampling, on_token)
        else:
            kept = self._open.pop(rollout.seed, None)  # back only after success: a failed call leaves no half-fed cache
            if kept is None or kept.sampling != sampling or ledger.ids[: len(kept.fed)] != kept.fed:
                kept = _Open(self.student.engine.open([rollout.seed], sampling, chat.stop_ids), sampling, [])
            sampled = self._drawn(kept.session, ledger.ids[len(kept.fed) :], turn, on_token)
            kept.fed = [*ledger.ids, *sampled.ids]
            self._open[rollout.seed] = kept
            while len(self._open) > KEPT_SESSIONS:
                self._open.popitem(last=False)
        chat.attempt(ledger, sampled.ids, sampled.logprobs, turn)
        return chat.decode(sampled.ids)

    def critique(self, rollout: Rollout, sampling: Sampling, on_token: Token | None = None) -> str:
        """What the student itself would say in the teacher's place about its last attempt; the ledger stays as it is."""
        chat = self.student.chat
        ids = [*rollout.ledger.ids, *chat.before_feedback(rollout.ledger)]
        return chat.decode(self.say(ids, rollout.seed, len(rollout.turns), sampling, on_token).ids).strip()

    def say(self, ids: list[int], seed: int, turn: int, sampling: Sampling, on_token: Token | None = None) -> Sampled:
        """What comes after these ids; nothing of it is kept."""
        if self.remote is not None:
            return self._drawn_elsewhere(ids, seed, turn, sampling, on_token)
        session = self.student.engine.open([seed], sampling, self.student.chat.stop_ids)
        return self._drawn(session, ids, turn, on_token)

    def _drawn(self, session: Session, ids: list[int], turn: int, on_token: Token | None) -> Sampled:
        with self.turns.turn(self.weights) as hand_on:

            def drawn(row: int, token: int) -> None:
                if on_token is not None:
                    on_token(token)
                hand_on()

            return session.generate([0], [ids], turn, on_token=drawn)[0]

    def _drawn_elsewhere(
        self, ids: list[int], seed: int, turn: int, sampling: Sampling, on_token: Token | None
    ) -> Sampled:
        assert self.remote is not None
        out: list[int] = []
        for token in self.remote(list(ids), seed, turn, sampling):
            out.append(token)
            if on_token is not None:
                on_token(token)
        return Sampled(out, [], bool(out) and out[-1] in self.student.chat.stop_ids)


def players_of(model: Any, tokenizer: Any, is_adapter: bool) -> list[Player]:
    """Base and RL2F from one adapter on its base, or the one student that a full model is."""
    from rl2f_hub.dialogue.chat_format import ChatFormat
    from rl2f_hub.engines.transformers import TransformersEngine

    # Others use the model between two tokens, with the adapter as they need it: a call must not keep it changed.
    engine = TransformersEngine(model, tokenizer.pad_token_id, fold=False)
    student = Student(engine, ChatFormat(tokenizer, thinking="keep"), "RL2F" if is_adapter else "Student")
    if not is_adapter:
        return [Player("Student", "one model, no adapter", student)]
    turns = Turns()
    base = Player("Base", "the same weights, adapter off", replace(student, name="Base"), turns, model.disable_adapter)
    return [base, Player("RL2F", "adapter on: trained to use feedback", student, turns)]


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
        if player.remote is None:
            chat = player.student.chat
            session = player.student.engine.open([0], Sampling(0.0, turn_tokens=2), chat.stop_ids)
            player._drawn(session, list(chat.open("1 + 1").ids), 1, None)
