"""Numbers in text: English number words as figures, figures as exact values, and sums and products worked out.

Everything is exact (`fractions.Fraction`), linear in the text, and bounded: numbers of more than 60 digits and powers
that would be larger are not read. Left out: numbers of other languages, and formulas with letters.
"""

from __future__ import annotations

import ast
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

_SMALL = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen".split()
    )
}
_TENS = {
    w: v
    for v, w in zip(range(20, 100, 10), "twenty thirty forty fifty sixty seventy eighty ninety".split(), strict=True)
}
_TENS["fourty"] = 40  # how it is often spelled
_SCALE = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifths": 5, "sixths": 6}
_PARTS |= {"sevenths": 7, "eighths": 8, "ninths": 9, "tenths": 10, "hundredths": 100}
DIGIT_WORDS = {w: str(v) for w, v in _SMALL.items() if v < 10} | {"oh": "0", "nought": "0", "nil": "0"}
# A text without any of these has no number in words.
NUMBER_WORDS = frozenset(_SMALL) | frozenset(_TENS) | frozenset(_SCALE) | {"dozen", "half", "quarter", "oh", "nought"}

_WORD = "|".join(sorted((*_SMALL, *_TENS, *_SCALE, "dozen"), key=len, reverse=True))
# "hundred-thousands" and "ten-thousands" are places of digits, not numbers.
_RUN = re.compile(
    rf"(?:\b(?:minus|negative)\s+)?(?<![\w-])(?:an?\s+(?=hundred|thousand|million|billion|dozen))?(?:{_WORD})\b(?!-?(?:thousands|place))"
    rf"(?:(?:\s*-\s*|\s+and\s+|,?\s+)(?:{_WORD})\b(?!-?(?:thousands|place)))*"
    rf"(?:\s+(?:point)((?:\s+(?:{'|'.join(DIGIT_WORDS)})\b)+))?(?:[\s-]+({'|'.join(_PARTS)})\b)?"
)
_AND_A_PART = re.compile(r"(?<!\d)(\d{1,15}) and (?:an?|1) (half|third|quarter)\b")
_SCALED = re.compile(r"(?<![\w.])(\d{1,20}(?:\.\d{1,20})?) (hundred|thousand|million|billion|trillion)\b")
_WITH_UNIT = re.compile(
    r"(-?)\s?[£€¥]?\s?(-?[\d.][\d./ e%+-]*?(?:\s?(?:%|percent|per cent))?)"
    r"(?:\s+[a-z][a-z²³ ]{0,20}|\s?°|\s?\^\s?\{?\\circ\s?\}?)?\.?"
)
_DIGITS = r"(?:\d{1,60}(?:\.\d{1,60})?|\.\d{1,60})"
_NUMBER = re.compile(
    rf"(?<![\w.])(?<![\d)]\s)(?P<sign>(?<![\w)])[-+])?(?:(?P<whole>\d{{1,60}})\s+(?=\d{{1,60}}\s?/\s?\d))?(?P<top>{_DIGITS})(?P<exponent>e[-+]?\d{{1,3}})?"
    rf"(?:\s?/\s?(?P<bottom>\d{{1,60}}(?:\.\d{{1,60}})?))?"
    r"(?![\w/]|\.\d)(?P<percent>\s?(?:%|percent\b|per\s?cent\b))?|"
    rf"(?<![\w.])(?P<measured>{_DIGITS})(?=(?:cm|mm|km|kg|mg|ml|m|g|s|h|l|min|eur|usd|gbp|th|k)\b|°)"
)
_TERM = r"\(*\s?\d[\d.]{0,60}\s?\)*"
_EXPRESSION = re.compile(rf"(?<![\w.]){_TERM}(?:\s?(?:\*\*|[-+*/^])\s?{_TERM})+(?![\w]|\.\d)")
_OPERATORS = {"times": "*", "multiplied by": "*", "plus": "+", "minus": "-", "divided by": "/", "added to": "+"}
_SPOKEN = re.compile(rf"(?<=[\d)])\s+({'|'.join(_OPERATORS)})\s+(?=[\d(])")
_SIGNS = str.maketrans({"×": "*", "·": "*", "∙": "*", "⋅": "*", "÷": "/"})
MAX_VALUE = 10**60


class Figure(NamedTuple):
    """A number where it stands: `text[start:end]`, the values that it may have, and how it is written without frills.

    A per cent has two values: 50 % is 50 and 1/2.
    """

    start: int
    end: int
    values: tuple[Fraction, ...]
    written: str


def in_figures(text: str) -> str:
    """The text (lower case) with number words as figures: `one thousand two hundred` -> `1200`, `minus seven` -> `-7`."""
    text = _SCALED.sub(lambda m: canonical_of(Fraction(m[1]) * _SCALE[m[2]]) or m[0], text)
    text = _RUN.sub(lambda m: _figure(m) or m[0], text)
    return _AND_A_PART.sub(lambda m: f"{m[1]} 1/{_PARTS[m[2]]}", text) if " and " in text else text


def canonical_of(value: Fraction) -> str:
    """A whole number in figures; empty for others."""
    return str(value.numerator) if value.denominator == 1 else ""


def figures(text: str) -> list[Figure]:
    """The numbers of a text whose thousands are joined: integers, decimals, fractions, per cents, scientific notation."""
    out = []
    for m in _NUMBER.finditer(text):
        if m["measured"]:
            out.append(Figure(m.start(), m.end(), (Fraction(m["measured"]),), canonical(m["measured"])))
            continue
        value = Fraction(m["top"] + (m["exponent"] or ""))
        written = canonical(m["top"]) + (m["exponent"] or "")
        if m["bottom"]:
            if not (bottom := Fraction(m["bottom"])):
                continue
            value, written = value / bottom, f"{written}/{canonical(m['bottom'])}"
        if m["whole"]:
            value, written = value + int(m["whole"]), f"{m['whole']} {written}"
        if m["sign"] == "-":
            value, written = -value, f"-{written}"
        values = (value, value / 100) if m["percent"] else (value,)
        out.append(Figure(m.start(), m.end(), values, written + ("%" if m["percent"] else "")))
    return out


def value_of(text: str) -> tuple[Fraction, ...]:
    """The values of a text that is one number and nothing else (signs of currency and a unit aside), else nothing."""
    m = _WITH_UNIT.fullmatch(text)
    found = figures(m[2].strip()) if m else []
    if not m or len(found) != 1 or found[0].start or found[0].end < len(m[2].strip()):
        return ()
    return tuple(-v if m[1] else v for v in found[0].values)


def canonical(digits: str) -> str:
    """Without leading and trailing zeros that do not count: `0042.50` -> `42.5`."""
    head, _, tail = digits.partition(".")
    tail = tail.rstrip("0")
    return (head.lstrip("0") or "0") + (f".{tail}" if tail else "")


def calculations(text: str) -> list[tuple[int, int, Fraction, tuple[str, ...]]]:
    """(start, end, value, operands) of the sums, differences, products, quotients and powers of plain numbers.

    `text` is `spoken_operators(...)` of a text in figures.
    """
    out = []
    for m in _EXPRESSION.finditer(text):
        expression = m[0].strip()
        surplus = expression.count("(") - expression.count(")")
        if surplus > 0 and expression.startswith("("):
            expression = expression[surplus:]
        elif surplus < 0:
            expression = expression[:surplus] if expression.endswith(")") else expression
        value = _worked_out(expression)
        if value is not None:
            operands = tuple(canonical(d) for d in re.findall(r"\d[\d.]*", expression))
            out.append((m.start(), m.end(), value, operands))
    return out


_N = r"(?<![\w.])(\d{1,30}(?:\.\d{1,20})?)(?![\w]|\.\d)"
_OF = r" (?:of |the number |as much as |as many as )?(?:the )?"
# What is said of numbers, as calculations. The first group of the first two rows is what is added.
_SAID: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), calculation)
    for pattern, calculation in (
        (
            rf"{_N} (?:\w+ )?(?:more|greater|larger|bigger|higher|above|over|after|beyond|up from|added to)(?: than)? {_N}",
            r"(\2 + \1)",
        ),
        (
            rf"{_N} (?:\w+ )?(?:less|smaller|lower|fewer|below|under|before|short of|down from)(?: than)? {_N}",
            r"(\2 - \1)",
        ),
        (rf"(?:add|adding) {_N} (?:to|and|onto) (?:your |the )?{_N}", r"(\2 + \1)"),
        (rf"(?:subtract|take|subtracting|taking|deduct) {_N} (?:away |off )?from (?:your |the )?{_N}", r"(\2 - \1)"),
        (rf"(?:the )?sum of {_N} and {_N}", r"(\1 + \2)"),
        (rf"(?:the )?product of {_N} and {_N}", r"(\1 * \2)"),
        (rf"(?:the )?difference (?:of|between) {_N} and {_N}", r"(\1 - \2)"),
        (rf"{_N} (?:take away|less|with the loss of) {_N}", r"(\1 - \2)"),
        (rf"{_N} and (?:another )?{_N} (?:together|combined|in total|added(?: up)?)\b", r"(\1 + \2)"),
        (rf"{_N} and (?:another |then )?{_N} (?:more|on top)\b", r"(\1 + \2)"),
        (
            rf"(?:start (?:at|from|with) )?{_N},? (?:and |then ){{0,2}}(?:go|add|count|move) (?:up )?{_N}(?: up| more)?\b",
            r"(\1 + \2)",
        ),
        (
            rf"(?:start (?:at|from|with) )?{_N},? (?:and |then ){{0,2}}(?:go|count|subtract|take|move) (?:down |off )?{_N}(?: down| off| away)?\b",
            r"(\1 - \2)",
        ),
        (
            rf"{_N},? (?:to be )?(?:precise(?:ly)?|exactly)?,? ?{_N} (?:below|under|less than|short of) that",
            r"(\1 - \2)",
        ),
        (rf"{_N},? (?:to be )?(?:precise(?:ly)?|exactly)?,? ?{_N} (?:above|over|more than) that", r"(\1 + \2)"),
        (rf"{_N} (?:increased|raised) by {_N}", r"(\1 + \2)"),
        (rf"{_N} (?:reduced|decreased|lowered|diminished) by {_N}", r"(\1 - \2)"),
        (rf"\b(?:half|halve|1/2){_OF}{_N}|{_N} (?:halved|cut in half|split in (?:two|2|half))", r"(\1\2 / 2)"),
        (rf"\b(?:twice|double|2 times){_OF}{_N}|{_N} (?:doubled|twice)", r"(\1\2 * 2)"),
        (rf"\b(?:triple|thrice|three times|3 times){_OF}{_N}|{_N} tripled", r"(\1\2 * 3)"),
        (rf"\b(?:an? |1 )?third{_OF}{_N}|\b1/3{_OF}{_N}", r"(\1\2 / 3)"),
        (rf"\b(?:an? |1 )?quarter{_OF}{_N}|\b1/4{_OF}{_N}", r"(\1\2 / 4)"),
        (rf"\b(?:an? |1 )?fifth of (?:the )?{_N}|\b1/5{_OF}{_N}", r"(\1\2 / 5)"),
        (rf"\b(?:an? |1 )?tenth of (?:the )?{_N}|\b1/10{_OF}{_N}", r"(\1\2 / 10)"),
        (rf"{_N} squared|\bsquare of (?:the number )?{_N}", r"(\1\2 ** 2)"),
        (rf"{_N} cubed|\bcube of (?:the number )?{_N}", r"(\1\2 ** 3)"),
    )
)
_SAYS = re.compile(
    r"\d (?:halved|doubled|tripled|squared|cubed|increased|raised|reduced|decreased|lowered|cut|split)|"
    r"\b(?:half|halve|twice|double|triple|thrice|third|quarter|fifth|tenth|1/\d+|times|square|cube|sum|product|difference|add|adding|subtract|"
    r"subtracting|take|taking|deduct|more|greater|larger|bigger|higher|above|over|after|beyond|up|less|smaller|lower|fewer|below|under|"
    r"before|short|down|added|go|count|move|start|together|that)\b"
)
_ROOT = re.compile(
    r"(?:\b(?P<which>square|cube|second|third) root (?:of )?(?:the )?|√\s?|\bsqrt\s?\(?\{?\s?|\bcbrt\s?\(?\s?)(?P<n>\d{1,40}(?:\.\d{1,20})?)(?![\w]|\.\d)"
)


def spoken_operators(text: str) -> str:
    """`12 times 34` -> `12 * 34`, `half of 18` -> `(18 / 2)`, `5 more than 7` -> `(7 + 5)`."""
    text = _SPOKEN.sub(lambda m: f" {_OPERATORS[m[1]]} ", text.translate(_SIGNS))
    if not _SAYS.search(text):
        return text
    for pattern, calculation in _SAID:
        text = pattern.sub(calculation, text)
    return text


def roots(text: str) -> list[tuple[int, int, Fraction, str]]:
    """(start, end, value, operand) of the square and cube roots of plain numbers that come out even."""
    out = []
    for m in _ROOT.finditer(text):
        degree = 3 if m["which"] in ("cube", "third") or m[0].startswith("cbrt") else 2
        value = Fraction(m["n"])
        top, bottom = (_root(part, degree) for part in (value.numerator, value.denominator))
        if top is not None and bottom:
            out.append((m.start(), m.end(), Fraction(top, bottom), canonical(m["n"])))
    return out


def _root(value: int, degree: int) -> int | None:
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**degree < value else (low, middle)
    return low if low**degree == value else None


@lru_cache(maxsize=1024)
def _worked_out(expression: str) -> Fraction | None:
    if len(expression) > 200:
        return None
    cleaned = re.sub(r"(?<![\d.])0+(?=\d)", "", expression.replace("^", "**"))
    try:
        return _evaluate(ast.parse(cleaned.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError):
        return None


def _evaluate(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(str(node.value))
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left), _evaluate(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult) and abs(left) < MAX_VALUE and abs(right) < MAX_VALUE:
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        if isinstance(node.op, ast.Pow) and right.denominator == 1 and abs(right) <= 60 and abs(left) <= 10**6:
            return left ** int(right)
    raise ValueError


def _figure(m: re.Match[str]) -> str | None:
    """The figures of a run of number words; None where the words make no number."""
    words = re.findall(r"[a-z]+", m[0])
    negative = words[0] in ("minus", "negative")
    part = m[2]
    after = re.findall(r"[a-z]+", m[1]) if m[1] else []
    core = [
        w
        for w in words[negative : len(words) - bool(part) - (len(after) + 1 if after else 0)]
        if w not in ("and", "a", "an")
    ]
    if len(core) > 1 and all(w in DIGIT_WORDS for w in core):
        return None  # digit by digit: another form
    values = _cardinals(core)
    if values is None:
        return None
    text = " ".join(str(v) for v in values)
    if after:
        text += "." + "".join(DIGIT_WORDS[w] for w in after)
    if part:
        text += f"/{_PARTS[part]}"
    return ("-" if negative else "") + text


def _cardinals(words: list[str]) -> list[int] | None:
    """`one thousand two hundred` -> [1200]; words that make several numbers give several (`forty two three` -> [42, 3])."""
    out: list[int] = []
    total = current = 0
    room = 0  # the largest number that may still be added to `current`: 1000 at its beginning
    for word in words:
        if word in _SCALE or word == "dozen":
            size = _SCALE.get(word, 12)
            current = max(current, 1)
            if size == 100:
                current, room = current * 100, 100
            elif size == 12:
                current, room = current * 12, 0
            else:
                total, current, room = total + current * size, 0, 1000
            if total > MAX_VALUE or current > MAX_VALUE:
                return None
            continue
        value = _SMALL.get(word, _TENS.get(word, 0))
        if (current and value >= room) or (total and not current and room < 1000):
            out.append(total + current)
            total = current = 0
        current += value
        room = 10 if word in _TENS else 0 if current % 100 or not value else room
        if value == 0:
            room = 0
    out.append(total + current)
    return out
