"""Pieces of an attempt that need no reading: its code, and what it says of its own beside the question."""

from __future__ import annotations

import re

from rl2f_hub.verify.answer import MAX_CHARS

_FENCE = re.compile(r"```[ \t]*([\w+-]*)[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)


def extract_code(attempt: str, names: tuple[str, ...] = ()) -> str:
    """The last fenced block that defines one of `names`, else the last fenced block, else the whole attempt."""
    blocks = [body for language, body in _FENCE.findall(attempt) if language.lower() in ("", "py", "python", "python3")]
    if not blocks:
        return attempt
    for body in reversed(blocks):
        if any(
            re.search(rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+{re.escape(n)}\b", body, re.MULTILINE) for n in names
        ):
            return body
    return blocks[-1]


def without_question(attempt: str, question: str) -> str:
    """The attempt less any copy of the question: quoting the question answers nothing."""
    words = question.split()
    if len(words) < 4 or not len(" ".join(words)) <= len(attempt) <= MAX_CHARS:  # a shorter text holds no copy
        return attempt
    pattern = r"\s+".join(map(re.escape, words))
    return re.sub(pattern, " ", attempt)
