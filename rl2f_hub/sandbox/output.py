"""Whether what a program printed is what was expected.

Lines must agree, white space at their ends and blank lines at the end aside. Within a line a word that is a number may be
written in another way (1.0 and 1.00): an integer that is expected is compared exactly, whatever its length; any other
number may be off by `TOLERANCE`, absolutely or relative to its size, as in rcmp6, the usual checker of testlib (Codeforces).
In a line of numbers alone the white space between them does not count, as in LiveCodeBench's grader.
"""

from __future__ import annotations

import re
from decimal import Decimal

TOLERANCE = 1e-6
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT_CHARS = 400  # longer than any float is written; longer numbers are compared as texts


def same_output(printed: str, wanted: str) -> bool:
    """Whether two outputs agree as the module says."""
    ours, theirs = printed.rstrip().splitlines(), wanted.rstrip().splitlines()
    return len(ours) == len(theirs) and all(
        a.rstrip() == b.rstrip() or _same_line(a.rstrip(), b.rstrip()) for a, b in zip(ours, theirs, strict=True)
    )


def _same_line(printed: str, wanted: str) -> bool:
    ours, theirs = printed.split(), wanted.split()
    if len(ours) != len(theirs):
        return False
    if not all(a == b or same_number(a, b) for a, b in zip(ours, theirs, strict=True)):
        return False
    return all(map(_NUMBER.fullmatch, theirs)) or re.split(r"\S+", printed) == re.split(r"\S+", wanted)


def same_number(printed: str, wanted: str) -> bool:
    """Whether both words are numbers, and the same one up to what the module says."""
    if not (_NUMBER.fullmatch(printed) and _NUMBER.fullmatch(wanted)) or _INTEGER.fullmatch(printed + wanted):
        return False  # two integers that are not written alike
    if max(len(printed), len(wanted)) > _FLOAT_CHARS:
        return False
    ours, theirs = Decimal(printed), Decimal(wanted)
    if _INTEGER.fullmatch(wanted):
        return ours == theirs
    return abs(ours - theirs) <= Decimal(TOLERANCE) * max(Decimal(1), abs(theirs))
