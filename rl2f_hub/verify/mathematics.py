r"""Verifier `math`: equality of numbers by exact arithmetic (`quantity.py`), of everything else by math-verify.

Both sides are read whole or not at all. A side is a quantity, words (`\text{even}`), a time or ratio (`2:30`), or a formula.
Formulas are parsed by latex2sympy, the parser of math-verify, which raises where a part is left over; math-verify's own `parse`
then looks for any number in the text, so that `1+\frac{1}{\mathrm{e}}` equals `1-\frac{1}{\mathrm{e}}`. Where the answer
stands is decided by `answer.py` and `values.py`, for the same reason. Runs in the time-limited child: symbolic equivalence can
take for ever.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.answer import marked_place, plain_characters, read, unwrap
from rl2f_hub.verify.base import Verifier
from rl2f_hub.verify.exact import plain, read_choice, same_text
from rl2f_hub.verify.magnitude import is_too_large
from rl2f_hub.verify.quantity import (
    SUPERSCRIPTS,
    VULGAR,
    Quantity,
    read_quantity,
    read_unit,
    same_quantity,
)
from rl2f_hub.verify.values import FUNCTIONS, pick

MAX_ANSWER = 2_000  # characters of an answer that symbolic algebra is asked about
DIGITS = 30  # significant ones to which two constants must agree


@dataclass(frozen=True, slots=True)
class Formula:
    """A side that was read whole. `text` is what was read; one of `quantity` and `parsed` (a sympy object) is there."""

    text: str
    quantity: Quantity | None = None
    parsed: Any = None
    name: str = ""  # the left side of `name = ...`, which an answer may leave out


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference that was read whole: of the `kind` formula, words, letter or ratio."""

    kind: str
    text: str
    formula: Formula | None = None


def mathematics(task: Task, attempt: str) -> Verdict:
    """Right when what the attempt commits to is equal to the reference."""
    wanted = reference_of(task.privilege.reference)
    if wanted.kind == "letter":
        reading = read_choice(attempt)
        return _verdict(reading.answer == wanted.text, reading.answer, reading.reason)
    if wanted.kind == "words":
        known = plain(wanted.text)
        spellings = {known, known.removesuffix("s"), known + "s"} if known.startswith("no ") else {known}
        return same_text(attempt, spellings, question=task.prompt)
    if wanted.kind == "ratio":
        attempt = re.sub(r"(?<=\d)\s?:\s?(?=\d)", ":", attempt)
        if not wanted.text.endswith(("m", "M", ".")):  # the half of the day is the question's
            attempt = re.sub(r"(?<=:\d\d) ?(?:[ap]\.m\.|[ap]m\b)", "", attempt, flags=re.IGNORECASE)
        reading = read(attempt, lambda place: pick(place, _ratio))
        return _verdict(reading.answer == plain(wanted.text), reading.answer, reading.reason)
    reading = read(attempt, lambda place: pick(place, readable))
    if reading.answer is None:
        return _verdict(False, None, reading.reason or "no mathematical answer in the attempt")
    given = formula_of(reading.answer)
    assert given is not None and wanted.formula is not None
    return _verdict(equal(given, wanted.formula), reading.answer)


def _verdict(correct: bool, answer: str | None, reason: str = "") -> Verdict:
    said = "mathematically equal to the reference" if correct else reason or "not equal to the reference"
    return Verdict(correct, float(correct), answer, said)


def check_mathematics(task: Task) -> None:
    """Raises ValueError when the reference cannot be read whole."""
    reference_of(task.privilege.reference)


def readable(text: str) -> str | None:
    """The stretch itself where it can be read whole."""
    return text if len(text) <= MAX_ANSWER and formula_of(text) is not None else None


# -- reading -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def reference_of(reference: str) -> Reference:
    r"""The reference read whole: bare LaTeX (MATH), in delimiters or a box, or the answer behind GSM8K's `####`.

    Raises:
        ValueError: it is no number, formula, word, letter or ratio as a whole.
    """
    shown = reference
    if "####" in reference:
        reference = reference.rsplit("####", 1)[-1]
    text = plain_characters(reference).strip()
    if "boxed" in text and (place := marked_place(text)):
        text = place.text
    bare = unwrap(text)
    if re.fullmatch(r"\(?[A-Z]\)|\(?[A-Z]\)?", bare) and (bare.startswith("(") or "\\text" in text):
        return Reference("letter", bare.strip("()"))
    if ratio := _ratio(bare):
        return Reference("ratio", ratio)
    if _is_words(bare):
        return Reference("words", bare)
    formula = formula_of(bare)
    if formula is None and re.fullmatch(r"[^\W\d_]{3,}(?:[ ,.'-]{1,2}\w+){0,3}", bare):  # July 4
        return Reference("words", bare)
    if formula is None:
        raise ValueError(f"reference {shown[-60:]!r} is no mathematical answer that can be read as a whole")
    return Reference("formula", bare, formula)


_RATIO = re.compile(
    r"\d{1,4}(?: ?: ?\d{1,4}){1,3}(?: ?[ap]\.?m\.?)?|\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/\d{4}", re.IGNORECASE
)


def _ratio(text: str) -> str | None:
    """A ratio, time or date as a whole, in the form that is compared; None for anything else."""
    text = unwrap(text).split("=")[-1].strip()
    return plain(re.sub(r"\s?:\s?", ":", text)) if _RATIO.fullmatch(text) else None


def _is_words(text: str) -> bool:
    """Words and no formula: letters only, with a word of at least three (`even`, `no solution`), none of them a number."""
    words = re.findall(r"[^\W\d_]+", text)
    if not words or not re.fullmatch(r"[^\W\d_][^\W\d_ ,.'-]*(?:[ ,.'-]+[^\W\d_]+)*\.?", text):
        return False
    if any(word in FUNCTIONS for word in words) or read_quantity(text) is not None:
        return False
    return max(map(len, words)) >= 3 or text.lower() in ("no", "up", "on", "in")


@lru_cache(maxsize=4096)
def formula_of(text: str) -> Formula | None:
    """The text read whole as a quantity or a formula; None where it cannot."""
    text = " ".join(plain_characters(unwrap(text)).split())
    if quantity := read_quantity(text):
        return Formula(text, quantity)
    name = ""
    if assigned := re.fullmatch(
        r"((?:\\?[A-Za-z]+|[∠θ])(?:_\{?\w+\}?)?(?:\([A-Za-z]\))?)\s?(?:=|≈|\\approx(?![a-z])|\\in(?![a-z])|∈|:(?=\s?\d))\s?(.+)",
        text,
        re.DOTALL,
    ):
        rest = assigned[2]
        if not re.search(r"[,;=]|\b(?:or|and)\b", _without_groups(rest)):
            name, text = assigned[1], rest.strip()
            if quantity := read_quantity(text):
                return Formula(text, quantity, name=name)
    text = re.sub(r"^(?:≈|~|\\approx(?![a-z])|\\sim(?![a-z])|=)\s?", "", text)
    if quantity := read_quantity(text):
        return Formula(text, quantity, name=name)
    if "," in text and not re.search(r"[(\[{]", text) and re.search(r"[-+*/=×]", text):
        text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    parsed = _parsed(text)
    if parsed is None:
        sides = re.split(r"(?<![<>!:\\])=(?!=)|≈|\\approx(?![a-z])", text)
        if len(sides) > 1 and not re.search(r"[,;]|\b(?:or|and)\b", text):  # a calculation whose result has a unit
            return (
                formula_of(sides[-1])
                if sides[-1].strip() and all(_parsed(_without_unit(s)) is not None for s in sides[:-1])
                else None
            )
        return None
    return Formula(text, parsed=parsed, name=name)


_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")


def _without_groups(text: str) -> str:
    """The text outside its brackets."""
    out, depth = [], 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if depth <= 0:
            out.append(c)
    return "".join(out)


_WRITTEN = [
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"<=|≤|⩽"), r"\\le "),
    (re.compile(r">=|≥|⩾"), r"\\ge "),
    (re.compile(r"!=|≠"), r"\\ne "),
    (re.compile(r"∞|\boo\b|\binfinity\b|(?<!\\)\binf\b"), r"\\infty "),
    (re.compile(r"π|(?<![A-Za-z\\])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<!\\)\btheta\b|θ"), r"\\theta "),
    (re.compile(r"·|\*"), r"\\cdot "),
    (re.compile(r"×"), r"\\times "),
    (re.compile(r"÷"), "/"),
    (re.compile(r"∪"), r"\\cup "),
    (re.compile(r"∈"), r"\\in "),
    (re.compile(r"±|\+/-|\+-"), r"\\pm "),
    (re.compile(r"√ ?\(([^()]{1,60})\)|√ ?(\d+(?:\.\d+)?|[a-z])"), r"\\sqrt{\1\2}"),
    (re.compile(r"√ ?\{"), r"\\sqrt{"),
    (re.compile(r"\\sqrt ?\(([^()]{1,60})\)|(?<![A-Za-z\\])sqrt ?\(([^()]{1,60})\)"), r"\\sqrt{\1\2}"),
    (re.compile(r"(?<![A-Za-z\\])sqrt ?(?=\{|\d)"), r"\\sqrt "),
    (
        re.compile(
            r"(?<![A-Za-z\\])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|sec|csc|cot|log|ln|exp)(?![A-Za-z])"
        ),
        r"\\\1 ",
    ),
    (re.compile(r"\btimes\b|\bmultiplied by\b"), r"\\times "),
    (re.compile(r"\bdivided by\b"), "/"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b"), "-"),
    (re.compile(r"\bsquared\b"), "^2"),
    (re.compile(r"\bcubed\b"), "^3"),
    (re.compile(r"\bfactorial\b"), "!"),
    (re.compile(r"\{,\}|,\\! ?"), ","),
    (re.compile(r"(?<!\\)\\(?:[,;:! ]|q?quad(?![a-z]))|~"), " "),
    (re.compile(r"(?<=\d)[eE](?=[+-]?\d)"), r"\\cdot 10^"),
    (re.compile(r"\^ ?(?:\\circ(?![a-z])|\{\\circ\})|°|\\degree"), ""),
    (re.compile(r"(?<=\d) (?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<![\d.])(\d{1,9}) (\d{1,9})/(\d{1,9})(?!\d)"), r"\1\\frac{\2}{\3}"),
    (re.compile(r"\\emptyset|∅|\\varnothing"), r"\\emptyset "),
    (re.compile(r"\\dfrac|\\tfrac|\\cfrac"), r"\\frac"),
]
_COMMAND = re.compile(r"\\(?:begin|end)\{\w+\}|\\[A-Za-z]+(?:_(?:\w|\{\w+\}))?")
_SIDE_BY_SIDE = re.compile(r"\d\s+\d|[^\W\d_]{3,}")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_TRAILING_UNIT = re.compile(
    r"(?:(?<=[\d})π!])|(?<=\\pi)) ?(?P<unit>(?:square |cubic |sq\.? |cu\.? )?"
    r"[A-Za-z°$€£¥₹%][A-Za-z.]*(?:[ ^{}²³/*·0-9-]|[A-Za-z])*)$"
)
_EXPONENT = re.compile(r"\^ ?\(([^()]{1,60})\)")


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Any:
    """The text as a sympy object, parsed from its first to its last character; None where it is no formula."""
    if len(text) > MAX_ANSWER or is_too_large(text):
        return None
    if (either := _EITHER.split(text))[1:]:
        return _union([_sympy(_latex(side)) for side in either])
    written = _latex(_without_unit(text))
    if _SIDE_BY_SIDE.search(_COMMAND.sub("@", written)):
        return None  # numbers side by side, and words, are no product
    parts = _assignments(written)
    if parts is not None:
        return parts
    pair = _pair(written)
    found = pair if pair is not None else _sympy(written)
    return None if found is not None and _is_empty(found) and "emptyset" not in written else found


_EITHER = re.compile(r"(?<=\w) ?(?:\\text ?\{ ?or ?\}|\\lor\b|\bor\b) ?(?=[^<>≤≥]{1,20}(?:[<>≤≥]|\\[lg]e))")


def _union(sides: list[Any]) -> Any:
    """`x < -2 or x > 2` as the set of the numbers that solve one of the sides; None for what is no such list."""
    from sympy import Union
    from sympy.core.relational import Relational

    if not all(isinstance(side, Relational) and len(side.free_symbols) == 1 for side in sides):
        return None
    if len({x for side in sides for x in side.free_symbols}) != 1:
        return None
    try:
        return Union(*(side.as_set() for side in sides))
    except NotImplementedError:  # sin(x) > 0
        return None


def _pair(written: str) -> Any:
    """`(2, -1)` as a tuple, which the parser reads as an interval with nothing in it; None for what may be an interval."""
    match = re.fullmatch(r"(?:\\left)?([(\[])(.+)(?:\\right)?([)\]])", written)
    pieces = _split(match[2]) if match else []
    if match is None or len(pieces) != 2:
        return None
    from sympy import Symbol, Tuple

    first, second = map(_sympy, pieces)
    if first is None or second is None or not (first - second).is_nonnegative:
        return None
    if (match[1], match[3]) == ("(", ")"):
        return Tuple(first, second)
    return Tuple(Symbol(match[1]), first, second, Symbol(match[3]))


def _is_empty(found: Any) -> bool:
    from sympy import Set

    return isinstance(found, Set) and found.is_empty is True


def _without_unit(text: str) -> str:
    """The formula without a unit of the table behind it (`2\\pi cm`), single letters aside: those are variables."""
    match = _TRAILING_UNIT.search(text)
    if not match or "\\" in match["unit"]:
        return text
    unit = match["unit"].strip()
    if len(unit) > 1 and read_unit(unit) is not None and unit not in ("mi", "in"):
        return text[: match.start()]
    words = unit.split(" ")
    known = all(re.fullmatch(r"[A-Za-z]{3,}", w) for w in words) and len(words) < 4
    return text[: match.start()] if known and not any(w in FUNCTIONS or w in _OPERATING for w in words) else text


_OPERATING = frozenset("times plus minus divided multiplied squared cubed factorial and mod choose infinity".split())


def _latex(text: str) -> str:
    text = _SUPERSCRIPT.sub(lambda m: f"^{{{m[0].translate(SUPERSCRIPTS)}}}", text)
    for char, (n, d) in VULGAR.items():
        if char in text:
            text = text.replace(char, rf"\frac{{{n}}}{{{d}}}")
    for pattern, replacement in _WRITTEN:
        text = pattern.sub(replacement, text)
    text = _EXPONENT.sub(r"^{\1}", text)
    text = re.sub(r",?\s+(?:or|and)\s+", ", ", text)
    text = re.sub(r"^\s*(\\(?:le|ge|ne|leq|geq|neq)(?![a-z])|<|>)", r"x \1", text)
    return text.strip()


def _assignments(written: str) -> Any:
    """`x = 3, y = 4` as the tuple (3, 4), `x = 1, x = -2` as a set; None for anything else."""
    if "=" not in written:
        return None
    pieces = _split(written)
    pairs = [re.fullmatch(r"\s*([A-Za-z](?:_\{?\w\}?)?)\s*=(.+)", piece) for piece in pieces]
    if len(pieces) < 2 or not all(pairs):
        return None
    from sympy import FiniteSet, Tuple

    named = [(pair[1], _sympy(pair[2])) for pair in pairs if pair]
    if any(value is None for _, value in named):
        return None
    names = [name for name, _ in named]
    letters = {re.sub(r"_.*", "", name) for name in names}
    if len(letters) == 1:  # x = 1 or x = -2, or x_1 = 1, x_2 = -2: solutions for one unknown
        return FiniteSet(
            *(part for _, value in named for part in (value.args if isinstance(value, FiniteSet) else [value]))
        )
    return (
        Tuple(*(value for _, value in sorted(named, key=lambda pair: pair[0])))
        if len(set(names)) == len(names)
        else None
    )


def _split(text: str) -> list[str]:
    """The pieces of a list, at the commas and semicolons outside brackets."""
    out, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c in ",;" and depth == 0 and not (text[i - 1 : i].isdigit() and re.match(r",\d{3}(?!\d)", text[i:])):
            out.append(text[start:i])
            start = i + 1
    return [*out, text[start:]]


def _sympy(written: str) -> Any:
    from latex2sympy2_extended.latex2sympy2 import NormalizationConfig, latex2sympy, normalize_latex
    from math_verify.grader import should_treat_as_complex

    config = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
    )
    try:
        normal = normalize_latex(written, config)
        return latex2sympy(
            normal, is_real=not should_treat_as_complex(normal), convert_degrees=False, normalization_config=None
        )
    except MemoryError:
        raise
    except Exception:  # a parser of model text: whatever it raises, the text is no formula
        return None


# -- comparing ---------------------------------------------------------------------------------------------------------


def equal(given: Formula, wanted: Formula) -> bool:
    """Whether two sides that were read whole are equal."""
    if given.name and wanted.name and given.name != wanted.name and len(given.name) == len(wanted.name) == 1:
        return False
    if given.quantity and wanted.quantity:
        return same_quantity(given.quantity, wanted.quantity)
    forms = [(_form(given), _form(wanted))]
    if given.quantity and given.quantity.percent and wanted.parsed is not None:
        forms.append((_number(given.quantity.value / 100), wanted.parsed))
    if any(_equal(a, b) for a, b in forms):
        return True
    if bool(given.name) != bool(wanted.name) and (given.name or wanted.name) in ("x", "y", "z", "f(x)", "y(x)"):
        named, other = (given, wanted) if given.name else (wanted, given)
        whole = _parsed(f"{named.name} = {named.text}")  # y = 2x + 3 and 2x - y + 3 = 0
        return whole is not None and _equal(*((whole, _form(other)) if given.name else (_form(other), whole)))
    return False


def _form(formula: Formula) -> Any:
    return (
        formula.parsed if formula.parsed is not None else _number(formula.quantity.value) if formula.quantity else None
    )


def _number(value: Any) -> Any:
    from sympy import Rational

    return Rational(value.numerator, value.denominator)


def _equal(given: Any, wanted: Any) -> bool:
    from math_verify import verify
    from sympy import Expr, Float, MatrixBase, Rational, nan, oo, zoo

    if isinstance(given, Expr) and isinstance(wanted, Expr) and not given.free_symbols and not wanted.free_symbols:
        given, wanted = (x.xreplace({f: Rational(str(f)) for f in x.atoms(Float)}) for x in (given, wanted))
        if given.has(zoo, nan) or wanted.has(zoo, nan):
            return False
        if oo in (given, wanted) or -oo in (given, wanted):
            return given == wanted
        a, b = given.evalf(DIGITS), wanted.evalf(DIGITS)
        if a.is_number and b.is_number and not a.has(zoo, nan) and not b.has(zoo, nan):
            near = abs(a - b) <= Rational(1, 10 ** (DIGITS - 8)) * max(abs(a), abs(b))
            if near not in (True, False) or not near:
                return False
            difference = (given - wanted).doit()  # 10^100 and 10^100 + 1 agree to thirty digits
            return difference == 0 if difference.is_Rational else True
    given, wanted = (x.as_immutable() if isinstance(x, MatrixBase) else x for x in (given, wanted))
    constant = not (given.free_symbols or wanted.free_symbols)  # at 15 digits 1/2^98 and 1/2^99 are both 0
    return bool(
        verify(
            [wanted],
            [given],
            numeric_precision=100 if constant else 15,
            allow_set_relation_comp=True,
            timeout_seconds=None,
        )
    )


MATH = Verifier(
    mathematics,
    check_mathematics,
    right_attempt=lambda task: task.privilege.reference.rsplit("####", 1)[-1].strip(),  # GSM8K's is a worked solution
    limited=True,
)
