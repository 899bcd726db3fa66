"""The token ledger: the ids of one dialogue with the span of every role, so that loss masks come from spans and not from
searching for special tokens. `chat.ChatFormat` writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["template", "prompt", "student", "teacher"]


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

    def of(self, role: Role, turn: int) -> list[int]:
        """The ids of a role in a turn."""
        return [i for s in self.spans if s.role == role and s.turn == turn for i in self.ids[s.start : s.end]]

    @property
    def turns(self) -> list[int]:
        """The turns that an attempt or feedback of is in the ledger, in order."""
        return sorted({s.turn for s in self.spans if s.role in ("student", "teacher")})

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
