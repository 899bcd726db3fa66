"""The chat format of a student behind an endpoint: what `engines/endpoint.py` reads, one id per character."""

from __future__ import annotations

from rl2f_hub.dialogue.chat_format import THINKING_MARKS, ChatFormat, Thinking
from rl2f_hub.engines.endpoint import ASSISTANT, END, USER


class TextChat(ChatFormat):
    """A chat format without a tokenizer: one id a character."""

    def __init__(self, thinking: Thinking | None = None) -> None:
        self.thinking = thinking or "keep"
        self.trims = self.drops_thinking = self._thinks_from_start = False
        self._marks = THINKING_MARKS[0]
        self._before, self._opening, self._between = [USER], [END, ASSISTANT], [END, USER]
        self._past = self._opening
        self._closing = [END]
        self.eos_id, self.stop_ids = END, frozenset((END, USER, ASSISTANT))

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def _read(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))
