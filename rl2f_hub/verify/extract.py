"""Pieces of an attempt that need no reading: its code, and what it says of its own beside the question."""

from __future__ import annotations

import re

from rl2f_hub.verify.answer import MAX_CHARS


def without_question(attempt: str, question: str) -> str:
    """The attempt less any copy of the question: quoting the question answers nothing."""
    words = question.split()
    if len(words) < 4 or not len(" ".join(words)) <= len(attempt) <= MAX_CHARS:  # a shorter text holds no copy
        return attempt
    pattern = r"\s+".join(map(re.escape, words))
    return re.sub(pattern, " ", attempt)
