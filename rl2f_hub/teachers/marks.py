"""What is wrong with an answer, found by comparing it with the reference: pure functions, one for each shape of answer.

Each returns a `Finding`: the same fault told in three strengths. `direction` only says which way or what kind, `place`
the first wrong place, `full` everything that can be said by quoting the student alone. Never anything of the reference.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
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
    """How an answer in words departs from the reference: number and order of its words, spelling, or altogether.

    The reference is only compared with the answer ("2 letters longer"); no letter and no word of it is said.
    """
    a, b = given.casefold().split(), wanted.casefold().split()
    if a == b:
        return same("format", "The answer is not written in the form that was asked for.")
    if len(a) == len(b) == 1:
        return _mark_word(a[0], b[0])
    right = _shared_start(a, b)
    if right in (len(a), len(b)):
        return _mark_length(len(a), len(b), "word")
    if len(b) == 1:
        return Finding("length", "too many words", "one word is asked for", f"one word is asked for, not {len(a)}")
    if sorted(a) == sorted(b):
        text = "the right words in the wrong order"
        return Finding("order", "the order of the words", text, f"{text}, first at word {right + 1}")
    if len(a) == len(b) and all(x == y or _is_close(x, y) for x, y in zip(a, b, strict=True)):
        text = "close in spelling"
        return Finding("spelling", text, text, f"{text}, first wrong in word {right + 1}")
    common = (Counter(a) & Counter(b)).total()
    if not common:
        text = f"another answer is asked for, of {len(b)} words"
        return Finding("another", "another answer is asked for", text, f"{text}; none of yours belongs to it")
    belong = f"of the {_count(len(b), 'word')} of the answer you have {common}"
    full = f"{_first_right(right, 'word')}word {right + 1} is wrong; {belong}"
    return Finding("position", "another text is asked for", f"word {right + 1}", full)


def _mark_word(a: str, b: str) -> Finding:
    """One word or code against another, both in lower case and different."""
    unit = "letter" if b.isalpha() else "character"
    right, longer = _shared_start(a, b), len(b) - len(a)
    if right in (len(a), len(b)):
        return _mark_length(len(a), len(b), unit)
    if sorted(a) == sorted(b):
        text = f"the right {unit}s in the wrong order"
        return Finding("order", f"the order of the {unit}s", text, f"{text}, first at {unit} {right + 1}")
    first = f"{unit} {right + 1} is wrong"
    if _is_close(a, b):
        text = "close in spelling"
        length = f", and it is {_count(abs(longer), unit)} too {'short' if longer > 0 else 'long'}" if longer else ""
        return Finding("spelling", text, f"{text}, but {first}", f"{text}: {_first_right(right, unit)}{first}{length}")
    if not b.isalpha():
        placed = sum(x == y for x, y in zip(a, b, strict=False))
        full = f"{_first_right(right, unit)}{first}; {placed} of your {len(a)} characters are in place, of {len(b)}"
        return Finding("position", "another text is asked for", f"character {right + 1}", full)
    if not any(c.isalpha() for c in a):
        return same("another", "a word of letters is asked for")
    form = "another form of that word" if right >= max(3, 0.6 * min(len(a), len(b))) else "another word"
    than = "longer" if longer > 0 else "shorter"
    size = f"{_count(abs(longer), 'letter')} {than}" if longer else "of the same length"
    begins = "the same letter" if right == 1 else f"the same {right} letters" if right else "another letter"
    rough = f"{form} is asked for, {f'a {than} one' if longer else size}"
    return Finding("another", f"{form} is asked for", rough, f"{form} is asked for, {size}, beginning with {begins}")


def _mark_length(given: int, wanted: int, unit: str) -> Finding:
    """One of two sequences, of so many words or letters, begins with the other."""
    text = f"too {'short' if given < wanted else 'long'}"
    right = "what is there is right, " if given < wanted else _first_right(wanted, unit).replace(";", ",")
    return Finding(
        "length", "the length", text, f"{right}but the answer is {text} by {_count(abs(given - wanted), unit)}"
    )


def _shared_start(a: Sequence[str], b: Sequence[str]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _is_close(a: str, b: str) -> bool:
    """Whether the words differ as a slip of spelling does: in about one letter of four, or in the order of letters."""
    if sorted(a) == sorted(b):
        return True
    return max(len(a), len(b)) <= 60 and SequenceMatcher(None, a, b, autojunk=False).ratio() >= 0.75


def _count(n: int, unit: str) -> str:
    return f"{n} {unit}{'s' if n != 1 else ''}"


def _first_right(n: int, unit: str) -> str:
    return f"the first {n} {unit}s are right; " if n > 1 else f"the first {unit} is right; " if n else ""


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
