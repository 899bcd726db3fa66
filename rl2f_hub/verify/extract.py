"""Finding the answer in what a model wrote. The last candidate counts: models restate, correct and conclude."""

from __future__ import annotations

import re

_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_STATED = re.compile(r"(?:final answer|answer|result)\s*(?:is|:|=)[\s:]*([^\s:].*)", re.IGNORECASE)  # linear time
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*")
MAX_CHARS = 20_000  # text beyond this is not looked at: an attempt is not a book


def as_integer(text: str) -> int | None:
    """The integer that `text` is, as a whole (`1,234`, `+7`, `42.0` and surrounding `$` accepted), else None."""
    text = text.strip().strip("$").strip()
    if len(text) > 100 or not re.fullmatch(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.0+)?", text):
        return None
    return int(text.replace(",", "").split(".")[0])


def extract_integer(attempt: str) -> str | None:
    """The last number of the attempt, in its last \\boxed{}, else after its last "answer is", else anywhere.

    None where there is no number, and where the last one is not whole: 3.14 is neither 3 nor 14.
    """
    for region in _regions(attempt.replace("\u2212", "-")):
        found = _NUMBER.findall(region)
        if found:
            value = as_integer(found[-1])
            return None if value is None else str(value)
    return None


def extract_text(attempt: str) -> str | None:
    """The last \\boxed{} content, else the rest of the line after "answer is", else the whole attempt."""
    for region in _regions(attempt):
        if region.strip():
            return region.strip().strip("`").strip()
    return None


def _regions(attempt: str) -> list[str]:
    """Where an answer may stand, the most explicit place first."""
    attempt = attempt[-MAX_CHARS:]
    boxed = _BOXED.findall(attempt)
    stated = _STATED.findall(attempt)
    return ([boxed[-1]] if boxed else []) + ([stated[-1].rstrip(".")] if stated else []) + [attempt]
