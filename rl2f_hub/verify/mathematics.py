"""Verifier `math`: equivalence of mathematical answers by math-verify (LaTeX, fractions, sets, intervals, equations).

Runs in the time-limited child (`child.py`), because symbolic equivalence can take for ever. Where the answer stands is
decided by `extract.py` first; math-verify then reads that place only.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.extract import is_listing, places
from rl2f_hub.verify.magnitude import is_too_large

MAX_ANSWER = 2_000  # characters of an answer that symbolic algebra is asked about
_CANDIDATE = re.compile(r"[+-]?\d+(?:[.,/]\d+)*")
_QUANTITY = re.compile(r"\\?\$?([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?:\s+[A-Za-z][A-Za-z .]*)?\.?$")
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{4,}(?![A-Za-z}])")  # a word of prose; LaTeX commands and \text{} are none
_DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed")


def mathematics(task: Task, attempt: str) -> Verdict:
    """Right when the place in which the answer stands is mathematically equal to the reference."""
    gold = _parsed(task.privilege.reference)
    words = _words(task.privilege.reference)
    for place, explicit in places(attempt):
        if is_listing(place, _CANDIDATE) and not _is_collection(task.privilege.reference):
            return Verdict(False, 0.0, None, "several candidates are listed, none of them chosen")
        if words is not None and _words(place) == words:
            return Verdict(True, 1.0, place.strip(), "the same words as the reference")
        found = _parse(place[-MAX_ANSWER:] if not explicit else place[:MAX_ANSWER])
        if found:
            from math_verify import verify as equal

            correct = bool(equal(list(gold), found, timeout_seconds=None))
            answer = next((str(x) for x in reversed(found) if isinstance(x, str)), str(found[0]))
            reason = "mathematically equal to the reference" if correct else "not equal to the reference"
            return Verdict(correct, float(correct), answer, reason)
    return Verdict(False, 0.0, None, "no mathematical answer in the attempt")


def check_mathematics(task: Task) -> None:
    """Raises ValueError when math-verify cannot read the reference."""
    if all(isinstance(x, str) for x in _parsed(task.privilege.reference)) and _words(task.privilege.reference) is None:
        raise ValueError(f"reference {task.privilege.reference[:60]!r} is no mathematical answer that can be read")


def _words(text: str) -> str | None:
    """The answer in lower case where it is words only, such as `\\text{even}` or `Monday`; else None."""
    bare = re.sub(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", r"\1", text).strip(" $*`.\n")
    return " ".join(bare.split()).casefold() if re.fullmatch(r"[A-Za-z][A-Za-z '-]+", bare) else None


def _is_collection(reference: str) -> bool:
    """References such as `1, 2, 3` or `(1, 2)`: a listing is what is asked for."""
    return "," in re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", reference) or r"\text{ and }" in reference


@lru_cache(maxsize=4096)
def _parsed(reference: str) -> tuple[Any, ...]:
    """The reference read as LaTeX: bare (MATH), delimited, or the number after GSM8K's `####`."""
    reference = reference.rsplit("####", 1)[-1].strip()
    return tuple(_parse(reference))


def _parse(text: str) -> list[Any]:
    """What math-verify reads in the text: as it stands where it is prose or has delimiters, else as one LaTeX formula."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    settings = (LatexExtractionConfig(), ExprExtractionConfig())
    if is_too_large(text):
        return []
    text = text.strip().strip("*`").strip()
    quantity = _QUANTITY.match(text)
    if quantity:  # "10 dollars", "$1,234.": the number is the answer, the unit is not part of it
        tries = [quantity[1].replace(",", "")]
    elif _DELIMITED.search(text) or _WORD.search(text):
        tries = [text]
    else:
        tries = [f"${text}$", text]
    for attempt in tries:
        found = parse(attempt, extraction_config=settings, parsing_timeout=None)
        if found:
            return found
    return []
