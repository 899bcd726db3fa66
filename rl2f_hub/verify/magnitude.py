"""How large a number may get that a formula stands for, estimated from its text: reading `9^{9^{9^9}}` would never end.

Symbolic algebra computes powers of whole numbers and factorials while it reads. What would take more than `MOST_DIGITS`
digits is not read. An estimate: what hides its size behind letters is left to the judge's time limit.
"""

from __future__ import annotations

import math
import re

MOST_DIGITS = 20_000.0
_POWER = re.compile(r"\s?(?:\^|\*\*)[-+\s]*")
_COMMAND = re.compile(r"\\[A-Za-z]+|\\.")
_FACTORIAL = re.compile(r"(?<!\d)(\d+) ?\)? ?(!+)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def is_too_large(text: str) -> bool:
    """Whether reading the text as a formula would make a number of more digits than `MOST_DIGITS`."""
    if "!" in text:
        for number, marks in _FACTORIAL.findall(text):
            if len(marks) > 1 or len(number) > 4 or math.lgamma(int(number) + 1) > MOST_DIGITS * math.log(10):
                return True
    groups, largest = 1.0, 1.0
    for start, end in _powers(text):
        value = max(_value(_exponent(text, end)), 1.0)
        base = text[max(0, start - 9) : start].rstrip()[-1:]
        if base in (")", "}", "]"):  # what stands in it may be a power already
            groups *= value
        elif base.isdigit() or value > MOST_DIGITS:
            largest = max(largest, value)
        if groups * largest > MOST_DIGITS:
            return True
    return False


def _powers(text: str) -> list[tuple[int, int]]:
    """Where the signs of powers stand that are in no exponent, and where their exponents begin."""
    starts: list[tuple[int, int]] = []
    inside = 0
    for found in _POWER.finditer(text):
        if found.end() >= inside:
            starts.append((found.start(), found.end()))
            inside = found.end() + len(_exponent(text, found.end()))
    return starts


def _exponent(text: str, start: int) -> str:
    """The exponent that begins there: a group in braces or parentheses, or a number, with all that it is raised to."""
    at = start
    while True:
        if text[at : at + 1] in ("{", "("):
            depth = 0
            while at < len(text):
                depth += (text[at] in "{(") - (text[at] in ")}")
                at += 1
                if depth == 0:
                    break
        else:
            number = _NUMBER.match(text, at)
            at = number.end() if number else at + 1
        tower = _POWER.match(text, at)
        if tower is None:
            return text[start:at]
        at = tower.end()


def _value(exponent: str) -> float:
    """About how large an exponent of digits is; 1 where it has letters, which nobody multiplies out."""
    bare = _COMMAND.sub(" ", exponent)
    if re.search(r"[A-Za-z]", bare):
        return 1.0
    numbers = [float(number[:300]) for number in _NUMBER.findall(bare)]
    if not numbers:
        return 1.0
    if not _POWER.search(bare):
        return min(math.prod(min(max(n, 1.0), 1e9) for n in numbers[:30]), 1e300)
    if len(numbers) == 2 and numbers[1] <= 100 and numbers[0] <= 1e6:
        return min(numbers[0] ** numbers[1], 1e300) if numbers[0] ** min(numbers[1], 40) < 1e300 else 1e300
    return 1e300
