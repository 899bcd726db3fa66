r"""Finding the answer in what a model wrote.

Where it looks, the most explicit place first: the last \boxed{}, then what follows the last "answer is" (or "answer:",
"result ="), then the attempt itself. The last such place counts, because models restate, correct and conclude. Within
a place, the answer is the first candidate after "answer is" (what comes after it is chatter) and the last one anywhere
else. A place that only lists candidates ("7, 8 or 9") commits to none of them and gives no answer.

Every pattern runs in linear time: model text is hostile until shown otherwise.
"""

from __future__ import annotations

import re

_STATED = re.compile(
    r"(?:final answer|answer|result|solution)\W{0,3}?\s{0,3}(?:is|are|was|:|=)[\s:*]*([^\s:*].*)", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*")
_CLAUSE_END = re.compile(r"[.!?;](?:\s|$)|\n|, (?:so|because|since|as|which|but)\b", re.IGNORECASE)
_BRACE = re.compile(r"\\boxed\s{0,3}\{|[{}]")
_LISTING = re.compile(r"(?:[\s,;/|()\[\]{}`*$]|\b(?:or|and|either|both|maybe|perhaps)\b)*", re.IGNORECASE)
MAX_CHARS = 20_000  # text before the last 20,000 characters is not looked at: an attempt is not a book


def as_integer(text: str) -> int | None:
    """The integer that `text` is, as a whole (`1,234`, `+7`, `42.0` and surrounding `$` accepted), else None."""
    text = text.strip().strip("$").strip()
    if len(text) > 100 or not re.fullmatch(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.0+)?", text):
        return None
    return int(text.replace(",", "").split(".")[0])


def extract_integer(attempt: str) -> str | None:
    """The whole number that the attempt commits to, as the module says.

    None where there is no number, where the number is not whole (3.14 is neither 3 nor 14), and where several
    different ones are merely listed.
    """
    attempt = attempt.replace("\u2212", "-")
    for text, explicit in places(attempt):
        if is_listing(text, _NUMBER):
            return None
        found = _NUMBER.findall(text)
        if found:
            value = as_integer(found[0 if explicit else -1])
            return None if value is None else str(value)
    return None


def extract_text(attempt: str) -> str | None:
    """The last \\boxed{} content, else the rest of the line after the last "answer is", else the whole attempt."""
    attempt = attempt[-MAX_CHARS:]
    for text in (*_boxed(attempt)[-1:], *_stated(attempt)[-1:], attempt):
        if text.strip():
            return _unwrapped(text)
    return None


def places(attempt: str) -> list[tuple[str, bool]]:
    """Where an answer may stand, the most explicit first, with whether the text begins at the answer.

    In a stated place a calculation counts by its result: of `3 + 4 = 7 apples` what stands after the last `=`.
    """
    attempt = attempt[-MAX_CHARS:]
    out: list[tuple[str, bool]] = []
    out += [(text, False) for text in _boxed(attempt)[-1:]]
    for text in _stated(attempt)[-1:]:
        end = _CLAUSE_END.search(text)
        clause = text[: end.start()] if end else text
        out.append((clause.rsplit("=", 1)[-1], True))
    return [*out, (attempt, False)]


def is_listing(text: str, candidate: re.Pattern[str]) -> bool:
    """Whether the text is nothing but several different candidates with separators between them."""
    found = candidate.findall(text)
    if len(set(found)) < 2:
        return False
    return all(_LISTING.fullmatch(part) for part in candidate.split(text))


def without_question(attempt: str, question: str) -> str:
    """The attempt less any copy of the question: quoting the question answers nothing."""
    words = question.split()
    if len(words) < 4 or not len(" ".join(words)) <= len(attempt) <= MAX_CHARS:  # a shorter text holds no copy
        return attempt
    pattern = r"\s+".join(map(re.escape, words))
    return re.sub(pattern, " ", attempt)


def _boxed(text: str) -> list[str]:
    """Contents of every closed \\boxed{} in the order in which they open."""
    opened: list[int | None] = []
    found: dict[int, str] = {}
    for match in _BRACE.finditer(text):
        if match[0] != "}":
            opened.append(match.end() if len(match[0]) > 1 else None)
        elif opened:
            start = opened.pop()
            if start is not None:
                found[start] = text[start : match.start()]
    return [found[start] for start in sorted(found)]


def _stated(text: str) -> list[str]:
    return _STATED.findall(text)


def _unwrapped(text: str) -> str:
    """Without code marks, bold marks and, after a single word, the full stop (a sentence keeps its own)."""
    text = text.strip().strip("`*").strip()
    return text[:-1] if text.endswith(".") and text.count(" ") + text.count(".") == 1 else text
