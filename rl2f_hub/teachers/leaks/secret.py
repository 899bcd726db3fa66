"""What must not be said, compiled once: `Secret`; and what may be said because it is said already: `Known`.

**Short secrets.** Single digits, single letters, words of at most two letters and the everyday words of `COMMON` occur
in any text. They count only where the words around give them as the answer (`reading.states`).

**What is known.** A number, word or phrase that stands in the question or in an attempt may be mentioned: that is what
feedback is about. Saying that it is the answer is a leak all the same as soon as there is something to choose from: a
student that lists fifty numbers has not found the right one, and a question that shows four options gives none away.
Where a student merely lists candidates, or a question options, speaking of the right one alone is a leak too.
"""

from __future__ import annotations

import base64
import re
from functools import cached_property, lru_cache

from rl2f_hub.teachers.leaks.numerals import canonical, value_of
from rl2f_hub.teachers.leaks.reading import is_label, read, states
from rl2f_hub.verify.grid import Grid, grids

COMMON = frozenset(
    """
    yes no true false even odd none all some any both never always often left right up down north south east west first
    second third last next before after more less most least high low higher lower large small larger smaller bigger equal
    same other another correct wrong answer word letter number digit line step sign order end start middle top bottom side
    one two three four five six seven eight nine ten zero half red blue green white black yellow new old good better best
    bad time day week month year hour minute today monday friday sum product value result question attempt hint try check
    read write think look find give take make use work true possible impossible invalid valid positive negative neutral
    mistake error method rule part place text sentence function list loop input output test case empty string code add
    subtract multiply divide increase decrease greater again close almost near far exact main base point space name
    unknown open closed on off win loss draw tie male female man woman water air light hot cold big long short
    """.split()
)
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SIGNS = {"^": r"(?:\^|\*\*)", ",": r"(?:,\s?(?:and\b|or\b)?|\s?(?:and|or)\b|;)"}
_BETWEEN_WORDS = r"[\W_]+(?:(?:then|next|and then|followed by|after that|finally|lastly)[\W_]+)?"
_CLAUSE_ENDS = re.compile(
    r"[\s\"'*`)\]]*(?:[.,;:!?\n]|\Z|\b(?:because|since|as|and|not)\b)|\s(?:is|was|would|must|has)\b"
)
_OPTION = re.compile(r"^[ \t]*\(?([A-Z])[).:][ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_EQUATION = re.compile(r"\$?\s?[A-Za-z](?:_\w)?\s?=\s?([^=$]+?)\$?")
_FORMULA = re.compile(r"[=+*/^\\<>|{}\[\]_]|\d\s?-|-\s?\d")


class Secret:
    """A reference. `kind`: number | choice | word | phrase | grid | expression. `options` are those of a choice."""

    def __init__(self, reference: str, options: tuple[str, ...] = ()) -> None:
        stated = _EQUATION.fullmatch(reference.strip())  # of "x = 5" the answer is 5
        self.text, self.options = stated[1] if stated else reference.strip(), options
        self.plain = read(self.text).plain
        self.values = value_of(self.plain)
        self.grids: list[Grid] = grids(self.text) if "\n" in self.text else []
        self.kind = self._kind()
        self.words = WORD.findall(self.plain)
        self.written = next(iter(sorted(read(self.text).written)), "") if self.kind == "number" else ""
        self.digits = re.sub(r"\D", "", self.plain) if self.kind == "number" else ""
        self.short = (
            len(self.digits.strip("0")) < 2 and len(self.digits) < 3
            if self.kind == "number"
            else self.kind == "choice" or len(self.plain) <= 2 or self.plain in COMMON
        )

    def _kind(self) -> str:
        if re.fullmatch(r"\(?[A-Z]\)?\.?", self.text):
            return "choice"
        if self.values:
            return "number"
        if self.grids and len(self.grids[0]) > 1:
            return "grid"
        if re.fullmatch(r"[^\W\d_]+(?:['-][^\W\d_]+)*\.?", self.plain):
            return "word"
        return "expression" if _FORMULA.search(self.plain) or not re.search(r"[^\W\d_]{2}", self.plain) else "phrase"

    @property
    def letter(self) -> str:
        return self.text.strip("().")

    @cached_property
    def integer(self) -> int | None:
        value = self.values[0] if self.kind == "number" else None
        return int(value) if value is not None and value.denominator == 1 and len(self.values) == 1 else None

    @cached_property
    def is_long_integer(self) -> bool:
        return self.integer is not None and abs(self.integer) >= 100

    @cached_property
    def base64(self) -> str:
        """The part of its code in base64 that does not depend on what follows."""
        code = base64.b64encode(self.text.encode()).decode()
        return code[: len(self.text.encode()) * 8 // 6]

    @cached_property
    def literal(self) -> re.Pattern[str]:
        return whole(re.escape(self.text.casefold()))

    @cached_property
    def loose(self) -> re.Pattern[str]:
        """Its normal spelling in a normalised text: words with anything but words between, formulas with any spacing."""
        if self.kind in ("word", "phrase"):
            return whole(_BETWEEN_WORDS.join(map(re.escape, self.words)) or re.escape(self.plain))
        bare = re.sub(r"[\s{}]|(?<!\*)\*(?!\*)", "", self.plain.replace("**", "^"))
        if "," in bare and re.fullmatch(r"[\[(].*[\])]", bare):
            bare = bare[1:-1]  # a list may stand without its brackets
        signs = (_SIGNS.get(c) or re.escape(c) for c in bare)
        return re.compile(
            r"(?<![\w.^])(?<!\*\*)" + r"[\s*{}]*?".join(signs) + r"(?![\w^]|\.\d|\s?\*\*|\s?[-+*/]\s?[\w(])"
        )


@lru_cache(maxsize=8192)
def secret_of(reference: str, options: tuple[str, ...] = ()) -> Secret:
    return Secret(reference, options)


def whole(pattern: str) -> re.Pattern[str]:
    """The pattern where no letter or digit goes on before or after it."""
    return re.compile(rf"(?<![^\W_])(?<!\d\.){pattern}(?![^\W_]|\.\d)")


@lru_cache(maxsize=2048)
def options_in(question: str) -> tuple[str, ...]:
    """The options that a question lists, `(A) ...` or `A. ...` a line; nothing where they do not begin with A."""
    found = _OPTION.findall(question)
    return tuple(text for _, text in found) if len(found) > 1 and found[0][0] == "A" else ()


class Known:
    """The question and the attempts, as one."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.readings = [read(text) for text in texts]

    @cached_property
    def written(self) -> frozenset[str]:
        return frozenset().union(*(r.written for r in self.readings))

    @cached_property
    def operands(self) -> frozenset[str]:
        """The numbers that may be calculated with: those written, and the parts of fractions."""
        return self.written | {canonical(d) for w in self.written for d in re.findall(r"\d+(?:\.\d+)?", w)}

    @cached_property
    def plain(self) -> str:
        return "\n".join(r.plain for r in self.readings)

    @cached_property
    def raw(self) -> str:
        return "\n".join(r.raw for r in self.readings)

    @cached_property
    def squeezed(self) -> str:
        return "\n".join(r.squeezed for r in self.readings)


@lru_cache(maxsize=512)
def known_of(texts: tuple[str, ...]) -> Known:
    return Known(texts)


def counts(secret: Secret, known: Known, text: str, start: int, end: int, is_known: bool) -> bool:
    """Whether what stands at `text[start:end]` (lower case) is a leak, as the module says."""
    if secret.short and secret.kind == "word" and not _CLAUSE_ENDS.match(text, end):
        return False  # "there is no need to": an everyday word is an answer only where its clause ends
    if is_known:
        alone = secret.kind == "number" and len(known.written) < 2
        return not alone and states(text, start, end, strict=secret.kind == "number")
    if secret.short:
        if secret.kind == "number" and (is_label(text, start) or _is_example(text, start, known)):
            return False
        return states(text, start, end) or (secret.kind == "number" and _ends_a_clause(text, start, end))
    return not (
        secret.kind == "number" and len(secret.digits) < 4 and secret.integer is not None and is_label(text, start)
    )


def _is_example(text: str, start: int, known: Known) -> bool:
    """Whether the number at `start` is the result of a calculation with numbers of nobody's: `say 2 * 3 = 6`."""
    made = re.search(r"(?:\d+(?:\.\d+)?\s?[-+*/x×]\s?)+\d+(?:\.\d+)?\s?=\s?\Z", text[max(0, start - 40) : start])
    return made is not None and not known.operands.issuperset(map(canonical, re.findall(r"\d+(?:\.\d+)?", made[0])))


_LEADS_ON = re.compile(
    r"\b(?:by|to|into|of|from|with|than|on|in|at|for|and|or|the|not|n't|never|no|used?|have|has|had|add|subtract|carry|"
    r"multiply|divide|about|after|before|between|over|under|above|below|if|were|wrote|said|why|only|first|last|next|another)\W*\Z"
)


def _ends_a_clause(text: str, start: int, end: int) -> bool:
    """Whether a clause ends in the number, after a word that does not make it a means or a count: "that makes it 7."."""
    if not re.match(r"[\"'*`)\]]*(?:[.!;]|,\s|\Z)(?!\d)", text[end : end + 6]) or _LEADS_ON.search(text[:start][-20:]):
        return False
    return not re.search(r"\b(?:not|n't|never|neither|nor|cannot|wrong)\b[^.!?;]{0,40}\Z", text[:start][-60:])
