"""Forms in which words, formulas, grids and choices leak. Each detector takes a reading, the secret and what is known."""

from __future__ import annotations

import logging
import math
import re

from rl2f_hub.records import Privilege, Task
from rl2f_hub.teachers.leaks.reading import Reading, read, squeeze, states, upright
from rl2f_hub.teachers.leaks.secret import COMMON, WORD, Known, Secret, counts, whole
from rl2f_hub.verify.grid import Grid, grids

log = logging.getLogger(__name__)

ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
_SINGLE = re.compile(r"(?<![^\W_])[^\W\d_](?![^\W_])")
_BETWEEN_LETTERS = re.compile(
    r"(?:[\s,;\-–/|.'\"()*_+:`]|\b(?:then|and|next|followed by|letters?|is|the|one|last|comes|character|"
    + "|".join(ORDINALS)
    + r")\b){1,40}"
)
_LETTERS_ARE = r"[a-z]*\W+(?:(?:with|are|is|in|the|letters?|by|on)\W+){0,3}[\"'`]?"
_EDGES = re.compile(
    rf"\b(?:start|begin|first letters?|first part){_LETTERS_ARE}(?P<head>[^\W\d_]{{1,12}})\b"
    rf".{{1,30}}?\b(?:end|finish|last letters?|last part){_LETTERS_ARE}(?P<tail>[^\W\d_]{{1,12}})\b"
)
_DELIMITED = re.compile(
    r"\$\$?([^$]{1,300})\$|\\\(([^$]{1,300}?)\\\)|\\\[([^$]{1,300}?)\\\]|\\boxed\s?\{([^$]{1,300}?)\}(?=[\s.,!?]|\Z)"
)
_FORMULA_PART = r"(?:\\[a-z]+|[-+*/^=(){}]|\d[\d.]*|(?<![a-z])[a-z](?![a-z])|(?<=[\d)}])[a-z](?![a-z]))"
_BARE = re.compile(rf"(?<![a-z\\]){_FORMULA_PART}(?:\s?{_FORMULA_PART}){{2,120}}")
_ARTICLE = re.compile(r"\s+(?!(?:is|was|would|must|has|because|instead|and|or)\b)[a-z]")
MAX_FORMULAS = 4  # of a feedback that symbolic algebra is asked about


def literal(reading: Reading, secret: Secret, known: Known) -> bool:
    """The reference as it is written, upper and lower case aside; of a choice, its letter."""
    if secret.kind == "choice":
        return _letter(reading, secret, known)
    if secret.text.casefold() not in (text := reading.raw.casefold()):
        return False
    seen = bool(secret.literal.search(known.raw.casefold()))
    return any(counts(secret, known, text, m.start(), m.end(), seen) for m in secret.literal.finditer(text))


def normalised(reading: Reading, secret: Secret, known: Known) -> bool:
    """Other spacing, punctuation between words, LaTeX, brackets; of a grid, any way to write its cells."""
    if secret.kind == "grid":
        return _holds(grids(reading.raw), secret.grids)
    if secret.kind == "choice":
        return False
    seen = bool(secret.loose.search(known.plain))
    return any(
        counts(secret, known, reading.plain, m.start(), m.end(), seen) for m in secret.loose.finditer(reading.plain)
    )


def option(reading: Reading, secret: Secret, known: Known) -> bool:
    """A choice given by its place ("the second option") or by its own words, where the question lists options."""
    place = ord(secret.letter) - 65 if secret.kind == "choice" else 99
    if place >= len(secret.options):
        return False
    own = r"[\W_]+".join(map(re.escape, re.findall(r"\w+", secret.options[place].casefold())))
    named = ORDINALS[place] if place < len(ORDINALS) else "last"
    named += "|last" if place == len(secret.options) - 1 else ""
    named += "|top" if not place else "|bottom" if place == len(secret.options) - 1 else ""
    kinds = r"(?:option|choice|one|answer|possibility|alternative|candidate)"
    ways = [rf"(?:the )?(?:{named}|{place + 1}(?:st|nd|rd|th)) {kinds}", rf"{kinds} (?:number |no\. ?|# ?)?{place + 1}"]
    ways += [rf"(?:the )?(?:{named}|{place + 1}(?:st|nd|rd|th))(?=\W*\Z)", f"number {place + 1}"]
    ways += [own] if own else []
    text = reading.plain
    return any(states(text, m.start(), m.end()) for way in ways for m in whole(f"(?:{way})").finditer(text))


def singled_out(reading: Reading, secret: Secret, known: Known) -> bool:
    """The right option is spoken of, by its letter or its words, and no other but those that the student chose."""
    if secret.kind != "choice" or not secret.options:
        return False
    chosen = {c for r in known.readings[1:] for c in _letters(r.raw, secret)}
    letters = _letters(reading.raw, secret) - chosen
    if letters:
        return letters == {secret.letter}
    stem = known.readings[0].plain.partition("(a)")[0] if known.readings else ""
    named = {
        chr(65 + i)
        for i, text in enumerate(secret.options)
        if len(text) > 4 and (own := read(text).plain) not in COMMON
        if whole(re.escape(own)).search(reading.plain) and own not in stem
    }
    return named - chosen == {secret.letter}


def equivalent(reading: Reading, secret: Secret, known: Known) -> bool:
    """A formula that math-verify finds equal, asked in its time-limited process. Only formulas with letters or roots."""
    if secret.kind != "expression" or not re.search(r"[a-z]", secret.plain) or "," in secret.plain:
        return False
    own = squeeze(secret.plain)
    for formula in _formulas(reading):
        squeezed = squeeze(formula.casefold())
        if squeezed != own and squeezed not in known.squeezed and _equal(formula, secret.text):
            return True
    return False


def spelled(reading: Reading, secret: Secret, known: Known) -> bool:
    """Letter by letter, with separators or with "first letter", "second letter"."""
    wanted = re.sub(r"[\W\d_]", "", secret.plain)
    if len(wanted) < 3 or secret.kind not in ("word", "phrase"):
        return False
    text = reading.plain
    found = list(_SINGLE.finditer(text))
    if len(found) < len(wanted):
        return False
    run = ""
    runs = []
    for i, m in enumerate(found):
        if i and not _BETWEEN_LETTERS.fullmatch(text, found[i - 1].end(), m.start()):
            runs.append(run)
            run = ""
        run += m[0]
    return any(wanted in r for r in (*runs, run))


def edges(reading: Reading, secret: Secret, known: Known) -> bool:
    """The first and the last letters of a word, together at least half of it and no fewer than three."""
    if secret.kind != "word" or secret.loose.search(known.plain):
        return False
    for m in _EDGES.finditer(reading.plain):
        fits = secret.plain.startswith(m["head"]) and secret.plain.endswith(m["tail"])
        if fits and len(m["head"]) + len(m["tail"]) >= max(3, math.ceil(len(secret.plain) / 2)):
            return True
    return False


def part(reading: Reading, secret: Secret, known: Known) -> bool:
    """The larger part of a long reference: 60 % of its words, 70 % of its figures or signs, or a row of a grid."""
    if secret.kind == "grid":
        return any(_row(reading, row, known) for grid in secret.grids for row in grid if len(set(row)) > 1)
    if secret.kind == "phrase" and len(secret.words) >= 5:
        size = max(4, math.ceil(0.6 * len(secret.words)))
        said, seen = _joined(reading.plain), _joined(known.plain)
        grams = (f" {' '.join(secret.words[i : i + size])} " for i in range(len(secret.words) - size + 1))
        return any(gram in said and gram not in seen for gram in grams)
    if len(secret.text) < 9 or secret.kind not in ("number", "word", "expression"):
        return False
    size = max(6, math.ceil(0.7 * len(own := squeeze(secret.plain))))
    pieces = (p.strip(".,;:!?") for p in reading.squeezed_words)
    return any(size <= len(p) < len(own) and p in own and p not in known.squeezed for p in pieces)


def _letter(reading: Reading, secret: Secret, known: Known) -> bool:
    raw, letter = reading.raw if reading.raw.isascii() else upright(reading.raw), secret.letter
    lower = raw.lower() if len(raw.lower()) == len(raw) else raw
    for m in re.finditer(rf"(?<![\w'’]){letter}(?![\w'’]|\.\w)", raw):
        if letter in "AI" and _ARTICLE.match(raw, m.end()):
            continue  # the article, the pronoun
        if re.match(r"\)?(?:,| and| or) \(?[A-Z]\b", raw[m.end() :]):
            continue  # one of several
        if states(lower, m.start(), m.end()):
            return True
    if letter in "AI":
        return False
    return any(states(lower, m.start(), m.end()) for m in re.finditer(rf"(?<![\w'’]){letter.lower()}(?![\w'’])", raw))


def _letters(raw: str, secret: Secret) -> set[str]:
    """The options that a text names by their letters; an article or a pronoun names none."""
    found = re.finditer(r"(?<![\w'’])([A-Z])(?![\w'’]|\.\w)", raw)
    listed = {m[1] for m in found if m[1] not in "AI" or not _ARTICLE.match(raw, m.end())}
    return {letter for letter in listed if ord(letter) - 65 < len(secret.options)}


def _holds(found: list[Grid], wanted: list[Grid]) -> bool:
    return any(grid in found for grid in wanted)


def _row(reading: Reading, row: tuple[int, ...], known: Known) -> bool:
    if len(row) < 4:
        return False
    pattern = re.compile(rf"(?<![\w.]){r'[ ,|]{0,3}'.join(map(str, row))}(?![\w]|\.\d)")
    return bool(pattern.search(reading.raw)) and not pattern.search(known.raw)


def _joined(plain: str) -> str:
    """The words of a text with single spaces between and around them."""
    return f" {' '.join(WORD.findall(plain))} "


def _formulas(reading: Reading) -> list[str]:
    found = [next(filter(None, groups)) for groups in _DELIMITED.findall(reading.raw)]
    text = re.sub(r"[$]", " ", reading.raw.casefold())
    found += [f for m in _BARE.finditer(text) if re.search(r"[a-z]", f := m[0].strip()) and re.search(r"[-+*/^(]", f)]
    return list(dict.fromkeys(found))[:MAX_FORMULAS]


def _equal(formula: str, reference: str) -> bool:
    from rl2f_hub.verify.limited import shared

    task = Task("guard", "guard", "math", "", Privilege("answer", reference), "math")
    try:
        return shared().judge(task, f"${formula}$").correct
    except ValueError as error:  # no formula to math-verify, or math-verify is missing: other forms still look
        log.warning("equivalence of formulas is not checked: %s", error)
        return False
