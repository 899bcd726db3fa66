"""Reading a move in what a model wrote.

Each reader takes free text and gives the move as the environment wants it, or None. A move in square brackets goes
before a bare one, and among equals the last counts: models weigh moves before they decide. One attempt is one move;
whatever else stands in it (talk, reasons, a second move) is not passed on to the game.

Every pattern runs in linear time, and text before the last 20,000 characters is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Reader = Callable[[str], str | None]
MAX_CHARS = 20_000
_FLAGS = re.IGNORECASE | re.ASCII


def choice(names: tuple[str, ...], short: Mapping[str, str] | None = None) -> Reader:
    """One of `names`; `short` maps abbreviations, which count in brackets or as the whole attempt."""
    short = short or {}
    inside = re.compile(rf"\[\s{{0,3}}({'|'.join([*names, *short])})\s{{0,3}}\]", _FLAGS)
    bare = re.compile(rf"(?<!\w)({'|'.join(names)})(?!\w)", _FLAGS)

    def read(text: str) -> str | None:
        text = text[-MAX_CHARS:]
        found = inside.findall(text) or bare.findall(text) or [w for w in [text.strip()] if w.lower() in short]
        return f"[{short.get(found[-1].lower(), found[-1].lower())}]" if found else None

    return read


def numbers(count: int, label: str = "") -> Reader:
    """A run of exactly `count` whole numbers, separated by spaces or commas; the move begins with `label`."""
    run = r"(?<![\w.-])([0-9]{1,4}(?:[ \t]{0,3}[ \t,][ \t]{0,3}[0-9]{1,4}){0,20})(?![0-9]|\.[0-9])"
    inside = re.compile(rf"\[[a-z \t]{{0,8}}{run}\s{{0,3}}\]", _FLAGS)
    bare = re.compile(run)

    def read(text: str) -> str | None:
        text = text[-MAX_CHARS:]
        for pattern in (inside, bare):
            runs = [re.findall(r"[0-9]+", found) for found in pattern.findall(text)]
            runs = [r for r in runs if len(r) == count]
            if runs:
                return f"[{label}{' '.join(str(int(n)) for n in runs[-1])}]"
        return None

    return read


def operation(text: str) -> str | None:
    """Two indices and an arithmetic sign: `[0 2 *]`."""
    found = re.findall(r"(?<![\w.])([0-9]{1,2})[ \t,]{1,3}([0-9]{1,2})[ \t,]{1,3}([-+*/])", text[-MAX_CHARS:])
    return "[{} {} {}]".format(*found[-1]) if found else None


def two_pegs(text: str) -> str | None:
    """A source and a target out of A, B and C: `[A C]`, `A -> C`, `A to C`. Bare pegs are written as capitals."""
    text = text[-MAX_CHARS:]
    link = r"[ \t]{0,3}(?:->|,|\bto\b|[ \t])[ \t]{0,3}"
    found = re.findall(rf"\[\s{{0,3}}([ABC]){link}([ABC])\s{{0,3}}\]", text, _FLAGS)
    found = found or re.findall(rf"(?<!\w)([ABC]){link}([ABC])(?!\w)", text)
    return f"[{found[-1][0].upper()} {found[-1][1].upper()}]" if found else None


def word(length: int) -> Reader:
    """A word in brackets, of any length; else the last bare word that has `length` letters."""
    bare = re.compile(rf"(?<![\w'])[a-z]{{{length}}}(?![\w'])", _FLAGS)

    def read(text: str) -> str | None:
        text = text[-MAX_CHARS:]
        found = re.findall(r"\[\s{0,3}([a-z]{1,40})\s{0,3}\]", text, _FLAGS) or bare.findall(text)
        return f"[{found[-1].lower()}]" if found else None

    return read


def letter_or_word(text: str) -> str | None:
    """A letter or a word in brackets; else a last line that is nothing but one."""
    text = text[-MAX_CHARS:]
    found = re.findall(r"\[\s{0,3}([a-z]{1,40})\s{0,3}\]", text, _FLAGS)
    last = text.strip().rsplit("\n", 1)[-1].strip(" \t.!*`'\"")
    found = found or re.findall(r"^[a-z]{1,40}$", last, _FLAGS)
    return f"[{found[-1].upper()}]" if found else None


def trade(resources: tuple[str, ...]) -> Reader:
    """An offer (`[Offer: 3 Sheep, 2 Ore -> 5 Brick]`), `[Accept]` or `[Deny]`; bare, on a line of its own."""
    inside = re.compile(r"\[\s{0,3}(accept|deny|offer[ \t:][^\[\]]{1,300})\]", _FLAGS)
    bare = re.compile(r"^[ \t]{0,9}(accept|deny|offer[ \t:][^\[\]\n]{1,300})[ \t]{0,9}[.!]?[ \t]{0,9}$", _FLAGS | re.M)
    names = {r.lower(): r for r in resources} | {r.lower() + "s": r for r in resources}

    def side(text: str) -> str | None:
        items: dict[str, int] = {}
        for part in re.split(r",|\band\b", text):
            found = re.fullmatch(r"\s*([0-9]{1,4})\s+([A-Za-z]+)\s*", part)
            name = names.get(found[2].lower()) if found else None
            if found is None or name is None or int(found[1]) == 0:
                return None
            items[name] = items.get(name, 0) + int(found[1])
        return ", ".join(f"{n} {name}" for name, n in items.items())

    def read(text: str) -> str | None:
        text = text[-MAX_CHARS:]
        found = inside.findall(text) or bare.findall(text)
        if not found:
            return None
        said = found[-1].strip().rstrip(".!")
        if said.lower() in ("accept", "deny"):
            return f"[{said.capitalize()}]"
        given, arrow, wanted = said[5:].lstrip(" \t:").partition("->")
        sides = side(given), side(wanted)
        return f"[Offer: {sides[0]} -> {sides[1]}]" if arrow and all(sides) else None

    return read
