"""The token ledger: how a conversation becomes ids, appended turn by turn and never re-tokenised.

`ChatFormat` takes a tokenizer's chat template apart once, into the fixed pieces around a turn, and checks that turns
can be appended without changing what came before. `Ledger` holds the ids of one dialogue with the span of every
role, so that loss masks come from spans and not from searching for special tokens.

Student spans are the sampled ids, stop token included; everything else is template or teacher. Text from outside
(task, attempt, feedback) is encoded with special tokens split into plain characters: what looks like a turn marker
inside a text stays text. Templates that rewrite or drop earlier turns are refused with a `TemplateError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from rl2f_hub.errors import RL2FError

Role = Literal["template", "prompt", "student", "teacher"]


class TemplateError(RL2FError):
    """The chat template cannot be appended to turn by turn."""


@dataclass(frozen=True, slots=True)
class Span:
    """Ids `start:end` of a ledger and who produced them; `turn` is 0 for the task, then 1-based."""

    role: Role
    start: int
    end: int
    turn: int


@dataclass(slots=True)
class Ledger:
    """The ids of one dialogue, append-only. The spans partition the ids in order."""

    ids: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)  # of the student's ids only, in order

    def append(self, role: Role, ids: list[int], turn: int) -> None:
        if ids:
            self.spans.append(Span(role, len(self.ids), len(self.ids) + len(ids), turn))
            self.ids.extend(ids)

    @property
    def prompt_length(self) -> int:
        """Number of ids before the first student token."""
        return next((s.start for s in self.spans if s.role == "student"), len(self.ids))

    def mask(self, role: Role, turn: int | None = None) -> list[int]:
        """1 where the id belongs to `role` (and to `turn` when given), else 0; length len(ids)."""
        out = [0] * len(self.ids)
        for span in self.spans:
            if span.role == role and turn in (None, span.turn):
                out[span.start : span.end] = [1] * (span.end - span.start)
        return out


class ChatFormat:
    """The pieces of a tokenizer's chat template, and the only writer of ledgers.

    Args:
        tokenizer: a `transformers` fast tokenizer with a chat template and an end-of-sequence token.
    Raises:
        TemplateError: no template, no stop token, or a template that changes earlier turns when one is added.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise TemplateError(
                f"tokenizer '{tokenizer.name_or_path}': no chat template; choose an instruct model or set one"
            )
        if tokenizer.eos_token_id is None:
            raise TemplateError(
                f"tokenizer '{tokenizer.name_or_path}': no eos token; set `eos_token` to the turn's end"
            )
        prompt, attempt, feedback = "Sentinel task one", "Sentinel attempt two", "Sentinel feedback three"
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": attempt}]
        text = self._render([*turns, {"role": "user", "content": feedback}])
        try:
            before, rest = text.split(prompt)
            opening, rest = rest.split(attempt)
            between, after = rest.split(feedback)
        except ValueError:
            raise self._not_append_only("a turn's text appears changed or more than once") from None
        if self._render(turns[:1]) != before + prompt + opening:
            raise self._not_append_only("the prompt is rendered differently once an attempt follows it")
        second = [*turns, {"role": "user", "content": feedback}, {"role": "assistant", "content": "Four"}]
        longer = self._render([*second, {"role": "user", "content": "Five"}])
        if longer != text + "Four" + between + "Five" + after:
            raise self._not_append_only("a third turn changes the second")
        if after.lstrip() != opening.lstrip() and not after.endswith(opening.strip()):
            raise self._not_append_only("first and later attempts open differently")
        self.eos_id: int = tokenizer.eos_token_id
        self._before, self._opening = self._structure(before), self._structure(opening)
        self._between, self._after = self._structure(between), self._structure(after)
        self._closing = self._structure(between.split(tokenizer.eos_token)[0] + tokenizer.eos_token)
        if self.eos_id not in self._between:
            raise self._not_append_only(f"the turn's end is not the eos token {tokenizer.eos_token!r}")
        # A student that samples any structural token ends its attempt there: it can never open another role's turn.
        self.stop_ids: frozenset[int] = frozenset(tokenizer.all_special_ids)

    def _render(self, messages: list[dict[str, str]]) -> str:
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _structure(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _not_append_only(self, why: str) -> TemplateError:
        name = self.tokenizer.name_or_path
        return TemplateError(
            f"chat template of '{name}' is not append-only: {why}; use a template that keeps earlier turns"
        )

    def encode(self, text: str) -> list[int]:
        """Ids of outside text, special tokens taken as characters."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def decode(self, ids: list[int]) -> str:
        """Text of an attempt: its stop token and any other special token dropped."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def open(self, prompt: str) -> Ledger:
        """A new ledger that asks `prompt` and waits for the student."""
        return self.open_ids(self.encode(prompt))

    def open_ids(self, prompt_ids: list[int]) -> Ledger:
        """`open` for a prompt that is encoded already."""
        ledger = Ledger()
        ledger.append("template", self._before, 0)
        ledger.append("prompt", prompt_ids, 0)
        ledger.append("template", self._opening, 1)
        return ledger

    def attempt(self, ledger: Ledger, ids: list[int], logprobs: list[float], turn: int) -> None:
        """Append the student's sampled ids as they are."""
        ledger.append("student", ids, turn)
        ledger.logprobs.extend(logprobs)

    def feedback(self, ledger: Ledger, text: str, turn: int, closing: bool = False) -> None:
        """Append the teacher's words after attempt `turn`, and, unless `closing`, the opening of the next attempt.

        The teacher's span holds its words and the token that ends them.
        """
        self.feedback_ids(ledger, self.encode(text), turn, closing)

    def feedback_ids(self, ledger: Ledger, text_ids: list[int], turn: int, closing: bool = False) -> None:
        """`feedback` for words that are encoded already."""
        between = self._between
        if ledger.ids and ledger.ids[-1] == self.eos_id:  # the student ended its own turn: do not end it twice
            between = between[between.index(self.eos_id) + 1 :]
        ledger.append("template", between, turn)
        ledger.append("teacher", [*text_ids, *self._closing], turn)
        if not closing:
            ledger.append("template", self._after[len(self._closing) :], turn + 1)
