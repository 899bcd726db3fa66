r"""Numbers as people and models write them, read whole or not at all: an exact value, and the unit that follows it.

Read are thousands (`1,234` `1 234` `1{,}234` `1\,234`), decimals, `3/4`, `2 1/2`, `¾`, `\frac{3}{4}`, `1.5\times10^8`, `1e6`,
`10³`, per cent, currency before and behind, `3 million`, number words, and a unit of the table below, alone or in a product
(`km/h`, `m/s^2`). Number words and units are by hand. word2number was last released in 2017 and num2words only writes;
the words are one short table. A registry of units (pint, sympy) reads `5 at` as technical atmospheres and fails on `5 apples`,
and takes longer to load than all that is here: what is needed is to know a unit when it is seen, and that 1.5 km are 1500 m.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {word: n for n, word in enumerate(_ONES)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    name + end: n
    for n, name in enumerate("third fourth fifth sixth seventh eighth ninth tenth".split(), 3)
    for end in ("", "s")
}
NUMBER_WORDS = frozenset({*_SMALL, *SCALES, *_PARTS, "minus", "negative"} - {"second", "seconds"})
VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5), "⅘": (4, 5),
    "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")

# -- units: name -> what it measures, and how much of it ---------------------------------------------------------------


def _units(dimension: str, **names: str) -> dict[str, tuple[str, Fraction]]:
    return {
        name: (dimension, Fraction(size))
        for size, all_names in ((key.lstrip("_").replace("p", "/"), value) for key, value in names.items())
        for name in all_names.split()
    }


_LENGTHS = {
    "m": ("m meter meters metre metres", Fraction(1)),
    "cm": ("cm centimeter centimeters centimetre centimetres", Fraction(1, 100)),
    "mm": ("mm millimeter millimeters millimetre millimetres", Fraction(1, 1000)),
    "km": ("km kms kilometer kilometers kilometre kilometres", Fraction(1000)),
    "in": ("in inch inches", Fraction(254, 10000)),
    "ft": ("ft foot feet", Fraction(3048, 10000)),
    "yd": ("yd yds yard yards", Fraction(9144, 10000)),
    "mi": ("mi mile miles", Fraction(1609344, 1000)),
}
UNITS: dict[str, tuple[str, Fraction]] = {
    **{name: ("length", size) for names, size in _LENGTHS.values() for name in names.split()},
    **_units(
        "mass", _1="g gram grams gm", _1000="kg kgs kilogram kilograms kilo kilos", _1p1000="mg milligram milligrams"
    ),
    **_units("pounds", _16="lb lbs", _1="oz ounce ounces"),
    **_units("time", _1="s sec secs second seconds", _60="min mins minute minutes", _3600="h hr hrs hour hours"),
    **_units("time", _86400="day days", _604800="week weeks"),
    **_units("months", _1="month months", _12="year years yr yrs"),
    **_units(
        "volume", _1="l L liter liters litre litres", _1p1000="ml mL milliliter milliliters millilitre millilitres"
    ),
    **_units("gallons", _1="gallon gallons gal"),
    **_units("dollars", _1="$ US$ USD usd dollar dollars buck bucks", _1p100="cent cents ¢"),
    **_units("euros", _1="€ EUR euro euros"),
    **_units("pounds sterling", _1="£ GBP quid"),
    **_units("yen", _1="¥ JPY yen"),
    **_units("rupees", _1="₹ INR Rs Rs. rupee rupees"),
    **_units("degrees", _1="° deg degree degrees"),
    **_units("celsius", _1="°C ℃ celsius Celsius"),
    **_units("fahrenheit", _1="°F ℉ fahrenheit Fahrenheit"),
    "mph": ("length time^-1", Fraction(1609344, 3600000)),
    **dict.fromkeys(("kmh", "kph", "kmph"), ("length time^-1", Fraction(1000, 3600))),
    **_units("clock", _1="am pm a.m. p.m. AM PM a.m p.m"),
    **_units("energy", _1="J joule joules", _1000="kJ kilojoules"),
    **_units("power", _1="W watt watts", _1000="kW kilowatts"),
    **_units("force", _1="N newton newtons"),
    **_units("voltage", _1="V volt volts"),
    **_units("current", _1="A amp amps ampere amperes"),
    **_units("resistance", _1="Ω ohm ohms"),
    **_units("frequency", _1="Hz hertz"),
    **_units("temperature", _1="K kelvin"),
    **_units("pressure", _1="Pa pascal pascals", _1000="kPa"),
    **_units("amount", _1="mol mole moles"),
    **_units("angle", _1="rad radian radians"),
    **_units("", _1="unit units"),
}
_CURRENCY = r"(?:US\$|[$€£¥₹]|Rs\.?|USD|EUR|GBP|INR)"
_DIGITS = r"(?:[0-9]{1,3}(?:(?P<sep>[, ])[0-9]{3}(?:(?P=sep)[0-9]{3})*)(?![0-9])|[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]? ?)(?P<money>{_CURRENCY} ?)?(?P<sign2>[+-]?)"
    rf"(?P<whole>{_DIGITS}(?:\.[0-9]+|\.(?![0-9]))?|\.[0-9]+)"
    r"(?:[eE](?P<e>[+-]?[0-9]{1,3})(?![0-9A-Za-z])| ?(?:[×x*·]) ?10 ?(?:\^"
    r"|\*\*) ?(?P<ten>-?[0-9]{1,3}|\{[+-]?[0-9]{1,3}\}|\([+-]?[0-9]{1,3}\))"
    r"| ?/ ?(?P<over>[0-9]{1,30})(?![0-9.,]*[0-9])| (?:and )?(?P<num>[0-9]{1,9})/(?P<den>[0-9]{1,9})(?![0-9]))?"
)
_FRACTION = re.compile(
    r"(?P<sign>[+-]? ?)(?P<whole>[0-9]{1,30})? ?\\frac ?(?:\{(?P<n>-?[0-9]{1,100})\} ?\{(?P<d>[0-9]{1,100})\}"
    r"|(?P<n1>[0-9])(?P<d1>[0-9]))"
)
_REPEATING = re.compile(
    r"(?P<sign>-?)(?P<whole>[0-9]{1,30})?\.(?P<after>[0-9]{0,30})\\(?:overline|bar) ?\{(?P<again>[0-9]{1,30})\}"
)
_TEN_POWER = re.compile(r"(?P<sign>[+-]?)10 ?(?:\^|\*\*) ?(?:\{(?P<a>-?[0-9]{1,3})\}|(?P<b>-?[0-9]{1,3}))")
_TEN_RAISED = re.compile(r"(?<![\d.])10([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3})")
_UNIT = r"(?:°[CF]?|US\$|[$€£¥₹¢℃℉Ω]|[ap]\.m\.?|[A-Za-z]+\.?)"
_POWER = r"(?: ?(?:\^ ?\{?-?[0-9]\}?|[²³]))?"
_UNIT_EXPRESSION = re.compile(
    rf"(?P<turn>square |cubic |sq\.? |cu\.? )?(?P<first>{_UNIT}{_POWER})(?P<rest>(?: ?(?:/|·|\*| per "
    rf"| a ) ?{_UNIT}{_POWER}){{0,3}})$"
)
_UNIT_FACTOR = re.compile(rf"(?P<by>/|·|\*| per | a |^) ?(?P<name>{_UNIT})(?P<power>{_POWER})")
LONGEST = 200  # characters of a number with its unit: more is no number that a person would write


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that was read whole: `value` exact, `unit` as (dimension, factor to the dimension's own unit) if known.

    `percent`: `value` is in hundredths (75 of 75 %). `decimals`: digits behind the point, -1 where no decimal was written.
    """

    value: Fraction
    unit: tuple[str, Fraction] | None = None
    percent: bool = False
    decimals: int = -1
    plain: bool = True  # digits and nothing to work out: no fraction bar
    named: str = ""  # the word behind the number, where it is no unit of the table


def as_integer(text: str) -> int | None:
    """The integer that `text` is, as a whole (`1,234`, `+7`, `42.0` and surrounding `$` accepted), else None."""
    text = text.strip().strip("$").strip()
    if len(text) > 100 or not re.fullmatch(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.0+)?", text):
        return None
    return int(text.replace(",", "").split(".")[0])


def read_quantity(text: str) -> Quantity | None:
    """The quantity that `text` is from its first to its last character; None where a part would be left over."""
    text = text.strip()
    if not text or len(text) > LONGEST:
        return None
    if text.isdecimal() and text.isascii():
        return Quantity(Fraction(int(text)))
    text = _latex_off(text) if _LATEX.search(text) else text
    number = _leading(text)
    if number is None:
        return _in_words(text)
    quantity, rest = number
    return _with_unit(quantity, rest)


_LATEX = re.compile(r"[\\{}~^%⁰¹²³⁴-⁻]|\s\s|[\t\n]")


def _latex_off(text: str) -> str:
    text = re.sub(r"\{,\}|,\\! ?", ",", text)
    text = re.sub(r"(?<!\\)\\(?:[,;:! ]|q?quad\b|thinspace\b)|~", " ", text)
    text = re.sub(r"\\([%$])", r"\1", text)
    text = re.sub(r" ?\^ ?(?:\\circ\b|\{ ?\\circ ?\})|\\degree\b", "°", text)
    text = re.sub(r"\\[dtc]frac\b", r"\\frac", text)
    text = re.sub(r"\\(?:times|cdot)\b ?", "×", text)
    text = _TEN_RAISED.sub(lambda m: f"10^{{{m[1].translate(SUPERSCRIPTS).lstrip('+')}}}", text)
    return " ".join(text.split())


def _leading(text: str) -> tuple[Quantity, str] | None:
    """The number at the start of the text, and what follows it."""
    if (whole := _bracketed(text)) is not None:
        text = whole
    if "\\" in text and (match := _REPEATING.match(text)):
        before, after, again = match["whole"] or "0", match["after"], match["again"]
        value = Fraction(int(before + after + again) - int(before + after), (10 ** len(again) - 1) * 10 ** len(after))
        return Quantity(-value if match["sign"] else value), text[match.end() :]
    if "\\" in text and (match := _FRACTION.match(text)):
        n, d = (int(match["n"]), int(match["d"])) if match["n"] else (int(match["n1"]), int(match["d1"]))
        if d == 0 or (match["whole"] and not 0 < n < d):
            return None
        value = Fraction(int(match["whole"] or 0)) + Fraction(n, d)
        return Quantity(-value if "-" in match["sign"] else value, plain=False), text[match.end() :]
    if (match := _TEN_POWER.match(text)) and not re.match(r"[0-9.^]", text[match.end() :]):
        value = Fraction(10) ** int(match["a"] or match["b"])
        return Quantity(-value if match["sign"] == "-" else value), text[match.end() :]
    if not text.isascii() and (match := re.match(r"([+-]?) ?([0-9]{0,30}) ?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])", text)):
        value = Fraction(int(match[2] or 0)) + Fraction(*VULGAR[match[3]])
        return Quantity(-value if match[1] == "-" else value, plain=False), text[match.end() :]
    return _decimal(text)


def _decimal(text: str) -> tuple[Quantity, str] | None:
    match = _NUMBER.match(text)
    if not match:
        return None
    digits = match["whole"].replace(",", "").replace(" ", "")
    before, point, after = digits.partition(".")
    decimals = len(after) if point else -1
    value = Fraction(int(before + after), 10 ** len(after)) if after else Fraction(int(before))
    plain = True
    if power := match["e"] or match["ten"]:
        value *= Fraction(10) ** int(power.strip("{}()"))
        decimals = -1
    elif match["over"]:
        if int(match["over"]) == 0 or "." in digits:
            return None
        value, plain = value / int(match["over"]), False
    elif match["num"]:
        num, den = int(match["num"]), int(match["den"])
        if not 0 < num < den or "." in digits:
            return None
        value, plain = value + Fraction(num, den), False
    if "-" in match["sign"] + match["sign2"]:
        value = -value
    if "-" in match["sign"] and match["sign2"]:
        return None
    unit = UNITS.get(match["money"].strip()) if match["money"] else None
    return Quantity(value, unit, decimals=decimals, plain=plain), text[match.end() :]


def _bracketed(text: str) -> str | None:
    """`(-7)` and `(3)/(4)` without their brackets."""
    if not text.startswith(("(", "-(")):
        return None
    if match := re.fullmatch(r"\(([+-]?[0-9.,]{1,40})\)", text):
        return match[1]
    match = re.fullmatch(r"(-?)\(([0-9]{1,30})\) ?/ ?\(?([0-9]{1,30})\)?", text)
    return f"{match[1]}{match[2]}/{match[3]}" if match else None


def _with_unit(quantity: Quantity, rest: str) -> Quantity | None:
    """The quantity with what follows it: nothing, per cent, a scale word, a unit; None where anything else follows."""
    if not rest or rest.isspace():
        return quantity
    value, unit, percent = quantity.value, quantity.unit, False
    rest_after = rest.strip()
    if half := re.match(r"and an? ([a-z]+)\b", rest_after):
        if half[1] not in _PARTS or value.denominator != 1:
            return None
        value, rest_after = value + Fraction(1, _PARTS[half[1]]), rest_after[half.end() :].strip()
    if unit and (short := re.match(r"[kKM](?![A-Za-z])", rest)):  # $70k; without a currency k is a variable
        value, rest_after = value * (10**6 if short[0] == "M" else 1000), rest_after[1:].strip()
    while (word := re.match(r"[a-z]+\b", rest_after)) and word[0].removesuffix("s") in SCALES:
        value, rest_after = value * SCALES[word[0].removesuffix("s")], rest_after[word.end() :].strip()
    if found := re.match(r"%|per ?cent\b|percent\b|percentage points?\b|pct\b", rest_after):
        percent, rest_after = True, rest_after[found.end() :].strip()
    named = ""
    if rest_after:
        if unit is None:
            unit = read_unit(rest_after)
            if unit is None:
                named = _counted(rest_after, glued=rest[:1].isalpha()) or ""
                if not named:
                    return None
        elif (
            not re.fullmatch(
                r"(?:US)?D|dollars?|euros?|[A-Za-z]+(?: [a-z]+){0,3}", rest_after := _PER.sub("per ", rest_after)
            )
            or _counted(rest_after, False) is None
        ):
            return None  # "$5 per day" keeps its currency; anything else is no number
    return Quantity(value, unit, percent, quantity.decimals, quantity.plain, named)


_PER = re.compile(r"\A/ ?(?=[a-z]{3})")
# What may not follow a number as the thing that it counts: it says something about the number instead.
NO_THING = frozenset(
    "is are was were be been being am isn aren wasn weren not no never nor wrong incorrect false right correct times plus minus "
    "divided multiplied than and or but if then so because since as which that however out from over under between versus vs "
    "squared cubed factorial choose mod modulo power to until through half does do did doesn don can cannot could may might must "
    "should would will won has have had equals equal pi sqrt sin cos tan sec csc cot log exp infinity inf theta".split()
)


def _counted(text: str, glued: bool) -> str | None:
    """`clips` of `72 clips`, `dollars per day`: up to five words, none of which says anything about the number."""
    words = text.rstrip(".").split(" ")
    if (
        glued
        or len(words) > 5
        or not all(re.fullmatch(r"[^\W\d_]{3,}(?:[-'][^\W\d_]+)*,?|a|of|in|on|at|to|by", w) for w in words)
    ):
        return None
    lowered = [w.lower().rstrip(",") for w in words]
    return None if any(w in NO_THING or w in NUMBER_WORDS or w.endswith("n't") for w in lowered) else text


def read_unit(text: str) -> tuple[str, Fraction] | None:
    """The unit that `text` is as a whole: its dimension and its size in that dimension's own unit; None if it is none."""
    text = re.sub(r" ?\^ ?", "^", text.strip())
    if text in UNITS:
        return UNITS[text]
    if text.rstrip(".") in UNITS:
        return UNITS[text.rstrip(".")]
    match = _UNIT_EXPRESSION.match(text)
    if not match:
        return None
    powers: dict[str, int] = {}
    size = Fraction(1)
    turned = {"sq": 2, "cu": 3}.get((match["turn"] or "")[:2], 1)
    for factor in _UNIT_FACTOR.finditer(match["first"] + match["rest"]):
        known = UNITS.get(factor["name"]) or UNITS.get(factor["name"].rstrip("."))
        if known is None:
            return None
        digit = re.search(r"-?[0-9]", factor["power"].translate(SUPERSCRIPTS))
        power = (int(digit[0]) if digit else 1) * turned * (-1 if factor["by"] in ("/", " per ", " a ") else 1)
        turned = 1
        powers[known[0]] = powers.get(known[0], 0) + power
        size *= known[1] ** power
    return " ".join(f"{name}^{power}" if power != 1 else name for name, power in sorted(powers.items())), size


def _in_words(text: str) -> Quantity | None:
    """`four hundred and eight`, `minus five`, `three quarters`, `two and a half`, each with a thing counted."""
    words = re.sub(r"-", " ", text.lower().rstrip(".")).replace(",", "").split()
    sign = 1
    if words and words[0] in ("minus", "negative"):
        sign, words = -1, words[1:]
        if words and (number := _leading(" ".join(words))):
            quantity = _with_unit(number[0], number[1])
            return (
                None
                if quantity is None or quantity.value < 0
                else Quantity(-quantity.value, quantity.unit, quantity.percent)
            )
    n, total, group, taken = 0, 0, 0, 0
    while n < len(words):
        word = words[n]
        if (
            word in _SMALL
            and not (taken and group % 10 and group % 100 < 20)
            and not (group % 100 and _SMALL[word] >= 10)
        ):
            if taken and group % 100 in range(1, 20):
                return None
            group += _SMALL[word]
        elif word.removesuffix("s") in SCALES and (taken or word in SCALES):
            scale = SCALES[word.removesuffix("s")]
            group = max(group, 1) * scale if not total or scale < 1000 else group * scale
            if scale >= 1000:
                total, group = total + group, 0
        elif (word == "a" and n + 1 < len(words) and words[n + 1] in SCALES) or (
            word == "and" and taken and n + 1 < len(words) and (words[n + 1] in _SMALL) and (group >= 100 or total)
        ):
            pass
        else:
            break
        n, taken = n + 1, taken + 1
    whole = Fraction(total + group)
    rest = words[n:]
    if rest and (part := rest[0]) in _PARTS and (taken or part in ("half", "quarter")):
        denominator, rest = _PARTS[part], rest[1:]
        return _named(sign * (whole if taken else Fraction(1)) / denominator, rest)
    if taken and rest[:2] == ["and", "a"] and rest[2:3] and rest[2] in _PARTS:
        return _named(sign * (whole + Fraction(1, _PARTS[rest[2]])), rest[3:])
    return _named(sign * whole, rest) if taken else None


def _named(value: Fraction, rest: list[str]) -> Quantity | None:
    return _with_unit(Quantity(value), " " + " ".join(rest) if rest else "")


def same_quantity(given: Quantity, wanted: Quantity) -> bool:
    """Equal values. Per cent are a number's hundredths or a unit left out; two units must measure the same.

    A decimal with at least six places may be the rounded form of the other value (0.333333 of 1/3), no shorter one.
    """
    ours, theirs = given.value, wanted.value
    if given.unit and wanted.unit and given.unit[0] and wanted.unit[0]:
        if given.unit[0] != wanted.unit[0]:
            return False
        ours, theirs = ours * given.unit[1], theirs * wanted.unit[1]
    if given.percent and not wanted.percent:
        return ours == theirs or ours / 100 == theirs
    if wanted.percent and not given.percent:
        return ours == theirs or ours == theirs / 100
    return ours == theirs or _rounded(ours, given.decimals, theirs) or _rounded(theirs, wanted.decimals, ours)


def _rounded(short: Fraction, decimals: int, exact: Fraction) -> bool:
    return decimals >= 6 and abs(short) * 10**decimals >= 10**5 and abs(short - exact) * 2 * 10**decimals <= 1
