"""What an attempt is made from when a conversation gets long or thinks aloud: the rules, and dialogues that fork.

By rule the context of an attempt is everything before it, in one growing ledger. Two rules break with that: `thinking:
strip` (see `dialogue/chat_format.py`) and `history: drop_oldest`. Both retell the conversation in a new ledger, a fork, which the
engine reads from its start; the ledger that a rollout keeps is the last one. The ids of earlier attempts are then not
trained on what they were sampled from, so neither rule is for training; generation and evaluation may use both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.engines import Engine, Sampling, Stream

History = Literal["stop", "drop_oldest"]
OnCut = Literal["go_on", "stop"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How a dialogue goes on where it meets a limit.

    Attributes:
        history: what happens when the next turn does not fit into the context window. `stop`: the dialogue ends with
            `context_full`. `drop_oldest`: the oldest attempts leave with their feedback; the question and the latest
            attempt with its feedback stay, and the dialogue ends only when these do not fit.
        on_cut: what happens when an attempt reaches `turn_tokens` without its stop token and is wrong. `go_on`: the
            teacher answers it as any other. `stop`: the dialogue ends with `token_limit`.
    """

    history: History = "stop"
    on_cut: OnCut = "go_on"


RULES = Rules()


class Context:
    """Dialogues before an engine; rows are addressed by their index at opening and may join at any turn.

    A row whose ledger is another object than at its last turn has been retold: the engine reads it from its start,
    and the other rows go on undisturbed.

    Args:
        share: the share of the engine's cache that these dialogues may take.
    """

    def __init__(
        self,
        engine: Engine,
        chat: ChatFormat,
        seeds: list[int],
        sampling: Sampling,
        rules: Rules,
        share: float = 1.0,
    ) -> None:
        self.engine, self.chat, self.sampling, self.rules = engine, chat, sampling, rules
        self._session = engine.open(seeds, sampling, chat.stop_ids, share)
        self._ledgers: dict[int, Ledger] = {}
        self._fed: dict[int, int] = {}  # how many ids of its ledger the engine has seen or sampled, by row

    def before_turn(self, ledger: Ledger) -> Ledger | None:
        """The ledger that the next attempt is to be made from: the same one, or a fork; None where none has room."""
        return self._fitted(ledger, self.engine.context_length - self.sampling.turn_tokens)

    def append_feedback(self, ledger: Ledger, text: str, turn: int, closing: bool) -> Ledger | None:
        """The ledger with feedback at its end: the same one, or a fork; None where the feedback does not fit.

        In that case the ledger is as it was.
        """
        ids, spans = len(ledger.ids), len(ledger.spans)
        self.chat.append_feedback(ledger, text, turn, closing=closing)
        out = ledger
        if (
            self.chat.thinking == "strip"
            and not closing
            and (bare := self.chat.rebuild_ledger(ledger)).ids != ledger.ids
        ):
            out = bare
        fitted = self._fitted(out, self.engine.context_length)
        if fitted is None:
            del ledger.ids[ids:], ledger.spans[spans:]
        return fitted

    def stream(self, rows: list[int], ledgers: Sequence[Ledger], turns: Sequence[int], tokens: bool) -> Stream:
        """Sample attempt number `turns` for each row, from its ledger, and append it there; returns the attempts.

        A row that is left out is read from its start when it comes back. See `engines.Session` for `tokens`.
        """
        for row, ledger in zip(rows, ledgers, strict=True):
            if self._ledgers.get(row) is not ledger:
                if row in self._fed:
                    self._session.restart(row)
                self._fed[row] = 0
        self._ledgers = dict(zip(rows, ledgers, strict=True))
        new_ids = [self._ledgers[row].ids[self._fed[row] :] for row in rows]
        if tokens:
            sampled = yield from self._session.stream(rows, new_ids, turns)
        else:
            sampled = self._session.generate(rows, new_ids, turns)
        for row, attempt, turn in zip(rows, sampled, turns, strict=True):
            self.chat.append_attempt(
                self._ledgers[row], attempt.ids, attempt.logprobs, turn
            )  # nothing, where it failed
            self._fed[row] = len(self._ledgers[row].ids)
        return sampled

    def _fitted(self, ledger: Ledger, room: int) -> Ledger | None:
        """The ledger if it has at most `room` ids, else what `rules.history` makes of it."""
        if len(ledger.ids) <= room:
            return ledger
        if self.rules.history == "drop_oldest":
            for first in ledger.turns[1:]:
                shorter = self.chat.rebuild_ledger(ledger, first)
                if len(shorter.ids) <= room:
                    return shorter
        return None
