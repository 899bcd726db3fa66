"""How a reference can be written so that it is given away: for every form of leak, several spellings of an item.

A spelling takes an item and a random generator and returns words that stand in a sentence; None where the form does not
exist for the item (a word has no thousands separator). `whole.py` has those that make a feedback of their own.
"""

from __future__ import annotations

import base64
import codecs
import random
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from rl2f_hub.teachers.audit.items import Item

Spelling = Callable[[Item, random.Random], str | None]

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()


def number_words(value: int, hyphen: str = "-", conjunction: str = " ") -> str:
    """English words of an integer below 10^12 in absolute value; `conjunction` stands between hundreds and the rest."""
    if value < 0:
        return "minus " + number_words(-value, hyphen, conjunction)
    if value < 20:
        return _ONES[value]
    if value < 100:
        return _TENS[value // 10 - 2] + (hyphen + _ONES[value % 10] if value % 10 else "")
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if value >= size:
            head, rest = divmod(value, size)
            joint = conjunction if rest < 100 else " "
            tail = joint + number_words(rest, hyphen, conjunction) if rest else ""
            return f"{number_words(head, hyphen, conjunction)} {name}{tail}"
    raise AssertionError


def _int(item: Item) -> int | None:
    return int(item.reference) if re.fullmatch(r"-?\d+", item.reference) else None


def _value(item: Item) -> Fraction | None:
    text = item.reference.strip("$£€%")
    if found := re.fullmatch(r"\\frac\{(\d+)\}\{(\d+)\}", text):
        return Fraction(int(found[1]), int(found[2]))
    if re.fullmatch(r"-?\d+(?:\.\d+|/\d+)?", text):
        return Fraction(text) / (100 if item.reference.endswith("%") else 1)
    return None


def _decimal(value: Fraction) -> str | None:
    """The exact decimal of at most six places, or None."""
    scaled = value * 10**6
    return format(Decimal(int(scaled)).scaleb(-6).normalize(), "f") if scaled.denominator == 1 else None


def is_text(item: Item) -> bool:
    return item.domain in ("word", "listed word", "sentence")


def _plain(item: Item, rng: random.Random) -> str | None:
    return item.reference or None


def where(test: Callable[[Item], object], write: Callable[[Item, random.Random], str | None]) -> Spelling:
    return lambda item, rng: write(item, rng) if test(item) else None


def _long_int(item: Item) -> bool:
    value = _int(item)
    return value is not None and abs(value) >= 1000


def digits_of(item: Item) -> str:
    """The digits of an integer reference of two to twelve digits, else nothing."""
    value = _int(item)
    return str(value) if value is not None and 10 <= value < 10**12 else ""


def _grouped(separator: str) -> Spelling:
    return where(_long_int, lambda i, r: f"{int(i.reference):,}".replace(",", separator))


def _formula(item: Item) -> str:
    return item.reference if item.domain == "algebra" else ""


def _split(item: Item, rng: random.Random) -> tuple[int, int] | None:
    value = _int(item)
    if value is None or value < 20:
        return None
    part = rng.randint(2, value - 2)
    known = item.question + item.student
    return (part, value - part) if str(part) not in known and str(value - part) not in known else None


def _sum(form: str) -> Spelling:
    def write(item: Item, rng: random.Random) -> str | None:
        parts = _split(item, rng)
        return form.format(*parts) if parts else None

    return write


def _difference(form: str) -> Spelling:
    def write(item: Item, rng: random.Random) -> str | None:
        value, extra = _int(item), rng.randint(11, 99)
        return None if value is None or value < 20 else form.format(value + extra, extra)

    return write


def _product(form: str) -> Spelling:
    def write(item: Item, rng: random.Random) -> str | None:
        value = _int(item)
        factors = [f for f in range(3, 60) if value and value > 20 and value % f == 0 and value // f > 2]
        factors = [f for f in factors if str(f) not in item.question]
        return form.format(f := rng.choice(factors), (value or 0) // f) if factors else None

    return write


def _option(item: Item) -> str:
    return item.options["ABCDE".index(item.reference)] if item.options else ""


def _nth(item: Item, rng: random.Random) -> str:
    return ORDINALS["ABCDE".index(item.reference)]


def _place(item: Item) -> int:
    return re.findall(r"\d+", item.student).index(item.reference)


def _mid_cut(item: Item, rng: random.Random) -> str | None:
    """Two thirds of a sentence, word by word."""
    words = item.reference.split()
    keep = (2 * len(words)) // 3 + 1
    start = rng.randint(0, len(words) - keep)
    return " ".join(words[start : start + keep])


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _coded(encode: Callable[[str], str]) -> Spelling:
    return lambda item, rng: encode(item.reference) if len(item.reference) > 1 and item.domain != "grid" else None


def _frac(style: str) -> Spelling:
    def write(item: Item, rng: random.Random) -> str | None:
        value = _value(item)
        k = rng.randint(2, 6)
        if value is None or value.denominator == 1 or value <= 0:
            return None
        out = style.format(value.numerator, value.denominator, value.numerator * k, value.denominator * k)
        return None if out in item.question else out

    return write


def _as_decimal(item: Item, rng: random.Random) -> str | None:
    value = _value(item) if item.domain in ("fraction", "percent") else None
    return _decimal(value) if value is not None else None


def _as_percent(mark: str) -> Spelling:
    def write(item: Item, rng: random.Random) -> str | None:
        value = _value(item) if item.domain in ("fraction", "decimal") else None
        text = _decimal(value * 100) if value is not None else None
        return text + mark if text is not None else None

    return write


def _decimal_words(item: Item, rng: random.Random) -> str | None:
    if item.domain != "decimal":
        return None
    whole, part = item.reference.split(".")
    return f"{number_words(int(whole))} point {' '.join(_ONES[int(d)] for d in part)}"


def _money_words(item: Item, rng: random.Random) -> str | None:
    if item.domain != "money" or "." in item.reference:
        return None
    return number_words(int(item.reference[1:])) + {"$": " dollars", "£": " pounds", "€": " euros"}[item.reference[0]]


# form -> spellings that stand within a sentence
PHRASES: dict[str, tuple[Spelling, ...]] = {
    "literal": (_plain, _plain, where(is_text, lambda i, r: f'"{i.reference}"')),
    "normalised": (
        _grouped(","),
        _grouped(" "),
        _grouped("_"),
        _grouped("\u202f"),
        where(_int, lambda i, r: f"{i.reference}.0"),
        where(_int, lambda i, r: f"{i.reference}.00"),
        where(digits_of, lambda i, r: "00" + i.reference),
        where(_int, lambda i, r: f"\\boxed{{{i.reference}}}"),
        where(_int, lambda i, r: f"**{i.reference}**"),
        where(_int, lambda i, r: f"{i.reference} {r.choice(['pencils', 'coins', 'cm', 'kg'])}"),
        where(digits_of, lambda i, r: "".join(chr(0xFF10 + int(d)) for d in i.reference)),
        where(digits_of, lambda i, r: i.reference[0] + "\u200b" + i.reference[1:]),
        where(is_text, lambda i, r: i.reference.upper()),
        where(is_text, lambda i, r: f"\\text{{{i.reference}}}"),
        where(is_text, lambda i, r: i.reference.title()),
        where(lambda i: i.domain == "sentence", lambda i, r: i.reference.replace(" ", "  ")),
        where(lambda i: i.domain == "sentence", lambda i, r: i.reference.replace(" ", "_")),
        where(lambda i: i.domain == "money", lambda i, r: f"{Decimal(i.reference[1:]):,.2f} {'dollars'}"),
        where(lambda i: i.domain == "money", lambda i, r: i.reference[1:]),
        where(lambda i: i.domain == "percent", lambda i, r: i.reference[:-1] + " per cent"),
        where(lambda i: i.domain == "percent", lambda i, r: i.reference[:-1] + r"\%"),
        where(lambda i: i.domain == "decimal", lambda i, r: i.reference + "0"),
        where(lambda i: i.domain == "decimal", lambda i, r: i.reference.replace(".", ",")),
        where(
            lambda i: i.domain == "grid",
            lambda i, r: f"[{', '.join(f'[{row.replace(chr(32), chr(44))}]' for row in i.reference.split(chr(10)))}]",
        ),
        where(lambda i: i.domain == "grid", lambda i, r: "\n" + i.reference.replace(" ", "") + "\n"),
        where(_formula, lambda i, r: f"${i.reference}$"),
        where(_formula, lambda i, r: " ".join(re.findall(r"\\\w+|\*\*|\w|\W", i.reference))),
    ),
    "words": (
        where(digits_of, lambda i, r: number_words(int(i.reference))),
        where(digits_of, lambda i, r: number_words(int(i.reference), " ")),
        where(digits_of, lambda i, r: number_words(int(i.reference), "-", " and ")),
        where(digits_of, lambda i, r: number_words(int(i.reference)).capitalize()),
        where(lambda i: i.domain == "digit", lambda i, r: number_words(int(i.reference))),
        where(lambda i: (_int(i) or 0) < 0, lambda i, r: "negative " + number_words(-int(i.reference))),
        where(lambda i: (_int(i) or 0) < 0, lambda i, r: number_words(int(i.reference), "-", " and ")),
        where(lambda i: i.domain == "percent", lambda i, r: number_words(int(i.reference[:-1])) + " percent"),
        _money_words,
        _decimal_words,
    ),
    "equivalent": (
        _frac("{2}/{3}"),
        _frac("\\frac{{{2}}}{{{3}}}"),
        _frac("{0} / {1}"),
        _as_decimal,
        _as_percent("%"),
        _as_percent(" percent"),
        where(digits_of, lambda i, r: f"{int(i.reference) * (k := r.randint(2, 9))}/{k}"),
        where(_long_int, lambda i, r: f"{int(i.reference) / 1000:.3f} * 10^3"),
        where(_long_int, lambda i, r: f"{i.reference[:-3]}.{i.reference[-3:]}e3"),
        where(_formula, lambda i, r: f"${i.reference}+0$"),
        where(
            lambda i: re.fullmatch(r"\d+\w\^2\+\d+\w-\d+", _formula(i)),
            lambda i, r: re.sub(r"(.+\^2)\+(.+)-(\d+)", r"$-\3+\2+\1$", i.reference),
        ),
        where(
            lambda i: re.fullmatch(r"\(.+\)\(.+\)", _formula(i)),
            lambda i, r: re.sub(r"(\(.+\))(\(.+\))", r"\\(\2\1\\)", i.reference),
        ),
    ),
    "reversed": (
        where(lambda i: len(digits_of(i)) > 3, lambda i, r: i.reference[::-1]),
        where(digits_of, lambda i, r: f"{i.reference[::-1]} backwards"),
        where(digits_of, lambda i, r: f"{i.reference[::-1]} read from right to left"),
        where(digits_of, lambda i, r: f"the reverse of {i.reference[::-1]}"),
        where(lambda i: i.domain in ("word", "listed word"), lambda i, r: i.reference[::-1]),
        where(lambda i: i.domain == "word", lambda i, r: f"{i.reference[::-1]} spelled backwards"),
        where(lambda i: i.domain == "sentence", lambda i, r: i.reference[::-1]),
        where(lambda i: i.domain == "sentence", lambda i, r: " ".join(i.reference.split()[::-1])),
    ),
    "encoded": (
        _coded(_b64),
        _coded(lambda text: _b64(text).rstrip("=")),
        _coded(lambda text: _b64(f"The answer is {text}.")),
        _coded(lambda text: text.encode().hex()),
        _coded(lambda text: text.encode().hex(" ")),
        _coded(lambda text: "".join(f"%{byte:02X}" for byte in text.encode())),
        _coded(lambda text: "".join(f"&#{ord(c)};" for c in text)),
        _coded(lambda text: " ".join(str(ord(c)) for c in text)),
        where(digits_of, lambda i, r: hex(int(i.reference))),
        where(digits_of, lambda i, r: bin(int(i.reference))),
        where(digits_of, lambda i, r: format(int(i.reference), "b") + " in binary"),
        where(is_text, lambda i, r: codecs.encode(i.reference, "rot13")),
        where(is_text, lambda i, r: codecs.encode(i.reference, "rot13").upper()),
    ),
    "digits": (
        where(digits_of, lambda i, r: ", ".join(i.reference)),
        where(digits_of, lambda i, r: "-".join(i.reference)),
        where(digits_of, lambda i, r: " ".join(i.reference)),
        where(digits_of, lambda i, r: " then ".join(i.reference)),
        where(digits_of, lambda i, r: " ".join(_ONES[int(d)] for d in i.reference)),
        where(digits_of, lambda i, r: "-".join(_ONES[int(d)] for d in i.reference)),
        where(digits_of, lambda i, r: ", ".join(_ONES[int(d)] for d in i.reference)),
        where(digits_of, lambda i, r: " ".join(_ONES[int(d)] for d in i.reference).replace("zero", "oh")),
    ),
    "spelled": (
        where(lambda i: i.domain in ("word", "listed word"), lambda i, r: "-".join(i.reference)),
        where(lambda i: i.domain in ("word", "listed word"), lambda i, r: " ".join(i.reference.upper())),
        where(lambda i: i.domain in ("word", "listed word"), lambda i, r: ", ".join(i.reference)),
        where(lambda i: i.domain in ("word", "listed word"), lambda i, r: ".".join(i.reference.upper()) + "."),
        where(lambda i: i.domain == "word", lambda i, r: " then ".join(f"'{c}'" for c in i.reference)),
        where(lambda i: i.domain == "word", lambda i, r: " + ".join(i.reference.upper())),
    ),
    "arithmetic": (
        _sum("{} + {}"),
        _sum("{}+{}"),
        _sum("{} plus {}"),
        _difference("{} - {}"),
        _difference("{} minus {}"),
        _product("{} * {}"),
        _product("{} × {}"),
        _product("{} times {}"),
        _product("\\({} \\cdot {}\\)"),
    ),
    "known": (
        where(lambda i: i.domain == "listed number", _plain),
        where(lambda i: i.domain == "listed number", lambda i, r: f"**{i.reference}**"),
        where(
            lambda i: i.domain == "listed number", lambda i, r: f"your {ORDINALS[_place(i)]} candidate, {i.reference}"
        ),
        where(lambda i: i.domain in ("listed word",), _plain),
        where(lambda i: i.domain in ("listed word",), lambda i, r: f"'{i.reference}'"),
        where(lambda i: i.domain in ("listed word",), lambda i, r: i.reference.capitalize()),
        where(lambda i: i.domain == "choice", lambda i, r: i.reference),
        where(lambda i: i.domain == "choice", lambda i, r: f"({i.reference})"),
        where(lambda i: i.domain == "choice", lambda i, r: f"option {i.reference}"),
        where(lambda i: i.domain == "choice", lambda i, r: f"choice {i.reference}"),
    ),
    "option": (
        where(_option, lambda i, r: _option(i)),
        where(_option, lambda i, r: f"'{_option(i)}'"),
        where(_option, lambda i, r: f"the {_nth(i, r)} option"),
        where(_option, lambda i, r: f"the {_nth(i, r)} choice"),
        where(_option, lambda i, r: f"the {_nth(i, r)} one"),
        where(_option, lambda i, r: f"option number {'ABCDE'.index(i.reference) + 1}"),
    ),
    "part": (
        where(lambda i: i.domain == "sentence", _mid_cut),
        where(lambda i: i.domain == "sentence", lambda i, r: (_mid_cut(i, r) or "").upper()),
    ),
}
