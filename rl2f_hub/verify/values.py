"""The value that a place commits to, for verifiers whose answers are numbers and formulas.

A place is prose with stretches of mathematics in it. Which stretch is meant is said by the prose around it: "is" and "so" before
it, "is wrong" behind it, "less than" before it, "or" between two. The verifier only says whether it can read a stretch whole.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from rl2f_hub.verify.answer import Place, Reading, Strength, stated_places, unwrap
from rl2f_hub.verify.quantity import NUMBER_WORDS, UNITS, read_quantity

Value = Callable[
    [str], str | None
]  # a stretch in a form that is equal for equal values; None where it cannot be read whole

FUNCTIONS = frozenset(
    "sqrt sin cos tan sec csc cot arcsin arccos arctan sinh cosh tanh log ln exp "
    "lg pi infinity inf oo abs mod theta alpha beta".split()
)
ARITHMETIC = frozenset(
    "times plus minus divided multiplied squared cubed factorial percent percentage pct choose modulo negative".split()
)
SHORT_WORDS = frozenset(
    "is it of to in on at as be by we he an am my me us if up do go ok oh hi vs st nd rd th no so id im "
    "es el la le il lo un en et du ce je ne ou".split()
)
_TOKEN = re.compile(
    r"(?P<command>\\(?:begin|end)\{[A-Za-z]{1,12}\*?\}|\\[A-Za-z]+|\\.)|(?P<number>\d+(?:[.,]\d+)*)"
    r"|(?P<word>[^\W\d_]{2,}(?:['-][^\W\d_]{2,})*(?:'[^\W\d_])?)|(?P<letter>[^\W\d_])|(?P<space>\s+)|(?P<sign>.)",
    re.DOTALL,
)
_UNSPACED = "\u2e80"  # from here on letters whose languages write no spaces between words and numbers
_PROSE_SIGNS = frozenset("?\"“”'`#~@…") - {"~"}
_MATH_SIGNS = frozenset({"Sm", "Sc", "No", "Ps", "Pe"})  # of Unicode: a tick or a picture is prose
_EDGE = " \t\n,;:&*_`'\".?"  # what may stand around a stretch; a full stop before a digit is its own
_SYMBOL = re.compile(r"[\d∞π½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞√∅]|\\(?!text)[A-Za-z]|\binfinity\b")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of mathematics in a sentence: `start` and `end`, its `text`; `words`: a number in words and nothing else."""

    start: int
    end: int
    text: str
    words: bool


@lru_cache(maxsize=8192)
def _is_prose(word: str) -> bool:
    """Whether a word, before which no mathematics stands, begins none."""
    low = word.lower()
    mathematical = low in ARITHMETIC or low in NUMBER_WORDS or low in ("by", "per") or word in FUNCTIONS or "-" in low
    return not mathematical and (len(word) > 2 or low in SHORT_WORDS or not word.islower())


def stretches(sentence: str) -> list[Stretch]:
    """The stretches of mathematics in a sentence, in order."""
    out: list[Stretch] = []
    start = -1
    worded = solid = False
    last_number = False
    tokens = list(_TOKEN.finditer(sentence))
    for i, token in enumerate(tokens):
        kind = token.lastgroup
        text = token[0]
        is_math = True
        if kind == "space" or (start < 0 and kind == "word" and _is_prose(text)):
            continue
        glued = start < 0 and i and tokens[i - 1].lastgroup in ("word", "number", "letter")
        if glued and kind in ("number", "letter") and tokens[i - 1][0][-1] < _UNSPACED:
            is_math = False  # part of a name: `AZYUK2A`
            solid = solid or is_math
        elif kind == "word":
            low = text.lower()
            after_number = last_number and (text in UNITS or low in UNITS)
            if low in ("and", "or"):
                is_math = start >= 0 and _math_follows(tokens, i)
            elif low in NUMBER_WORDS or (("-" in low) and all(part in NUMBER_WORDS for part in low.split("-"))):
                worded = True
            elif low == "by":
                is_math = i >= 2 and tokens[i - 2][0].lower() in ("divided", "multiplied")
            elif low == "per":
                is_math = last_number and i + 2 < len(tokens) and tokens[i + 2][0] in UNITS
            else:
                is_math = low in ARITHMETIC or text in FUNCTIONS or after_number
                if not is_math and len(text) == 2 and low not in SHORT_WORDS and text.islower():
                    is_math, solid = True, True
        elif kind == "letter":
            after = sentence[token.end() : token.end() + 2]
            before = sentence[token.start() - 1 : token.start()]
            if (
                before == "'"
                or after[:1] == "'"
                or (text in "aAI" and re.match(r" [\w\\]|$", after) and not out_of_operator(sentence, token.start()))
            ):
                is_math = False
            if _AND_A_HALF.match(sentence, token.start()) and start >= 0:
                is_math, solid = True, solid
            else:
                solid = solid or is_math
        elif kind == "sign":
            is_math = text not in _PROSE_SIGNS and not (
                text == ":" and not re.match(r"\d", sentence[token.end() : token.end() + 1])
            )
            is_math = (
                is_math
                and text not in "–—"
                and (text.isascii() or text in "°·" or unicodedata.category(text) in _MATH_SIGNS)
            )
        else:
            solid = True
        if is_math:
            start = token.start() if start < 0 else start
            if kind in ("number", "command", "letter") or (kind == "word"):
                last_number = kind != "command" or text in ("\\pi", "\\%", "\\circ")
            elif text not in "/·*^²³°.%{})€$":
                last_number = False
        else:
            if start >= 0:
                _add(out, sentence, start, token.start(), worded and not solid)
            start, worded, solid, last_number = -1, False, False, False
    if start >= 0:
        _add(out, sentence, start, len(sentence), worded and not solid)
    return out


_AND_A_HALF = re.compile(r"an?\s(?:half|third|quarter|fifth|sixth|eighth|tenth)\b")


def out_of_operator(sentence: str, at: int) -> bool:
    """Whether an operator stands before a letter: then it is a variable and no article."""
    return bool(re.search(r"[-+*/^=<>(,{]\s?$", sentence[max(0, at - 2) : at]))


def _math_follows(tokens: list[re.Match[str]], i: int) -> bool:
    for token in tokens[i + 1 : i + 4]:
        if token.lastgroup == "space":
            continue
        if token.lastgroup == "word":
            return token[0].lower() in NUMBER_WORDS or token[0] in FUNCTIONS
        if token.lastgroup == "letter":
            return token[0] not in "aAI" or bool(_AND_A_HALF.match(token.string, token.start()))
        return token.lastgroup in ("number", "command") or token[0] in "-+($√{[π∞€£"
    return False


_JOINING = re.compile(
    r"^(?:(?:and|or|times|by|percent)\b\s?|a\s(?![-+*/^=]))|(?<=\s)(?:and|or|times|minus|plus|by)$", re.IGNORECASE
)


def _add(out: list[Stretch], sentence: str, start: int, end: int, words: bool) -> None:
    text = sentence[start:end]
    bare = text.strip(_EDGE)
    if bare.isdecimal() and "." not in text[: (lead := text.index(bare))]:
        out.append(Stretch(start + lead, start + lead + len(bare), bare, words))
        return
    while True:
        text = sentence[start:end]
        bare = text.strip(_EDGE)
        if text[: text.index(bare)].endswith(".") and bare[:1].isdigit():
            bare = "." + bare
        if text.rstrip(_EDGE + " ").endswith(" p.m") or bare.endswith((" a.m", " p.m")):
            bare = text.strip(" ,;:&*_`'\"?")
        if bare.startswith((")", "]", "}")) or (bare.startswith(("(", "[")) and not re.search(r"[)\]]", bare)):
            bare = bare[1:]
        if bare.endswith(("(", "[", "{")) and not bare.endswith(("\\{", "\\[")):
            bare = bare[:-1]
        if bare.endswith(")") and "(" not in bare and "[" not in bare:
            bare = bare[:-1]
        bare = _JOINING.sub("", bare)
        if bare == text or not bare:
            break
        start += text.index(bare)
        end = start + len(bare)
    if bare and (words or re.search(r"[^\W_]|[∞∅]", bare)):
        out.append(Stretch(start, end, bare, words))


Finder = Callable[[str], list[Stretch]]

# -- which of them is meant --------------------------------------------------------------------------------------------

_FILLER = (
    r"(?:(?:be|necessarily|equal|to|the|a|an|simply|just|answer|is|it|it's|that's"
    r"|really|actually|exactly|value|of|option)\s+){0,4}"
)
_DENIED_BEFORE = re.compile(
    rf"(?:\b(?:don't|do not|didn't|did not|can't|cannot) (?:think|believe|say|see how)(?: that)?"
    rf"(?: (?:it|this|that|the (?:answer|result|value))(?:'s)?)?|\bdoubt(?: that)?(?: (?:it|this|that|the answer)(?:'s)?)?|\bnot"
    rf"|\b(?:know|sure|tell|say|decide) (?:if|whether)|\b(?:anything|everything|all) (?:but|except)|\b(?:rules?|ruled|ruling) out"
    rf"|\b(?:eliminate|exclude|reject)s?d?|n't|\bnever|\bcannot|\bneither|\bnor|\bisnt)\s+{_FILLER}$",
    re.IGNORECASE,
)
_OTHER_BEFORE = re.compile(
    r"\b(?:instead of|rather than|except|other than|unlike|different from|would have been|previously|initially|at first|"
    r"i (?:said|wrote|thought|answered|had|got|put|guessed)(?: (?:it|that|was|of)){0,2}|"
    r"(?:first|last|previous|earlier|old|wrong|original|initial) (?:answer|attempt|guess|result"
    r"|value|response)(?: (?:was|is|of|said))?:?|\b(?:steps?|figure|example|problem|exercise|question|equation|case))\s*$",
    re.IGNORECASE,
)
_BOUND_BEFORE = re.compile(
    r"(?:\b(?:less|more|fewer|greater|larger|smaller|higher|lower|bigger|older|younger|longer|shorter|heavier|lighter|later|earlier|"
    r"taller|faster|slower) than(?: or equal to)?|\bat (?:least|most)|(?<!add )(?<!adds )(?<!adding )\bup to|\bunder|\bover"
    r"|\bbelow"
    r"|\babove|\bexceeds?|\bbetween|"
    r"\bsomewhere (?:near|around)|\bno more than|\bno less than|\bup until|\bout of|\bclose to"
    r"|\bnear|\bpower of|\broot of|\blog(?:arithm)? of|"
    r"\b(?:half|twice|double|triple|third|quarter|square|cube|factor|factors|multiple|multiples"
    r"|divisor|divisors) of)\s+(?:a |the |about )?$",
    re.IGNORECASE,
)
_DENIED_BEHIND = re.compile(
    r"\W{0,3}(?:(?:\w+\s){0,1}?(?:is|are|was|were|'s|seems|looks|would be|must be"
    r"|will be)\s+(?:(?:clearly|obviously|also|definitely|certainly|just|far|still)\s)?"
    r"(?:not\b|wrong|incorrect|false|impossible|too\s|ruled out|out\b|eliminated|excluded|never\b|no\s)"
    r"|(?:\w+\s)?(?:isn't|aren't|wasn't|weren't|can't|cannot|doesn't|does not|didn't|did not|won't)\b"
    r"|(?:is|was)\s(?:what i\b|my (?:first|previous|earlier|old|initial)\b)"
    r"|[^.!?]{0,60}\bbut (?:it|that|this)(?:'s| is| was) (?:wrong|incorrect|not (?:right|correct))"
    r"|[-–—(:]?\s?(?:wrong|incorrect|ruled out|impossible|no[!.])(?:\W|$))",
    re.IGNORECASE,
)
_BOUND_BEHIND = re.compile(
    r"\s?\w{0,15}\s?(?:or (?:more|less|fewer|greater|higher|lower|above|below|so)|and (?:above|below"
    r"|up|over|more|higher|lower)|at (?:least|most)|"
    r"to the power|to go up)\b",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"\s*(?:(?!(?:sums?|adds?|up|comes?|equals?|amounts?|rounds?|simplif(?:y|ies)|reduces?|evaluates?|leads?)\b)"
    r"\w{1,12}\s)?(?:to|through|until|up to|–|—|\.\.\.?|…)\s*",
    re.IGNORECASE,
)
_PROSE_WORD = re.compile(
    r"(?!(?:exactly|approximately|about|around|roughly|simply|just|only|the|an|number|value|option|total|of|equal|to|still|now|that|it|is|it's|"
    r"not|but|therefore|thus)\b)\b[A-Za-z]{2,}",
    re.IGNORECASE,
)
_LINK = re.compile(
    r"\b(?:is|are|was|were|equals?|be|gives?|giving|makes|making|get|gets|got|have|has|had|costs?|leaves|leaving|totals?|totall?ing|obtain|obtains|"
    r"yields?|yielding|takes?|took|spends?|spent|pays?|paid|weighs?|saves?|saved|therefore|thus|hence|so|becomes|remain|remains|earns?|need|needs"
    r"|comes? (?:out )?to|add up to|adds up to|a total of)\b|(?<=it)'s\b|(?<=that)'s\b|[:=→≈]|[=-]>",
    re.IGNORECASE,
)
# What the slow patterns above need to match at all.
_DENYING = tuple("n't not doubt but except out eliminat exclud reject never neither nor isnt if whether".split())
_ANOTHER = (
    *"instead except than unlike from been previous initial first last earlier old wrong original step figure example".split(),
    *("problem", "exercise", "question", "equation", "case"),
    *(f"i {verb}" for verb in "said wrote thought answered had got put guessed".split()),
)
_BOUNDING = tuple(
    "than to least most under over below above exceed exceeds between near around until of a the about".split()
)
_LINK_START = re.compile(r"[A-Za-z]+|'s\b|[:=→≈]|->")
_LINK_WORDS = frozenset(
    "is are was were equal equals be give gives giving makes making get gets got have has had cost costs leaves leaving total "
    "totals totaling totalling obtain obtains yield yields yielding take takes took spends spent pays paid weighs saves saved "
    "therefore thus hence so becomes remain remains earns need needs come comes add adds a".split()
)


def _has(lowered: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110 - a generator costs as much again
        if word in lowered:
            return True
    return False


def _links(sentence: str) -> list[re.Match[str]]:
    """Where `_LINK` matches, in order; it is only tried where it can."""
    starts = _LINK_START.finditer(sentence)
    tried = (m.start() for m in starts if not m[0][0].isalpha() or m[0].lower() in _LINK_WORDS)
    return [link for at in tried if (link := _LINK.match(sentence, at))]


_LINK_BEFORE = re.compile(rf"(?:{_LINK.pattern})\s*\Z", re.IGNORECASE)
_CHANGED = re.compile(r"\b(?:chang|correct|revis|updat|switch)\w*\s(?:[\w']+\s){0,4}from\s*\Z", re.IGNORECASE)
_SUBJECT = re.compile(r"\s(?:is|was)\s(?:the|an?)\s[a-z]+\s(?:of|between|that|in|for|we|when)\b", re.IGNORECASE)
_SO = re.compile(r",\s(?:and\s)?(?:so|therefore|thus|hence)\b", re.IGNORECASE)
_REASON = re.compile(
    r"[,;]?\s(?:because|since|as|so that|where|when|given that|thus|therefore|hence|which|but)\b"
    r"|,\s(?:so|not)\b|;|\s[–—-]\s(?=[A-Za-z])",
    re.IGNORECASE,
)
_BECAUSE = re.compile(r"[,;]?\s(?:because|since)\b|,\s\d{1,9} of (?:them|which|these|those)\b", re.IGNORECASE)
_HEDGE = re.compile(r"\b(?:maybe|perhaps|possibly|might be|may be|could be|either)\b", re.IGNORECASE)
_ASIDE = re.compile(r"(?<=[\w%°.²³}*\"']) \((?P<inside>[^()]{0,300})\)")
_SENTENCE = re.compile(r"(?<=[.!?])[\"'*)`]{0,3}\s+|\n+")
_MAX_SENTENCES = 400


def pick(place: Place, value: Value, find: Finder = stretches) -> Reading:
    """The value that a place commits to; `value` says whether and as what a stretch is read."""
    text = unwrap(_on_one_line(place.text))
    if place.strength >= Strength.STATED:
        if place.parts:
            text = unwrap(place.text)
        if place.strength is Strength.MARKED:
            inner = next(iter(stated_places(text)), None) if re.search(r"[A-Za-z]{3}", text) else None
            if inner is not None:
                return pick(inner, value, find)
            alone = value(text)
            if alone is not None:
                return Reading(alone, Strength.MARKED)
            reading = _sentence(text.replace("\n", " "), value, Strength.MARKED, find)
            if reading.answer is None and not reading.reason:
                return Reading(None, Strength.MARKED, "nothing in it can be read", final=True)
            return reading
        cut = _REASON.search(text)
        while cut and not find(text[: cut.start()]) and cut.end() < len(text):
            cut = _REASON.search(text, cut.end())
        return _sentence(text[: cut.start()] if cut else text, value, Strength.STATED, find)
    if place.strength is Strength.SAID:  # "72 is the answer": the last value before it
        return _sentence(text, value, Strength.LOOSE, find)
    return _last_sentence(text, value, find)


def _on_one_line(text: str) -> str:
    """Displayed formulas without their line ends."""
    for opening, closing in (("\\[", "\\]"), ("$$", "$$"), ("\\begin{", "\\end{")):
        if opening not in text:
            continue
        out, at = [], 0
        while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start + len(opening))) >= 0:
            out += [text[at:start], text[start:end].replace("\n", " ")]
            at = end
            if opening == closing:
                out.append(closing)
                at += len(closing)
        text = "".join([*out, text[at:]])
    return text


def _last_sentence(text: str, value: Value, find: Finder) -> Reading:
    sentences = [s for s in _SENTENCE.split(text)[-_MAX_SENTENCES:] if s and s.strip()]
    only_values = (
        [value(unwrap(s)) for s in sentences] if len(sentences) > 1 and not re.search(r"[A-Za-z]{2}", text) else []
    )
    if (
        only_values
        and None not in only_values
        and len(set(only_values)) == len(only_values) > 1
        and not re.search(r"[=<>]", text)
    ):
        return Reading(None, reason="several candidates are listed, none of them chosen", final=True)
    if _HEDGE.search(text) and len(_HEDGE.findall(text)) > 1:
        seen = {value(s.text) for sentence in sentences for s in find(sentence)} - {None}
        if len(seen) > 1:
            return Reading(None, reason="several candidates, none of them chosen", final=True)
    denied: tuple[str, ...] = ()
    for sentence in reversed(sentences):
        sentence = _BULLET.sub("", _cell(sentence.strip()))
        if sentence.endswith("?") or not sentence:
            continue
        reading = _sentence(sentence, value, Strength.LOOSE, find)
        if reading.answer is not None:
            if reading.answer in denied:
                return Reading(None, reason="the answer is denied", denied=denied)
            if denied and reading.strength < Strength.SAID:
                continue
            if denied:
                return replace(reading, denied=denied + reading.denied)
            return reading
        denied += reading.denied
        if reading.reason and not reading.denied:
            return reading
    return Reading(None, reason="the answer is denied" if denied else "", denied=denied)


_BULLET = re.compile(
    r"\A(?:=>|[-=]+>|→|[•*-]\s|\\(?:therefore|implies|Rightarrow|Longrightarrow)\b)\s{0,3}(?=[\d$\w\\])"
)


def _cell(line: str) -> str:
    """The last cell of a table's row."""
    if line.startswith("|") and line.endswith("|") and (line.count("|") > 2 or line[1:2] == " " == line[-2:-1]):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        return "" if all(re.fullmatch(r":?-+:?", cell) for cell in cells) else cells[-1]
    return line


def _sentence(sentence: str, value: Value, strength: Strength, find: Finder) -> Reading:
    """What a sentence or clause says; `strength`: of the place that it is."""
    sentence = _without_asides(sentence)
    loose = strength is Strength.LOOSE
    if loose and (cut := _BECAUSE.search(sentence)) and find(sentence[: cut.start()]):
        sentence = sentence[: cut.start()]
    found = find(sentence)
    whole = len(found) == 1 and sentence.strip(_EDGE + "!").strip() in (found[0].text, found[0].text.rstrip("!"))
    if len(found) > 0 and not whole and found[-1].text.endswith("!") and sentence.rstrip(_EDGE).endswith("!"):
        last = found[-1]
        found[-1] = Stretch(last.start, last.end - 1, last.text.rstrip("!"), last.words)
    if loose and not whole and find is stretches:
        found = [s for s in found if _SYMBOL.search(s.text) or s.words or re.search(r"[=<>≤≥∈]", s.text)]
    if any(not s.words for s in found) and not whole:
        found = [
            s
            for s in found
            if not s.words
            or (strength is Strength.STATED and s is found[0])
            or (s is found[-1] and _LINK_BEFORE.search(sentence[max(0, s.start - 20) : s.start]))
        ]
    if not found:
        return Reading(None)
    if whole:
        answer = value(found[0].text)
        return Reading(
            answer, Strength.SAID, "" if answer is not None else "it cannot be read as one value", final=answer is None
        )
    candidates: list[tuple[Stretch, str | None, str]] = []
    denied: list[str] = []
    bound = False
    for i, stretch in enumerate(found):
        before = sentence[found[i - 1].end if i else 0 : stretch.start][-80:]
        behind = sentence[stretch.end : found[i + 1].start if i + 1 < len(found) else len(sentence)][:80]
        read = value(stretch.text) if not (behind[:1].isalpha() and behind[0] < _UNSPACED) else None  # 12th, 12k
        low = before.lower()
        bare = not (before.strip(_EDGE + "=") or behind.strip(_EDGE))  # no word says anything about it
        if bare:
            candidates.append((stretch, read, ""))
        elif (_has(low, _DENYING) and _DENIED_BEFORE.search(before)) or _DENIED_BEHIND.match(behind):
            denied.append(read or stretch.text)
        elif _has(low, _ANOTHER) and _OTHER_BEFORE.search(before):
            continue
        elif (low.rstrip().endswith(_BOUNDING) and _BOUND_BEFORE.search(before)) or _BOUND_BEHIND.match(behind):
            bound = True
            candidates.append((stretch, None, "it only bounds the answer"))
        elif i and _RANGE.fullmatch(sentence[found[i - 1].end : stretch.start]):
            if candidates and candidates[-1][0] is found[i - 1]:
                candidates.pop()
            changed = _CHANGED.search(sentence[max(0, found[i - 1].start - 80) : found[i - 1].start])
            candidates.append((stretch, read, "") if changed else (stretch, None, "a range is no answer"))
        else:
            candidates.append((stretch, read, ""))
    if not candidates:
        return Reading(None, reason="the answer is denied" if denied else "", denied=tuple(denied))
    chosen, said = _chosen(sentence, candidates, strength)
    stretch, read, reason = candidates[chosen]
    offered = _offered(sentence, candidates, chosen, strength)
    if offered is not None and len(offered) > 1:
        return Reading(None, reason="several candidates, none of them chosen", final=True)
    if read is None:
        unit = sentence[stretch.end : stretch.end + 40]
        return Reading(
            None, reason=reason or f"{stretch.text[:40]!r} cannot be read as one value{unit and ''}", final=True
        )
    if read in denied:
        return Reading(None, reason="the answer is denied", denied=tuple(denied))
    return Reading(read, Strength.SAID if said or bound else Strength.LOOSE, denied=tuple(denied))


def _chosen(sentence: str, candidates: list[tuple[Stretch, str | None, str]], strength: Strength) -> tuple[int, bool]:
    """Which candidate is meant: the first of a statement, else the first behind the sentence's last link, else the last."""
    first = candidates[0][0]
    named = len(candidates) > 1 and not _SYMBOL.search(first.text) and not first.words  # "the largest n is 34"
    if strength is Strength.STATED and not named and len(_PROSE_WORD.findall(sentence[: first.start])) < 2:
        return 0, True
    if (
        _SUBJECT.match(sentence, first.end)
        and not named
        and not any(_SO.search(sentence, first.end, stretch.start) for stretch, _, _ in candidates[1:])
        and len(_PROSE_WORD.findall(sentence[: first.start])) < 2
    ):
        return 0, True  # "12 is the sum of 5 and 7"
    for link in reversed(_links(sentence)):
        behind = [
            i
            for i, (stretch, _, _) in enumerate(candidates)
            if stretch.start >= link.end() or stretch.start <= link.start() < stretch.end
        ]
        parts = (
            link[0] == ":" and len(behind) > 1 and behind[0] > 0 and _LINK.search(sentence[: candidates[0][0].start])
        )
        if behind and not parts:  # "there are 12: 5 of them red and 7 blue"
            return behind[0], True
    return (0, True) if strength is Strength.STATED else (len(candidates) - 1, False)


def _offered(
    sentence: str, candidates: list[tuple[Stretch, str | None, str]], chosen: int, strength: Strength
) -> set[str | None] | None:
    """The different values among which the chosen one is offered ("8 cats or 9 cats"), if it is."""
    out = {candidates[chosen][1]}
    joint = r"\b(?:or|and)\b" if strength is Strength.STATED else r"\bor\b"
    near = sentence[max(0, candidates[chosen][0].start - 60) : candidates[chosen][0].end]
    if re.search(r"\beither\b|\bboth\b", near, re.IGNORECASE):
        return {read for _, read, _ in candidates}
    for i in (chosen - 1, chosen):
        if 0 <= i < len(candidates) - 1:
            between = sentence[candidates[i][0].end : candidates[i + 1][0].start]
            joined = len(between) < 40 and re.search(joint, between, re.IGNORECASE) and not _LINK.search(between)
            joined = joined or between.strip() == "and"
            if joined or strength is Strength.MARKED or not between.strip(" ,/|"):
                out |= {candidates[i][1], candidates[i + 1][1]}
    return out


def _without_asides(sentence: str) -> str:
    """Without brackets that comment on what stands before them: `(five)`, `(2 + 3)` behind a number, `(= 48 + 24)`."""

    def keep(match: re.Match[str]) -> str:
        inside = match["inside"].strip()
        before = sentence[max(0, match.start() - 1) : match.start()]
        if re.search(r"[^\W\d_]{3,}", inside) and not re.search(r"\\", inside):
            return ""
        if inside.startswith(("=", "≈")):
            return ""
        if read_quantity(inside) and re.search(
            rf"\b(?:{'|'.join(NUMBER_WORDS)})$", sentence[max(0, match.start() - 12) : match.start()].lower()
        ):
            return ""
        if before.isdigit() and not re.search(r"[A-Za-z,\\]", inside):
            return ""
        return match[0]

    return _ASIDE.sub(keep, sentence) if "(" in sentence else sentence
