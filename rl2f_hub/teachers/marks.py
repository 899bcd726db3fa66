"""What is wrong with an answer, found by comparing it with the reference: pure functions, one for each shape of answer.

Each returns a `Finding`: the same fault told in three strengths. `direction` only says which way or what kind, `place`
the first wrong place, `full` everything that can be said by quoting the student alone. Never anything of the reference.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rl2f_hub.records import Verdict

PLACES = ("units", "tens", "hundreds", "thousands", "ten-thousands", "hundred-thousands", "millions")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:\s*/\s*\d+)?%?")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault, without its first word ("Wrong: ") and its full stop; of kind `format` whole sentences instead."""

    kind: str
    direction: str
    place: str
    full: str

    def at(self, strength: str) -> str:
        return {"direction": self.direction, "place": self.place, "full": self.full}[strength]


def same(kind: str, text: str) -> Finding:
    """A fault that cannot be told more or less strongly."""
    return Finding(kind, text, text, text)


def mark_integer(given: int, wanted: int) -> Finding:
    """Digit-wise marks, or a word about sign, length or size when there are no digits to mark one by one."""
    if given == wanted:
        return same("format", "The number is right, but it is not written as asked.")
    low = "too low" if given < wanted else "too high"
    if (given < 0) != (wanted < 0):
        return same("sign", "the sign")
    ours, theirs = str(abs(given)), str(abs(wanted))
    if len(ours) != len(theirs):
        text = f"too {'few' if abs(given) < abs(wanted) else 'many'} digits"
        return Finding("length", low, text, text)
    if len(ours) > len(PLACES):
        return same("size", low)
    marks = []
    for place, a, b in zip(reversed(PLACES[: len(ours)]), ours, theirs, strict=True):
        marks.append((f"{place} {a}", "right" if a == b else "too low" if a < b else "too high"))
    first = next(f"{digit} {mark}" for digit, mark in marks if mark != "right")
    return Finding("digits", low, first, ", ".join(f"{digit} {mark}" for digit, mark in marks))


def as_number(text: str) -> Fraction | None:
    """The exact value of a decimal, fraction or percentage (`1,234.5`, `-3/4`, `\\frac{1}{2}`, `50 %`), else None."""
    text = re.sub(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text.strip().strip("$").strip())
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).replace("\\%", "%").replace(" ", "")
    if len(text) > 60 or not _NUMBER.fullmatch(text):
        return None
    try:
        value = Fraction(text.rstrip("%"))
    except (ValueError, ZeroDivisionError):
        return None
    return value / 100 if text.endswith("%") else value


def mark_number(given: Fraction, wanted: Fraction) -> Finding:
    """Direction, and how many leading places are right already."""
    if given == wanted:
        return same("format", "The value is right, but it is not written as asked.")
    low = "too low" if given < wanted else "too high"
    if given * wanted < 0:
        return same("sign", "the sign")
    if int(given) != int(wanted):
        factor = abs(given / wanted) if wanted else None
        far = " by more than half" if factor is not None and not Fraction(1, 2) <= factor <= 2 else ""
        return Finding("size", low, f"{low}, already before the decimal point", f"{low}{far}, before the decimal point")
    place = next(n for n in range(1, 40) if int(given * 10**n) != int(wanted * 10**n) or n == 39)
    return Finding("size", low, f"decimal place {place}", f"{low}, first at decimal place {place}")


def as_items(text: str) -> list[str] | None:
    """The items of a list (JSON, Python, comma-separated or at least three words); None for anything else."""
    text = text.strip()
    if text[:1] in "[(" and text[-1:] in "])":
        for read in (json.loads, ast.literal_eval):
            try:
                value: Any = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return [str(x) for x in value] if isinstance(value, list | tuple) else None
    if "\n" in text or text.count(",") < 1:
        return None
    parts = [part.strip() for part in text.strip("[]()").split(",")]
    return parts if all(parts) and max(map(len, parts)) < 40 else None


def mark_items(given: Sequence[str], wanted: Sequence[str]) -> Finding:
    """The first wrong item of a list, its length, or only its order."""
    ours, theirs = [x.strip("'\" ").casefold() for x in given], [x.strip("'\" ").casefold() for x in wanted]
    if ours == theirs:
        return same("format", "The items are right, but the list is not written as asked.")
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if sorted(ours) == sorted(theirs):
        return Finding(
            "order",
            "the order",
            f"the order, first at item {first + 1 if first is not None else 1}",
            _items(ours, theirs),
        )
    if len(ours) != len(theirs):
        many = f"too {'few' if len(ours) < len(theirs) else 'many'} items"
        missing, extra = len(set(theirs) - set(ours)), len(set(ours) - set(theirs))
        return Finding(
            "length", "the number of items", many, f"{many}; {missing} missing, {extra} that do not belong there"
        )
    return Finding("position", "one or more items", f"item {(first or 0) + 1}", _items(ours, theirs))


def _items(ours: Sequence[str], theirs: Sequence[str]) -> str:
    wrong = [str(i + 1) for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    return f"item{'s' if len(wrong) > 1 else ''} {', '.join(wrong[:8])}{' and more' if len(wrong) > 8 else ''} of {len(ours)}"


def as_grid(text: str) -> list[list[str]] | None:
    """Rows of cells, for texts of at least two lines with equally many cells; else None."""
    rows = [line.split() for line in text.strip().splitlines()]
    if len(rows) >= 2 and all(len(row) == 1 for row in rows):
        rows = [list(row[0]) for row in rows]  # cells without spaces between them
    return rows if len(rows) >= 2 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 else None


def mark_grid(given: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> Finding:
    """The shape, or the first wrong cell and how many there are."""
    if (len(given), len(given[0])) != (len(wanted), len(wanted[0])):
        text = f"the shape: {len(given)} rows of {len(given[0])}"
        return Finding("shape", "the shape of the grid", text, text)
    wrong = [(r, c) for r, row in enumerate(given) for c, cell in enumerate(row) if cell != wanted[r][c]]
    if not wrong:
        return same("format", "The grid is right, but it is not written as asked.")
    first = f"row {wrong[0][0] + 1}, column {wrong[0][1] + 1}"
    return Finding(
        "position", "one or more cells", first, f"{len(wrong)} cell{'s' if len(wrong) > 1 else ''}, first at {first}"
    )


def mark_text(given: str, wanted: str) -> Finding:
    """The first word (or, in one-word answers, character) at which the answer departs from the reference."""
    a, b, unit = given.split(), wanted.split(), "word"
    if len(b) <= 1:
        a, b, unit = list(given), list(wanted), "character"
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x.casefold() != y.casefold():
            right = f"the first {i} {unit}s are right; " if i > 1 else f"the first {unit} is right; " if i else ""
            return Finding(
                "position", "another text is asked for", f"{unit} {i + 1}", f"{right}{unit} {i + 1} is wrong"
            )
    if len(a) == len(b):
        return same("format", "The answer is not written in the form that was asked for.")
    length = f"too {'short' if len(a) < len(b) else 'long'}"
    return Finding("length", "the length", length, f"what is there is right, but the answer is {length}")


_WAYS_TO_FAIL = {
    "wrong value": "wrong value",
    "wrong output": "wrong output",
    "raised": "an exception",
    "time limit": "too slow",
    "memory limit": "too much memory",
    "exited": "it exits",
}


def mark_code(verdict: Verdict) -> Finding:
    """Which test fails; in full also how, the failing call or input and what came of it, never what was expected.

    Whoever wrote the attempt could have it fail in a way that tells what the test holds, so how it fails is said only where
    the test's input is said too, and without lines, numbers and names.
    """
    where = re.match(r"test \d+ of \d+", verdict.reason)
    coarse = f"{where[0]} fails" if where else verdict.reason
    observed = verdict.observation
    shown = ""
    if where and observed.startswith("failed: "):
        how, _, observed = observed.removeprefix("failed: ").partition("\n")
        plain = next((word for word in _WAYS_TO_FAIL if how.startswith(word)), "")
        shown = f": {_WAYS_TO_FAIL[plain]}" if plain else ""
    if observed.startswith("input: "):
        given = observed.split("\nexpected: ", 1)[0].removeprefix("input: ")
        printed = observed.rsplit("\nprinted: ", 1)[-1].split("\nerrors: ", 1)[0].strip()
        shown += f"; for the input {given!r} it printed {f'{printed!r}' if printed else 'nothing'}"
    elif where and observed and not observed.startswith("test: "):
        shown += f"; {observed.splitlines()[0]}"
    return Finding("tests", coarse, verdict.reason, verdict.reason + shown)
