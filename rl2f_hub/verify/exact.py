"""Verifiers that compare what was read with the reference: whole numbers, texts, multiple choice."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache, partial

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.answer import (
    NOTHING,
    Place,
    Reader,
    Reading,
    Strength,
    boxed_last,
    read,
    stated_places,
    unwrap,
)
from rl2f_hub.verify.base import Verifier
from rl2f_hub.verify.quantity import NO_THING, NUMBER_WORDS, SCALES, as_integer, read_quantity, same_quantity
from rl2f_hub.verify.values import Stretch, pick

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# -- whole numbers -----------------------------------------------------------------------------------------------------


def integer(task: Task, attempt: str) -> Verdict:
    """Right when the whole number that the attempt commits to equals the reference."""
    wanted = _reference_number(task)
    reading = read_integer(attempt)
    if reading.answer is None:
        return Verdict(False, 0.0, None, reading.reason or "no single whole number in the attempt")
    correct = int(reading.answer) == wanted
    return Verdict(correct, float(correct), reading.answer, "equal to the reference" if correct else "another number")


# What most attempts are, read at once: the number alone, or in the plainest sentence.
_SHORT = re.compile(
    r"\s*(?P<said>(?:so |thus,? |therefore,? )?(?:the )?(?:final |correct )?answer(?: is|:) ?)?"
    r"(?:\*\*|\$|(?P<box>\\boxed\{))?(?P<number>-?[0-9]{1,18})"
    r"(?:\*\*|\$|\})?[.!]?\s*",
    re.IGNORECASE,
)


_DIGITS = re.compile(r"-?[0-9]{1,18}")
_COUNTED = re.compile(r"(-?[0-9]{1,18})(?: ([a-z]{3,30}))?")


def read_integer(attempt: str) -> Reading:
    """The whole number that the attempt commits to; a number that is not whole, or still to be worked out, is none."""
    if len(attempt) < 100 and (short := _SHORT.fullmatch(attempt)):
        strength = Strength.MARKED if short["box"] else Strength.STATED if short["said"] else Strength.SAID
        return Reading(str(int(short["number"])), strength)
    if (number := boxed_last(attempt)) and _DIGITS.fullmatch(number):
        return Reading(str(int(number)), Strength.MARKED, final=True)
    return read(attempt, partial(pick, value=whole_number))


_SAYING = (
    NO_THING | NUMBER_WORDS | SCALES.keys() | {name + "s" for name in SCALES} | {"percent", "percentage", "per", "pct"}
)


def whole_number(text: str) -> str | None:
    """The whole number that a stretch is as a whole, behind its last `=` if it has one; None if it is none."""
    text = unwrap(text)
    if (counted := _COUNTED.fullmatch(text)) and counted[2] not in _SAYING:  # what most are: `42`, `42 apples`
        return str(int(counted[1]))
    if "=" in text or "≈" in text:
        sides = [side for side in re.split(r"=|≈|\\approx", text) if side.strip()]
        return (_whole(sides[-1]) or _whole(sides[0])) if sides else None
    return _whole(text)


def _whole(text: str) -> str | None:
    text = text.strip(" !")
    if len(text) > 2 and text[0] in "[{(" and text[-1] in "]})":
        text = text[1:-1]
    quantity = read_quantity(text)
    if quantity is None:  # "8 8" commits to 8
        parts = re.split(r"[\s,;]+", text.strip())
        quantity = read_quantity(parts[0]) if len(parts) > 1 and len(set(parts)) == 1 else None
    if quantity is None:
        return None
    return str(int(quantity.value)) if quantity.plain and quantity.value.denominator == 1 else None


def check_integer(task: Task) -> None:
    _reference_number(task)


def _reference_number(task: Task) -> int:
    reference = task.privilege.reference
    wanted = as_integer(reference)
    if wanted is None:
        read_whole = whole_number(reference) if len(reference) < 100 else None
        if read_whole is None:
            raise ValueError(f"reference {reference[:60]!r} is not a whole number")
        return int(read_whole)
    return wanted


# -- texts -------------------------------------------------------------------------------------------------------------

_TAIL = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals|called|named|as|becomes|means|spells?|reads?|write|choose"
    r"|pick|say|answer|falls?|fell|lands?|occurs?|(?:has|have)(?= no\b))\b"
    r"(?: (?:called|named|thus|therefore|indeed|actually|simply|then|probably|likely))?"
    r"|\b(?:it|that|this)'s\b|\bbut(?: rather)?\b|:(?=\s)|[=→]|[=-]>)\s*",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r",?\s(?:because|since|as it|so that|which|where|but not)\b|,\s(?:not|as|so|i (?:think|believe"
    r"|guess|suppose)|of course|since|rather than|instead of)\b|;|\s[–—-]\s|\s(?:instead of|rather than)\b|\s\(",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])[\"'*)`]{0,3}\s+|\n+")
_LIST_LINES = re.compile(r"(?:^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+[^\n]{1,80}(?:\n|\Z)){2,}", re.MULTILINE)
_LIST_MARK = re.compile(r"[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+")
_POLAR = re.compile(r"(yes|no|true|false)\b(?=[,.!:;]| [–—-])", re.IGNORECASE)
_NOT_BUT = re.compile(r"not [^,;]{1,60}[,;] (?:but |rather |it's |it is )?(.+)", re.IGNORECASE | re.DOTALL)
_NEGATED = re.compile(r"(?:not|never|no longer|neither|either)\b", re.IGNORECASE)
_UNSURE = re.compile(r"\b(?:maybe|perhaps|possibly|might be|could be|may be)\b", re.IGNORECASE)


def text(task: Task, attempt: str) -> Verdict:
    """Right when the text that the attempt commits to equals the reference or one of its `aliases`.

    Case, runs of white space, a closing full stop, an article and the separators of a list do not count; with `fold`
    diacritics do not either.
    """
    config = task.settings if task.config != "{}" else {}
    fold = bool(config.get("fold"))
    wanted = {plain(known, fold) for known in (task.privilege.reference, *config.get("aliases", ()))}
    return same_text(attempt, wanted, fold, task.prompt)


def same_text(attempt: str, wanted: set[str], fold: bool = False, question: str = "") -> Verdict:
    longest = 4 * max(map(len, wanted)) + 200  # of a text that may still be the wanted one, with its wrappers
    lists = {items for known in wanted if (items := _items(known, known))}
    pattern = next(iter(wanted)) if len(wanted) == 1 else ""

    def matches(candidate: str) -> bool:
        if len(candidate) > longest:
            return False
        said = plain(candidate, fold)
        if said in wanted or _ARTICLE.sub("", said) in wanted:
            return True
        return bool(lists) and _items(said, pattern) in lists

    shown: list[tuple[Strength, str]] = []  # of the places of an attempt that is another text
    hopeless = False

    def find(place: Place) -> Reading:
        for candidate in () if hopeless else phrases(place, question):
            if matches(candidate):
                return Reading(candidate.strip(), Strength.SAID)
        shown.append((place.strength, unwrap(place.text)))
        return NOTHING

    if lists:
        attempt = _LIST_LINES.sub(_on_one_line, attempt)
    if attempt.isalnum() and attempt.isascii() and not matches(attempt):  # one bare word
        return Verdict(False, 0.0, attempt, "another text")
    if matches(attempt):
        return Verdict(True, 1.0, attempt.strip(), "equal to the reference")
    hopeless = _is_absent(attempt, wanted, lists)
    reading = read(attempt, find)
    if reading.answer is not None:
        return Verdict(True, 1.0, unwrap(reading.answer), "equal to the reference")
    if reading.reason.startswith(("the answer is", "the thinking")):
        return Verdict(False, 0.0, None, reading.reason)
    answer = max(shown, key=lambda place: place[0])[1]
    return Verdict(False, 0.0, answer or None, "another text" if answer else "empty attempt")


_NO_LETTERS = {code: None for code in range(128) if not chr(code).isalnum()}


def _is_absent(attempt: str, wanted: set[str], lists: set[tuple[str, ...]]) -> bool:
    """Whether the letters and digits of no wanted text stand in the attempt: then none of its phrases need be looked at.

    Only for attempts in ASCII without commands, escapes or fences, of which nothing between two letters comes off.
    """
    if not attempt.isascii() or "\\" in attempt or "```" in attempt:
        return False
    written = attempt.lower().translate(_NO_LETTERS)
    parts = [*([known] for known in wanted), *lists]
    return not any(all(part.translate(_NO_LETTERS) in written for part in known) for known in parts)


_ARTICLE = re.compile(r"^(?:(?:on|in|at) )?(?:an? |the )?")


def _on_one_line(match: re.Match[str]) -> str:
    """The items of a list, one a line, with commas between them."""
    return ", ".join(_LIST_MARK.sub("", line).strip() for line in match[0].splitlines()) + "\n"


def phrases(place: Place, question: str = "") -> Iterator[str]:
    """The texts that a place may commit to, the whole before its parts; none where it denies or only supposes."""
    whole = unwrap(place.text)
    yield whole
    if place.strength >= Strength.STATED:
        if place.strength is Strength.MARKED:
            for inner in list(stated_places(whole))[:1]:
                yield from phrases(inner, question)
        clause = whole
    else:
        sentences = [s for s in _SENTENCE.split(whole) if s.strip(" *_`\"'#")]
        if not sentences or sentences[-1].rstrip().endswith("?") or len(_UNSURE.findall(whole)) > 1:
            return
        if len(behind := re.split(r":\s*\n|\n\s*\n", whole)) > 1 and behind[-1].strip() == sentences[-1].strip():
            yield unwrap(behind[-1])
        clause = unwrap(sentences[-1])
        if len(sentences) > 1 and place.strength is Strength.LOOSE and (tail := _behind_link(clause)) is None:
            return
        if place.strength is Strength.LOOSE:
            yield from _subject(clause, question)
            polar = {m[1].casefold() for s in sentences if (m := _POLAR.match(s.strip()))}
            if len(polar) == 1 and _POLAR.match(sentences[0].strip()) and not any(stated_places(whole)):
                yield polar.pop()
    if cut := _CHATTER.search(clause):
        clause = clause[: cut.start()]
    clause = unwrap(clause)
    if named := _NOT_BUT.match(clause):
        clause = named[1]
        yield clause
    elif _NEGATED.match(clause) and not re.search(r"\bbut\b", clause):
        return
    if cut and place.strength is Strength.LOOSE and len(sentences) == 1:
        yield clause
    if place.strength is not Strength.LOOSE:
        yield clause
        if place.strength is Strength.SAID:
            return
    tail = _behind_link(clause)
    if tail is not None and not _NEGATED.match(tail) and not _UNSAID.search(clause[: -len(tail)]):
        yield tail


_UNSAID = re.compile(
    r"(?:n't|\bnot|\bnever)\s*\Z|\b(?:know|sure|tell|say|decide) (?:if|whether)\b[^,]{0,80}\Z", re.IGNORECASE
)


def _behind_link(clause: str) -> str | None:
    *_, last = [None, *_TAIL.finditer(clause)]
    tail = unwrap(clause[last.end() :]) if last else ""
    return tail or None


_MOST = re.compile(r"\b(?:[a-z]{2,}est|most|least|only|worst)\b")
_DESCRIBED = re.compile(
    r"the (?:[a-z]+(?: [a-z]+)? (?:of|in|that|who|which|for) |(?:[a-z]{2,}est|most|least|worst)\b)"
    r"(?!.*(?:[,;]|\b(?:and|but|or|not)\b))"
)


def _subject(sentence: str, question: str) -> Iterator[str]:
    """`Paris` of "Paris is the capital of France": what follows is the question's own words or describes, and names no other."""
    match = re.match(r"(.{1,80}?)\s(?:is|was|are|were|has|have|had)\s(.*)", sentence)
    if not match or _NEGATED.match(match[2]):
        return
    asked = set(re.findall(r"\w+", question.casefold()))
    words = re.findall(r"\w+", match[2].casefold())
    echoed = len(words) > 1 and all(word in asked or len(word) < 3 or word == "the" for word in words)
    if (asks := _MOST.findall(question)) and not set(asks) & set(_MOST.findall(match[2])):
        return
    if echoed or (_DESCRIBED.match(match[2]) and not asked.issuperset(re.findall(r"\w+", match[1].casefold()))):
        yield match[1]


def check_text(task: Task) -> None:
    config = task.settings
    if not all(plain(known) for known in (task.privilege.reference, *config.get("aliases", ()))):
        raise ValueError("the reference is empty")


@lru_cache(maxsize=4096)
def plain(value: str, fold: bool = False) -> str:
    """The text as it is compared: NFC, case folded, single spaces, none inside brackets, no full stop at its end."""
    value = unicodedata.normalize("NFC", value)
    value = " ".join(value.split()).casefold()
    value = value.rstrip(".!") or value
    if any(c in value for c in ",[({"):
        value = re.sub(r" ?([\[\](){},;]) ?", r"\1", value)
    if fold and not value.isascii():
        value = "".join(c for c in unicodedata.normalize("NFKD", value) if not unicodedata.combining(c))
    return value


def _items(said: str, known: str) -> tuple[str, ...] | None:
    """The items of a list, in any of the usual spellings; None for what is no list of short items."""
    bracketed = known[:1] in "[({" and known[-1:] in "])}"
    bare = said[1:-1] if said[:1] in "[({" and said[-1:] in "])}" else said
    if any(c in bare for c in "[](){}"):
        return None
    parts = re.split(r"[,;|]" if " and " in known else r",? and |[,;|]", bare)
    if len(parts) < 2 and bracketed:
        parts = bare.split()
    items = tuple(part.strip().strip("\"'`") for part in parts)
    return items if len(items) > 1 and all(items) and all(item.count(" ") < 4 for item in items) else None


# -- multiple choice ---------------------------------------------------------------------------------------------------

_LETTER = re.compile(
    r"\((?P<bracketed>[A-Za-z])\)|\b(?:option|choice|letter|answer)\s[\"'(]?(?P<named>[A-Za-z])\b(?!')|(?<![\w'$\\.-])(?P<bare>[A-Z])(?![\w'’])"
)
_OPTION_LINE = re.compile(r"^[ \t>*_-]{0,4}\(?(?P<letter>[A-Z])[).:][ \t*_](?P<rest>.*)$", re.MULTILINE)
_OFFERED = re.compile(r"[\s/,]*(?:or|and|/)\W")
_YES = re.compile(r"\b(?:yes|correct|right|true|answer)\b|[✓✔✅]", re.IGNORECASE)
_NO = re.compile(r"\b(?:no|not|incorrect|wrong|false|n't|too)\b|n't|[✗✘❌]", re.IGNORECASE)


def choice(task: Task, attempt: str) -> Verdict:
    """Right when the attempt commits to the letter of the reference, or to that option's own words.

    Letters that are merely listed, or ruled out, are no choice; in a list of all options the one marked as right counts.
    """
    reading = read_choice(attempt, _options(task.config))
    if reading.answer is None:
        return Verdict(False, 0.0, None, reading.reason or "no letter of a choice in the attempt")
    correct = reading.answer == task.privilege.reference.strip()
    return Verdict(correct, float(correct), reading.answer, "the right choice" if correct else "another choice")


@lru_cache(maxsize=1024)
def _options(config: str) -> tuple[str, ...]:
    return tuple(json.loads(config).get("options", ()))


def read_choice(attempt: str, options: tuple[str, ...] = ()) -> Reading:
    """The letter that the attempt commits to, given the texts of the options (none: any letter)."""
    letter = boxed_last(attempt)
    if len(letter) == 1 and letter in LETTERS[: len(options) or 26]:
        return Reading(letter, Strength.MARKED, final=True)
    return read(attempt, _choice_reader(options))


@lru_cache(maxsize=1024)
def _choice_reader(options: tuple[str, ...]) -> Reader:
    letters = LETTERS[: len(options) or 26]
    spelled = [plain(unwrap(option)) for option in options]
    quantities = [read_quantity(option) for option in spelled]
    worded = "|".join(re.escape(option) for option in spelled if len(option) > 2)
    by_words = re.compile(rf"(?<!\w)(?:{worded})(?!\w)" if worded else r"(?!)", re.IGNORECASE)

    def option_of(text: str) -> str | None:
        said = re.sub(r"^(?:it|this|that|they) ", "", plain(text))
        if said[:1].isdigit() and (quantity := read_quantity(said)):
            found = [
                a for a, known in zip(letters, quantities, strict=False) if known and same_quantity(quantity, known)
            ]
            return found[0] if len(found) == 1 else None
        found = [letter for letter, option in zip(letters, spelled, strict=False) if said and said == option]
        return found[0] if len(found) == 1 else None

    def letter_of(text: str) -> str | None:
        bare = text.strip("()[] .:\"'").upper()
        return bare if len(bare) == 1 and bare in letters else None

    def find_letters(sentence: str) -> list[Stretch]:
        return [s for s in _letters(sentence) if letter_of(s.text)]

    def find_options(sentence: str) -> list[Stretch]:
        return [Stretch(m.start(), m.end(), m[0], True) for m in by_words.finditer(sentence)]

    def find(place: Place) -> Reading:
        text = unwrap(place.text)
        if len(text) > 1 and (letter := option_of(text)):
            return Reading(letter, Strength.SAID)
        if letter := letter_of(text):
            return Reading(letter, Strength.SAID)
        if place.strength is Strength.LOOSE and (listed := _listed(text, letters)) is not None:
            return listed
        if first := re.match(
            r"\(?([A-Za-z])\)|([A-Za-z])(?=[.:,;]?(?:\s[–—-]|\s*$|[.:,;]\s))|([a-z])\s(?:because|since|as)\b", text
        ):
            lead = (first[1] or first[2] or first[3]).upper()
            rest = option_of(text[first.end() :].strip(" .:)-–—"))
            if lead in letters and rest and rest != lead:
                return Reading(None, reason="a letter and the words of another option", final=True)
            chosen = place.strength is not Strength.LOOSE and not _OFFERED.match(text[first.end() :])
            if lead in letters and chosen:
                return Reading(lead, Strength.SAID)
        reading = pick(place, letter_of, find_letters)
        if reading.answer is not None or reading.final:
            return reading
        named = [letter for phrase in phrases(place) if (letter := option_of(phrase))]
        if named or place.strength is not Strength.LOOSE:
            return Reading(named[0], Strength.SAID) if named else reading
        said = pick(place, option_of, find_options)
        last = [s for s in _SENTENCE.split(text) if s.strip()][-1:]
        offered = {option_of(s.text) for sentence in last for s in find_options(sentence)} - set(said.denied)
        return said if len(offered) == 1 else reading

    return find


def _letters(sentence: str) -> list[Stretch]:
    """Where a sentence names a letter as one of a choice. A bare `A` before a word and `I` are an article and a pronoun."""
    out = []
    for match in _LETTER.finditer(sentence):
        letter = match["bracketed"] or match["named"] or match["bare"]
        if match["bare"]:
            behind = sentence[match.end() : match.end() + 12]
            if letter in "AI" and re.match(
                r"\s(?!is\b|and\b|or\b|because\b|since\b|would\b|cannot\b|can't\b|[-–—])[a-z]", behind
            ):
                continue
            if letter == "I" and not re.match(r"[).:]|\s*$", behind):
                continue
        group = "bracketed" if match["bracketed"] else "named" if match["named"] else "bare"
        start, end = (match.start(), match.end()) if group == "bracketed" else match.span(group)
        if group == "bare" and sentence[end : end + 1] == ")":
            end += 1
        out.append(Stretch(start, end, letter, False))
    return out


def _listed(text: str, letters: str) -> Reading | None:
    """Of a list of several options, one a line, the one that is marked as right; None where the text is no such list."""
    lines = [m for m in _OPTION_LINE.finditer(text) if m["letter"] in letters]
    if len({m["letter"] for m in lines}) < 2 or text[lines[-1].end() :].strip():
        return None
    chosen = {m["letter"] for m in lines if _YES.search(m["rest"]) and not _NO.search(m["rest"])}
    if len(chosen) == 1:
        return Reading(chosen.pop(), Strength.SAID)
    return Reading(None, reason="several letters, none of them chosen", final=True)


def check_choice(task: Task) -> None:
    options = task.settings.get("options", [])
    reference = task.privilege.reference.strip()
    if len(reference) != 1 or reference not in LETTERS[: len(options) or 26]:
        raise ValueError(f"reference {reference[:60]!r} is not the letter of one of {len(options)} choices")


INTEGER = Verifier(integer, check_integer)
TEXT = Verifier(text, check_text)
CHOICE = Verifier(choice, check_choice)
