"""Forms in which a number leaks. Each detector takes a reading of the feedback, the secret and what is known."""

from __future__ import annotations

import re
from fractions import Fraction

from rl2f_hub.teachers.leaks.numerals import DIGIT_WORDS, Figure, calculations, roots, spoken_operators
from rl2f_hub.teachers.leaks.reading import BOUNDS, Reading, states, undated
from rl2f_hub.teachers.leaks.secret import Known, Secret, counts, whole

_SIDE = r"(?:more|greater|larger|bigger|higher|above|over|less|smaller|lower|fewer|below|under)(?: than)?"
_BOUNDS = re.compile(
    r"\bbetween (?P<low>-?\d[\d.]*) and (?P<high>-?\d[\d.]*\d|-?\d)|"
    r"(?<![\d.])(?P<c>-?\d[\d.]*) ?(?:<=?|≤) ?[a-z?]\w{0,8} ?(?:<=?|≤) ?(?P<d>-?\d[\d.]*)|"
    rf"\b{_SIDE} (?P<a>-?\d[\d.]*\d|-?\d)\b.{{1,20}}?\b{_SIDE} (?P<b>-?\d[\d.]*\d|-?\d)"
)
_STEP = re.compile(
    r"\b1 (?P<way>more|greater|larger|bigger|higher|above|less|smaller|lower|fewer|below|under)(?: than)? (?P<base>-?\d+)|"
    r"\b(?:right|just|directly|immediately|straight|number|integer|value|comes) "
    r"(?P<side>after|above|over|before|below|under) (?P<from>-?\d+)|"
    r"\b(?P<next>follows|succeeds|precedes|successor of|predecessor of|next after|last before"
    r"|next (?:integer|number|whole number) after|last (?:integer|number|whole number) before) (?P<of>-?\d+)"
)
_NEIGHBOURS = BOUNDS | {"after", "before"}
_UPWARDS = frozenset("more greater larger bigger higher above over after follows succeeds next".split()) | {
    "successor of",
    "next after",
    *(f"next {kind} after" for kind in ("integer", "number", "whole number")),
}
_CUES = frozenset(
    "digit digits units unit ones tens hundreds thousands millions place places figure figures first second third".split()
)
_DIGIT = re.compile(
    r"(?<![\w.])(?:\d(?![\w]|\.\d)|(?:"
    + "|".join(DIGIT_WORDS)
    + r")\b)(?!\W{0,3}(?:is |was )?(?:too|wrong|incorrect|off)\b)"  # a digit that is marked wrong is none of the answer
)
_BETWEEN_DIGITS = re.compile(r"(?:[\s,;\-–|.'\"()*_]|\b(?:then|and|next|followed by|point|a)\b){1,24}")
_FACTORS = frozenset(("2", "3", "4", "5", "10", "1000", "1000000"))  # that words such as "twice" stand for
_THEN = re.compile(
    r"(?<=\d)(?:[,;] ?(?:and )?(?:then )?| (?:and )?then )(?:you )?(?:do )?(?=[-+*/×] ?\d)()"
)  # 47 * 36 = 1692, then + 19
_SHORT = re.compile(r"(?<![\w.,])(\d{1,6}(?:\.\d{1,6})?) ?k\b")
_DOTTED = re.compile(r"(?<![\w.,])\d{1,3}(?:\.\d{3}){1,5}(?![\w]|[.,]\d)")
_UNITS_DIGIT = re.compile(r"\b(?:units?|ones|digit)\W{1,3}(\d)\b")


def literal(reading: Reading, secret: Secret, known: Known) -> bool:
    """The reference as it is written (a comma for the decimal point included)."""
    text, own = undated(reading.raw.casefold()), secret.text.casefold()
    patterns = [secret.literal] if own in text else []
    if "." in own and (other := own.replace(".", ",")) in text:
        patterns.append(whole(re.escape(other)))
    if not patterns:
        return False
    seen = secret.written in known.written
    return any(counts(secret, known, text, m.start(), m.end(), seen) for p in patterns for m in p.finditer(text))


def normalised(reading: Reading, secret: Secret, known: Known) -> bool:
    """The same figures with other separators, zeros, units, signs of currency, LaTeX or type."""
    if not any(n.written.rstrip("%") == secret.written.rstrip("%") for n in reading.numbers):
        return False
    return _any(reading.plain, reading.numbers, secret, known, as_written=True) or _units_digit(reading, secret, known)


def words(reading: Reading, secret: Secret, known: Known) -> bool:
    """In number words, alone or mixed with figures."""
    return _any(reading.in_figures, reading.spoken_numbers, secret, known) and not _any(
        reading.plain, reading.numbers, secret, known
    )


def equivalent(reading: Reading, secret: Secret, known: Known) -> bool:
    """Another way to write the same value: fraction, decimal, per cent, scientific notation, or its size without sign."""
    return (
        _any(reading.plain, reading.numbers, secret, known, as_written=False)
        or _coins(reading, secret)
        or _in_thousands(reading, secret, known)
    )


def arithmetic(reading: Reading, secret: Secret, known: Known) -> bool:
    """A calculation whose value is the reference, unless all its numbers stand in the question or in an attempt.

    Naming an operation on given numbers is a method; a number of one's own makes it a way to write the answer.
    """
    text = undated(reading.in_figures)
    if ("root" in text or "√" in text or "rt" in text) and any(
        value in secret.values and operand not in known.operands and counts(secret, known, text, start, end, False)
        for start, end, value, operand in roots(text)
    ):
        return True
    text = said = _THEN.sub(r"\1 ", text)
    text = spoken_operators(text)
    if not re.search(r"\d\)?\s?(?:[-+*/^]|\*\*)\s?\(?\s?\d", text):
        return False
    for start, end, value, operands in calculations(text):
        given = operands if text == said else [o for o in operands if o not in _FACTORS] or operands
        own = value in secret.values and not known.operands.issuperset(given)
        if own and counts(secret, known, text, start, end, False):
            return True
    return False


def digit_by_digit(reading: Reading, secret: Secret, known: Known) -> bool:
    """One digit after the other, in figures or words, with separators or with the names of their places.

    Two digits alone ("3-4") say nothing: they count where words speak of digits or give them as the answer.
    """
    if len(secret.digits) < 2:
        return False
    text, wanted = reading.plain, secret.digits
    if len(wanted) > len(text):
        return False
    found = [(m.start(), m.end(), DIGIT_WORDS.get(m[0], m[0])) for m in _DIGIT.finditer(text)]
    if len(found) < len(wanted):
        return False
    said = "".join(d for _, _, d in found)
    if wanted not in said and wanted not in said[::-1]:
        return False
    if secret.written in known.written and len(known.written) < 2:
        return False  # else: nobody spells out a number only to mention it
    cued = not reading.letters.isdisjoint(_CUES)
    if cued and wanted in said:
        return True
    if cued and wanted in said[::-1] and _upwards(text):
        return True
    for first, last in _runs(text, found):
        run = "".join(d for _, _, d in found[first:last])
        if run == wanted and (len(wanted) > 2 or states(text, found[first][0], found[last - 1][1])):
            return True
    return False


def singled_out(reading: Reading, secret: Secret, known: Known) -> bool:
    """One candidate is spoken of where the student only listed candidates, and it is the right one."""
    if secret.short or secret.written not in known.written or secret.written not in reading.written:
        return False
    for listing in known.readings:
        if secret.written in listing.written and len(listing.written) > 2 and len(listing.letters) <= 4:
            return reading.written.isdisjoint(listing.written - {secret.written})
    return False


def interval(reading: Reading, secret: Secret, known: Known) -> bool:
    """Bounds that leave one number of the reference's precision, or the number next to it named as such."""
    if reading.letters.isdisjoint(_NEIGHBOURS) and "<" not in reading.plain and "≤" not in reading.plain:
        return False
    value = secret.values[0]
    places = len(secret.written.partition(".")[2]) if "/" not in secret.written else 0
    unit = Fraction(1, 10**places)
    for m in _BOUNDS.finditer(reading.in_figures):
        bounds = [Fraction(b.rstrip(".")) for b in m.group("low", "high", "a", "b", "c", "d") if b and b.count(".") < 2]
        if len(bounds) == 2 and min(bounds) <= value <= max(bounds) and max(bounds) - min(bounds) <= 2 * unit:
            return not _are_known(bounds, known)
    for m in _STEP.finditer(reading.in_figures):
        base = int(m["base"] or m["from"] or m["of"])
        step = 1 if (m["way"] or m["side"] or m["next"]) in _UPWARDS else -1
        if base + step == value:
            return True
    return False


def _are_known(bounds: list[Fraction], known: Known) -> bool:
    """Two wrong attempts on both sides of the answer may be spoken of."""
    return all(str(abs(b)) in known.written for b in bounds)


def _any(text: str, numbers: list[Figure], secret: Secret, known: Known, as_written: bool | None = None) -> bool:
    """Whether one of the numbers has the secret's value and counts; `as_written`: only with its figures, or only without."""
    size = abs(secret.values[0]) if secret.integer is not None and len(secret.digits) > 2 else None
    for n in numbers:
        same = not {*n.values}.isdisjoint(secret.values)
        if not same and not (size is not None and abs(n.values[0]) == size):
            continue
        if as_written is not None and (n.written.rstrip("%") == secret.written.rstrip("%")) is not as_written:
            continue
        method = "/" in n.written and n.written != secret.written
        if method and known.operands.issuperset(n.written.split("/")):
            continue  # a division of given numbers: a method
        is_known = n.written in known.written or secret.written in known.written
        if counts(secret, known, text, n.start, n.end, is_known):
            return True
    return False


def _units_digit(reading: Reading, secret: Secret, known: Known) -> bool:
    """A one-digit reference as the digit of a place: "units 9"."""
    if not secret.short or secret.written in known.written:
        return False
    return any(m[1] == secret.written for m in _UNITS_DIGIT.finditer(reading.plain))


def _coins(reading: Reading, secret: Secret) -> bool:
    """`12 dollars and 50 cents`."""
    for m in re.finditer(
        r"(?<!\d)(\d{1,15}) (?:dollars?|pounds?|euros?)(?:,? and|,)? (\d{1,2}) (?:cents?|pence|p)\b", reading.in_figures
    ):
        if int(m[1]) + Fraction(int(m[2]), 100) in secret.values:
            return True
    return False


def _in_thousands(reading: Reading, secret: Secret, known: Known) -> bool:
    """`1.711` and `1.711k` for 1711."""
    if secret.integer is None or len(secret.digits) < 4 or secret.written in known.written:
        return False
    if any(1000 * Fraction(m[1]) in secret.values for m in _SHORT.finditer(reading.plain)):
        return True
    return any(
        m[0].replace(".", "") == secret.digits and m[0] not in known.plain for m in _DOTTED.finditer(reading.plain)
    )


def _runs(text: str, found: list[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """Slices of `found` whose digits are separated by nothing but separators."""
    runs, first = [], 0
    for i in range(1, len(found) + 1):
        if i == len(found) or not _BETWEEN_DIGITS.fullmatch(text, found[i - 1][1], found[i][0]):
            runs.append((first, i))
            first = i
    return runs


def _upwards(text: str) -> bool:
    """Whether places are named from the units up."""
    units = min((i for i in (text.find("unit"), text.find("ones")) if i >= 0), default=-1)
    return 0 <= units < (text.find("tens") if "tens" in text else -1)
