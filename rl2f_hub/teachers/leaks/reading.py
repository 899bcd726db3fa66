r"""A text as the detectors read it: normalised once, kept for all forms.

`Reading.plain` is the text in lower case with compatibility characters, invisible characters, LaTeX wrappers, bold marks,
thousands separators and runs of white space evened out. `Reading.figures` has number words as figures besides.
`states(text, start, end)` says whether the words around a place give what stands there as the answer.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cached_property, lru_cache
from urllib.parse import unquote

from rl2f_hub.teachers.leaks.numerals import NUMBER_WORDS, Figure, figures, in_figures

MAX_CHARS = 50_000  # of a feedback that are read: a teacher's words are no book
_WRAPPER = re.compile(r"\\(?:boxed|fbox|text|textbf|mathrm|mathbf|operatorname|displaystyle)\s?\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\s?(?:\{([^{}]*)\}|(\d))\s?(?:\{([^{}]*)\}|(\d))")
_SPACING = re.compile(r"\\(?:[,;:! ]|left|right|quad|displaystyle|[()\[\]])")
_SUPERSCRIPTS = str.maketrans(
    {c: f"^{d}" for d, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | {"−": "-", "–": "-", "’": "'", "‘": "'", "“": '"', "”": '"'}
)
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―⁃﹘﹣－⸺⸻᠆־"), "-") | {
    0x2215: "/",
    0x2044: "/",
    0x29F8: "/",
    0xFF5C: "|",
    0x2223: "|",
}
# Letters of other scripts that look like ours. They are read as ours in texts that are mostly in ours.
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһԛԝѵʏɡıАВЕКМНОРСТУХІЈЅԌԚԜαορυνικτΑΒΕΖΗΙΚΜΝΟΡΤΥΧոսօց",
    "aeopcyxijsdhqwvygiABEKMHOPCTYXIJSGQWaopuviktABEZHIKMNOPTYXnuog",
)
_FOREIGN = re.compile(r"[\u0370-\u03ff\u0400-\u052f\u0530-\u058f\u0250-\u02af\u0131]")
_INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, 0xFEFF, 0xFE0F, 0x20E3])
_AFTER_DIGIT = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")  # 1½ is no 11/2
_EUROPEAN = re.compile(r"(?<![\d.,])(\d{1,3})((?:\.\d{3}){1,6}),(\d{1,4})(?![\d,.]*\d)")  # 1.711,00
_THOUSANDS = re.compile(r"(?<=\d)[,_ '](?=\d{3}(?!\d))")
_BOLD = re.compile(r"(?<![\w)])(\*\*|__|`{1,3})(?=\S)(.{1,200}?)(?<=\S)\1")
_LETTERS = re.compile(r"[a-z]+")
_NOT_SIMPLE = re.compile(r"\d\S?\d|[^\x00-\x7f]|[\\&%$=+/*^_`]|[A-Za-z][A-Z0-9]|\d[A-Za-z]")
# Words with which numbers are said, calculated or bounded.
BOUNDS = frozenset(
    "between more greater larger bigger higher above over less smaller lower fewer below under right just directly immediately "
    "straight follows succeeds precedes successor predecessor next last".split()
)
_SPOKEN = (
    NUMBER_WORDS | (BOUNDS - {"right"}) | frozenset("times plus minus multiplied divided squared cubed roman".split())
)


class Reading:
    """One text; made by `read`, which keeps the latest ones."""

    def __init__(self, text: str) -> None:
        self.raw = text[:MAX_CHARS]

    @cached_property
    def plain(self) -> str:
        text = self.raw
        if not text.isascii():
            text = _AFTER_DIGIT.sub(" ", text)
            text = unicodedata.normalize("NFKC", text.translate(_SUPERSCRIPTS).translate(_DASHES)).translate(_INVISIBLE)
            text = text.replace("\u2044", "/")  # of ⅜
            text = _WORDS.sub(_in_latin, text) if _FOREIGN.search(text) else text
            text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
        if "&#" in text:
            text = html.unescape(text)
        if "%" in text and re.search(r"(?:%[0-9a-fA-F]{2}){2}", text):
            text = unquote(text, errors="replace")
        if "\\" in text:
            for _ in range(4):  # \boxed{\text{...}}: wrappers stand in each other, but not deeply
                before, text = text, _WRAPPER.sub(r" \1 ", text)
                text = _FRACTION.sub(lambda m: f" {_grouped(m[1] or m[2])}/{_grouped(m[3] or m[4])} ", text)
                if text == before:
                    break
            text = _SPACING.sub("", text.replace("\\cdot", "*").replace("\\times", "*").replace("\\%", "%"))
            text = text.replace("\\$", "$")
        if "*" in text or "`" in text or "__" in text:
            text = _BOLD.sub(r"\2", text)
        text = " ".join(text.replace("$", " ").split()).casefold()
        if "minus" in text or "negative" in text:
            text = re.sub(r"\b(?:minus|negative) (?=\d)", "-", text)
        text = _EUROPEAN.sub(lambda m: f"{m[1]}{m[2].replace('.', '')}.{m[3]}", text)
        return _THOUSANDS.sub("", text)

    @cached_property
    def letters(self) -> frozenset[str]:
        """The words of the text, in lower case."""
        return frozenset(_LETTERS.findall(self.plain))

    @cached_property
    def is_simple(self) -> bool:
        """Whether no number of three digits or more can stand in it, except digit by digit. Most replies are so."""
        return not _NOT_SIMPLE.search(self.raw) and _SPOKEN.isdisjoint(_LETTERS.findall(self.raw.lower()))

    @cached_property
    def in_figures(self) -> str:
        return self.plain if self.letters.isdisjoint(NUMBER_WORDS) else _THOUSANDS.sub("", in_figures(self.plain))

    @cached_property
    def numbers(self) -> list[Figure]:
        return figures(undated(self.plain))

    @cached_property
    def spoken_numbers(self) -> list[Figure]:
        """The numbers of `in_figures`; none where no number is in words."""
        return [] if self.in_figures is self.plain else figures(undated(self.in_figures))

    @cached_property
    def written(self) -> frozenset[str]:
        """How the numbers of the text are written, figures and words alike, without frills."""
        return frozenset(n.written for n in (*self.numbers, *self.spoken_numbers))

    @cached_property
    def squeezed(self) -> str:
        """`plain` without white space, multiplication signs, braces and brackets: formulas and lists compare by it."""
        return squeeze(self.plain)

    @cached_property
    def squeezed_words(self) -> list[str]:
        """The pieces of `plain` between spaces, each squeezed."""
        return [squeeze(piece) for piece in self.plain.split()]


@lru_cache(maxsize=512)
def read(text: str) -> Reading:
    return Reading(text)


def squeeze(plain: str) -> str:
    return re.sub(r"[\s{}\[\]\"'`]|(?<!\*)\*(?!\*)", "", plain.replace("**", "^"))


_WORDS = re.compile(r"\w+")


def _in_latin(m: re.Match[str]) -> str:
    """A word with its lookalikes read as Latin, where that makes all of it Latin."""
    turned = m[0].translate(_LOOKALIKES)
    return turned if turned.isascii() else m[0]


def _grouped(text: str) -> str:
    return text if re.fullmatch(r"\w*", text) else f"({text})"


def upright(text: str) -> str:
    """The text with circled, wide and lookalike letters as plain ones, in their case."""
    return _WORDS.sub(_in_latin, unicodedata.normalize("NFKC", text))


def undated(text: str) -> str:
    """Dates and times are no numbers: blanked, place by place."""
    if "-" in text or ":" in text:
        text = re.sub(r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}:\d\d\b", lambda m: "x" * len(m[0]), text)
    return text


# -- does a place give what stands there as the answer? ----------------------------------------------------------------

# Words after which an answer is given. "you got" speaks of the student's own.
_GIVES = (
    r"is|are|was|were|be|been|equals?|equal to|becomes?|gets?|yields?|makes?|"
    r"(?<!question )(?<!text )gives?(?: you)?|reads?|says?|say|writes?|written|"
    r"comes? (?:out )?(?:to|as|at)|works? out (?:to(?: be)?|as|at)|arrives? at|ends? up (?:with|at)|leads? to|results? in|"
    r"evaluates? to|amounts? to|totals?|sums? (?:up )?to|simplif(?:y|ies) to|reduces? to|corresponds? to|"
    r"put|enter|type|submit|answer|reply(?: with)?|respond(?: with)?|choose|chosen|pick|select|goes with|go (?:with|for)|"
    r"(?<!you )(?:got|said|wrote|found|computed|calculated|counted|obtained|answered|chose|picked)|"
    r"(?:replace|change) .{1,40}? (?:by|with|to|for|into)|expect(?:ed|s|ing)?|looking for|look for|wanted|"
    r"right|correct|correctly|solution|result|reference|key|called|means?|actual|truth|spoiler|hint|final|"
    r"return(?:s|ed)?|outputs?|prints?|boxed|definitely|surely|certainly|obviously|clearly|"
    r"make it|meant|accept(?:ed|s)?|(?:book|sheet|key|list|solution) (?:has|lists|gives)|"
    r"'s|=>?|->|→"
)
_INSTRUCTS = r"try|use|take|need|want|so|hence|thus|settle on|stick with|stay with|go back to|keep"
_FILLER = (
    r"(?:(?:the|an?|just|simply|exactly|only|indeed|really|actually|clearly|therefore|then|now|in fact|of course|here|there|"
    r"in the end|number|option|choice|letter|answer|word|value|figure|that|in|by|to|digits?|result|solution|equal to|called|it)"
    r"\b[\s:,]*)*"
)
_OPEN = r"[\s:=,\"'(\[{`*_\\>-]*"
_NOT = r"(?<!n't )(?<!not )(?<!never )(?<!than )(?<!no )"


def _cues(words: str) -> re.Pattern[str]:
    start = rf"(?:^|{_NOT}(?<![\w-])|(?=[=-]>|→|'s|=))"
    return re.compile(rf"{start}(?:{words}){_OPEN}{_FILLER}[\s:\"'(\[{{`*_\\-]*\Z")


_BEFORE = {True: _cues(_GIVES), False: _cues(f"{_GIVES}|{_INSTRUCTS}")}
_CLOSE = r"[\s\"')\]}`*_.,:]*"
_AFTER = re.compile(
    rf"{_CLOSE}(?:(?:of course|obviously|exactly|instead|it is|that's it|that is it|done|works|will do|does it|solves it|wins|"
    r"fits|is fine|is it)\b|"
    r"(?:is|was|were|would be|would have been|'s|must be|has to be|fits)\s+"
    r"(?:indeed |of course |really |obviously |in fact |just )?(?:the )?"
    r"(?:right|correct|true|answer|solution|result|one\b|expected|it\b|what ))"
)
# What stands after a number or letter that is judged wrong, calculated with, or counted with.
_DENIED = re.compile(
    rf"{_CLOSE}(?:(?:is|was|are|would be|'s|comes|looks|seems)?\s*(?:also |still |far |even |just |only |much )*"
    r"(?:not\b|n't\b|wrong|too\b|incorrect|false|off\b|either|no good|cannot|can't|or\b|nor\b)|[-+*/^=x×]\s?\d|"
    r"(?:out )?of \d|, \d+(?:, \d+)*,? (?:and|or) \d|"
    r"(?:mistakes?|errors?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|times|ways?|things?|steps?|points?|lines?|parts?|"
    r"terms?|cases?|tests?|options?|choices?|candidates?|problems?|questions?|more|less|further|digits?|letters?|words?|"
    r"of the|of them|of your)\b)"
)
_CONTRAST = re.compile(r"[\s\"')*`]*(?:, (?:and |but )?not|,? instead of|,? rather than) (?:your |the |a |as )?[\w\"']")
_ALONE = re.compile(r"\A[\s\"'(`*\[{]*(?:the |option |choice |answer |letter |number )*[\s\"'(`*\[{]*\Z")
_COUNTED = re.compile(r"\b(?:occurs?|appears?|happens?|(?:comes?|shows?) up)\s(?:exactly |just |only )?\Z")
_NEGATED = re.compile(
    r"(?:\bnot|n't|\bnever|\bneither|\bnor|\bcannot|\bno longer|\brather than|\binstead of|\bunlike)"
    r"\s+(?:[\w']+\s+){0,3}\W{0,3}\Z"
)
_LABEL = re.compile(
    r"\b(?:lines?|rows?|columns?|steps?|tests?|cases?|pages?|questions?|parts?|sections?|chapters?|exercises?|index|positions?|"
    r"items?|paragraphs?|rules?|hints?|attempts?|turns?|rounds?|versions?|cells?|cards?|figure|table|example|notes?|level|tasks?|"
    r"no\.|#)(?:\s#?)?\Z"
)


def states(text: str, start: int, end: int, strict: bool = False) -> bool:
    """Whether `text[start:end]` is given as the answer: alone, after words such as "the answer is", before "is right".

    `strict` leaves out words that also introduce what is to be worked with ("use", "try").
    """
    before, after = text[max(0, start - 80) : start], text[end : end + 60]
    if not _ALONE.sub("", before) and not after.strip(" .!?\"')`*]}"):
        return True
    if _CONTRAST.match(after) and not _NEGATED.search(before):
        return True
    if _COUNTED.search(before) and after.startswith(" times"):
        return True
    if _DENIED.match(after) or _NEGATED.search(before):
        return False
    return bool(_AFTER.match(after) or _BEFORE[strict].search(before))


def is_label(text: str, start: int) -> bool:
    """Whether the number at `start` counts lines, steps and the like: `line 34`."""
    return bool(_LABEL.search(text[max(0, start - 16) : start]))
