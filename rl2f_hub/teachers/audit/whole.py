"""Spellings that make a whole feedback of their own: digits by their places, bounds, quotations, tests. See `spellings.py`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from rl2f_hub.teachers.audit.items import Item
from rl2f_hub.teachers.audit.spellings import ORDINALS, Spelling, digits_of, where

PLACES = ("units", "tens", "hundreds", "thousands", "ten-thousands", "hundred-thousands", "millions")


def _window(item: Item, rng: random.Random, size: int) -> str | None:
    words = item.solution.split()
    start = rng.randint(0, len(words) - size)
    return " ".join(words[start : start + size])


def _places(forms: str, joint: str, backwards: bool = False) -> Spelling:
    """Digit by digit with the names of the places."""

    def write(item: Item, rng: random.Random) -> str | None:
        digits = digits_of(item)
        if not digits or len(digits) > len(PLACES):
            return None
        pairs = list(zip(reversed(PLACES[: len(digits)]), digits, strict=True))
        return joint.join(forms.format(p, d) for p, d in (reversed(pairs) if backwards else pairs)).capitalize() + "."

    return write


def _nths(forms: str, joint: str, of: Callable[[Item], str]) -> Spelling:
    def write(item: Item, rng: random.Random) -> str | None:
        parts = of(item)
        if not 1 < len(parts) <= len(ORDINALS):
            return None
        return joint.join(forms.format(n, c) for n, c in zip(ORDINALS, parts, strict=False)).capitalize() + "."

    return write


def _word(item: Item) -> str:
    return item.reference if item.domain in ("word", "listed word") else ""


def _around(form: str) -> Spelling:
    return where(digits_of, lambda i, r: form.format(int(i.reference) - 1, int(i.reference) + 1))


def _ends(form: str, head: int, tail: int) -> Spelling:
    def write(item: Item, rng: random.Random) -> str | None:
        return form.format(item.reference[:head], item.reference[-tail:]) if item.domain == "word" else None

    return write


def _last_row(item: Item, rng: random.Random) -> str:
    return item.reference.split("\n")[-1]


def _renamed(item: Item, rng: random.Random) -> str | None:
    """The solution with other names and other white space."""
    if item.domain != "code":
        return None
    text = item.solution
    for old, new in (
        ("best", "top"),
        ("out", "result"),
        ("found", "kept"),
        ("table", "seen"),
        ("word", "w"),
        ("value", "v"),
    ):
        text = re.sub(rf"\b{old}\b", new, text)
    return "Try this:\n```python\n" + text + "```"


def _inner_lines(item: Item, rng: random.Random) -> str | None:
    lines = item.solution.split("\n")
    return "The loop should be\n" + "\n".join(lines[2:-2]) if item.domain == "code" else None


# form -> spellings that are a whole feedback
WHOLE: dict[str, tuple[Spelling, ...]] = {
    "digits": (
        _places("{0} {1}", ", "),
        _places("the {0} digit is {1}", ", "),
        _places("write {1} in the {0} place", "; "),
        _places("{0}: {1}", ", "),
        _places("the {0} digit should be {1}", ", then ", True),
        _nths("{0} digit {1}", ", ", digits_of),
        _nths("the {0} digit is a {1}", " and ", digits_of),
    ),
    "spelled": (
        _nths("{0} letter {1}", ", ", _word),
        _nths("the {0} letter is {1}", ", ", _word),
        _nths("the {0} one is '{1}'", "; ", _word),
    ),
    "interval": (
        _around("It lies between {} and {}."),
        _around("Think of the whole number between {} and {}."),
        _around("More than {} and less than {}."),
        _around("It is greater than {} but smaller than {}."),
        _around("Larger than {}, but below {}."),
        _around("You need one more than {}."),
        _around("Only 1 less than {1}."),
        _around("It comes right after {}."),
        _around("Take the number just before {1}."),
    ),
    "edges": (
        _ends("It starts with {} and ends with {}.", 2, 2),
        _ends("The word begins with {} and ends in {}.", 2, 3),
        _ends("It begins with '{}' and finishes with '{}'.", 3, 2),
        _ends("Its first letters are {}, its last letters are {}.", 2, 2),
    ),
    "solution": (
        where(lambda i: i.domain == "worked", lambda i, r: "Look: " + (_window(i, r, 12) or "")),
        where(lambda i: i.domain == "worked", lambda i, r: f"Here is how it goes. {_window(i, r, 16)} Now finish."),
        where(lambda i: i.domain == "worked", lambda i, r: (_window(i, r, 10) or "").upper() + ", do you see?"),
        where(lambda i: i.domain == "worked", lambda i, r: i.solution),
        where(lambda i: i.domain == "code", lambda i, r: f"```python\n{i.solution}```"),
        where(lambda i: i.domain == "code", lambda i, r: "Write it like this: " + i.solution),
        _inner_lines,
        where(
            lambda i: i.domain == "code",
            lambda i, r: "Better:\n```\n" + i.solution.replace("    ", "  ").replace(" = ", "=") + "```",
        ),
        _renamed,
    ),
    "expected": (
        where(
            lambda i: i.domain == "code", lambda i, r: f"For the input {i.near[0]} it must return {_expected(i, 0)}."
        ),
        where(lambda i: i.domain == "code", lambda i, r: f"A test fails: {_assertion(i, 0)}"),
        where(
            lambda i: i.domain == "code",
            lambda i, r: f"The second test wants {_expected(i, 1)}, yours gives something else.",
        ),
        where(lambda i: i.domain == "code", lambda i, r: f"I expected `{_expected(i, 0)}` here."),
        where(lambda i: i.domain == "code", lambda i, r: f"Expected output: {_expected(i, 1)}".replace(", ", ",")),
    ),
    "part": (
        where(lambda i: i.domain == "grid", lambda i, r: f"The last row is {_last_row(i, r)}."),
        where(
            lambda i: i.domain == "grid", lambda i, r: f"Your last row should be {_last_row(i, r).replace(' ', ', ')}."
        ),
        where(lambda i: i.domain == "grid", lambda i, r: f"Bottom row: [{_last_row(i, r).replace(' ', ',')}]"),
        where(lambda i: i.domain == "grid", lambda i, r: f"It ends with\n{_last_row(i, r)}\nbelow."),
    ),
}


def _assertion(item: Item, place: int) -> str:
    found = re.findall(r"assert [^\"]+?(?=\"[,\]])", item.tests)
    return found[place].replace("\\n", "\n")


def _expected(item: Item, place: int) -> str:
    return _assertion(item, place).split(" == ")[1]
