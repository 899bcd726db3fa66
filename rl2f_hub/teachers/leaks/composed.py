"""Forms in which an answer is put together from pieces: groups of digits, edits of the attempt, lists, pairs, rows.

Each detector takes a reading, the secret and what is known, as in `numbers` and `texts`. All patterns are bounded.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from rl2f_hub.teachers.leaks.reading import Reading, states
from rl2f_hub.teachers.leaks.secret import COMMON, Known, Secret
from rl2f_hub.verify.grid import grids

ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
_PLACES = {"units": 1, "unit": 1, "ones": 1, "tens": 2, "hundreds": 3, "thousands": 4}
_GROUP = re.compile(r"(?<![\w.,$£€])\d{1,9}(?![\w%]|\.\d)")
_TIGHT = re.compile(r"\s?[-|/_:~·•\\]{1,2}\s?|[\s.]{1,3}|,? (?:and )?then |,? followed by |,? (?:and )?next ")
_ASIDE = re.compile(r"[\s,;|/-]{1,3}|\band\b")
_GROUP_END = r"\b(?!\s(?:digits?|figures?|numbers?|ones|places?|letters?|are|is)\b)"
_ENDS = re.compile(
    rf"\b(?:start|begin|open|first|lead|front)\w*(?:\W+\w+){{0,4}}?\W{{1,4}}(?P<head>\d{{1,9}}){_GROUP_END}.{{1,60}}?"
    rf"\b(?:end|finish|last|clos|final|back|rest|remain|trail)\w*(?:\W+\w+){{0,4}}?\W{{1,4}}(?P<tail>\d{{1,9}}){_GROUP_END}",
    re.DOTALL,
)
_AROUND = re.compile(
    r"(?<![\w.])(?P<head>\d{1,9}) (?:in front|at the (?:front|start|beginning)|first|to begin|to start)\b.{1,40}?"
    r"(?<![\w.])(?P<tail>\d{1,9}) (?:behind|at the (?:back|end)|last|after|to finish|to end)\b"
)
_OFFSET = re.compile(
    r"\b(?P<add>add|subtract|take(?: away| off)?|deduct|remove|knock off|(?:increase|raise|decrease|reduce|lower)(?: \w{1,8}){1,2} by|go (?:up|down)(?: by)?"
    r"|(?:short|over|low|high) by)"
    r" (?:exactly |just |only |precisely |another )?(?P<n>\d[\d.]{0,20}\d|\d)\b(?!\s?(?:%|[-+*/^x×]|(?:more )?(?:digits?|letters?|words?|lines?|steps?|terms?|cases?|places?|times)\b))|"
    r"\b(?P<m>\d[\d.]{0,20}\d|\d) (?!is|was|are|seems|looks|would)(?:\w+ )?(?P<side>too (?:small|low|little|few|large|high|much|many|big)|more|less|short|higher|lower|bigger"
    r"|smaller|larger|above|below|fewer)\b(?: than (?:your|the one|what you)| (?:your|of the|the right|what you)|[.!?]|\Z)"
)
_OF_A_PLACE = re.compile(
    r"\b(?:units?|ones|tens|hundreds|\w*thousands|\w*millions|tenths|hundredths|digit|figure|place|character|letter|cell|row|column|word|line|step|item|number|entry|element)"
    r"\W{1,3}(?:\w{1,6} )?\Z"
)
_BLACKLIST = re.compile(r"\b(?:not|n't|never|if|example|instance)\b[^.!?]{0,60}\Z")
_REPLACE = re.compile(
    r"\b(?:replace|change|turn|correct|swap out|substitute|alter|make)\s(?:the |your |that |word |letter |digit |number |last |first |middle |cell ){0,3}"
    r"[\"'`]?(?P<old>[^\W_]{1,30})[\"'`]?(?: in \w+| there)?\s(?:by|with|to|into|for|a|an)\s(?:be )?(?:an? |the )?[\"'`]?(?P<new>[^\W_]{1,30})\b|"
    r"\b(?:the |your )?[\"'`]?(?P<wrong>[^\W_]{1,30})[\"'`]? (?:should|must|ought to|has to|needs to) (?:be|become|read) (?:an? |the )?[\"'`]?(?P<right>[^\W_]{1,30})\b"
)
_LETTER_FROM = re.compile(r"\bfrom [\"'`]?([^\W_]{1,20})[\"'`]? (?:in)?to [\"'`]?([^\W_]{1,20})\b")
_SWAP = re.compile(
    r"\b(?:swap|exchange|switch|interchange|transpose)\s(?:the |your |words? |letters? |numbers? |digits? |around ){0,3}[\"'`]?(?P<a>[^\W_]{1,30})[\"'`]?"
    r" (?:and|with|for) (?:the )?[\"'`]?(?P<b>[^\W_]{1,30})\b"
)
_PLACE = re.compile(
    r"\b(?P<place>units|ones|tens|hundreds|thousands|first|second|third|fourth|fifth|sixth|last)(?:'s)?(?: digit| figure| place| letter| character| word)?"
    r"(?: is| should be| must be| ought to be| has to be| becomes| to| needs to be|:| =)(?: an?)? [\"'`]?(?P<new>\w{1,20})\b(?! too| off| wrong)"
)
_CELL = re.compile(
    r"\brow (?P<r>\d{1,2}),? (?:and |in |of )?(?:col(?:umn)?) (?P<c>\d{1,2})\W{1,3}(?:(?:is|should be|must be|holds|contains|has|gets|needs|put|write|set|enter|goes|takes|to|place|belongs"
    r"|=|:|->) ?){0,2}(?:an? |the )?(?P<v>\d)\b|"
    r"\((?P<r2>\d{1,2}), ?(?P<c2>\d{1,2})\)\W{1,3}(?:(?:is|should be|must be|holds|=|:|->) ?)?(?:an? )?(?P<v2>\d)\b"
)
_FILL = re.compile(
    r"(?:[\s,;:.|/<>=\-*•→⟶+()\[\]{}\"'`&~_#…!]|\b(?:after(?: it| this| which)?|put|write|place|followed|begin(?:s|ning)? with|start(?:s|ing)? with|"
    r"to finish|at last|once|now|add|you have|we have|there(?: is)?|lastly|onto|up to|this|behind it|then|and|next|followed by|after that|finally|lastly|last|comes?|is|are|the|"
    r"goes|go|before|at the end|end|in|item|number|word|place|position|by|ends? with|it|of all|which|precedes|is less than|less than|smaller than|"
    + "|".join(ORDINALS)
    + r"|[1-9](?=[.):]))\b){1,32}"
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•+]|\(?\d{1,2}[.)])[ \t]+", re.MULTILINE)
_PAIR = re.compile(
    r"\b([^\W\d_][\w-]{0,30})(?: (?:is|was|are|has|owns|gets|likes|lives in|plays|drinks|wears|=)|:| =)(?: an?| the)? ([^\W_][\w-]{0,30})\b"
)
_LINK = r"[\s\"'`:=\-–→>(,*_|]{0,6}(?:(?:is|was|are|has|must be|should be|as|an?|the|being|has to be|told|to be)\b[\s\"'`:=(*_]{0,4}){0,4}"
_RULED = re.compile(
    r"\b(?:rule|ruled|eliminate|exclude|discard|cross|strike|neither|nor|not|isn't|aren't|wrong|drop|forget|cannot|can't|impossible|leave out)\b"
)
_WITHOUT = re.compile(r"\b([^\W\d_]{3,30}) (?:without|minus|less) (?:the |its )?[\"'`]?([^\W\d_]{1,20})\b")
_GLUE = r"\s?[-+·|/_.*~]{1,2}\s?"


def grouped(reading: Reading, secret: Secret, known: Known) -> bool:
    """The digits in groups: `17-86`, `17 | 86`, seventeen eighty-six, "begins with 17 and ends with 86"."""
    wanted = secret.digits
    if len(wanted) < 3 or "/" in secret.written:
        return False
    text = reading.in_figures
    ends = secret.written not in known.written
    for m in (*_ENDS.finditer(text), *_AROUND.finditer(text)) if ends else ():
        head, tail = m["head"], m["tail"]
        if wanted.startswith(head) and wanted.endswith(tail) and len(head) + len(tail) >= len(wanted):
            return True
    found = list(_GROUP.finditer(text))
    cued = not reading.letters.isdisjoint({"digits", "digit", "figures", "together", "join"})
    for i, first in enumerate(found[:-1]):
        if not wanted.startswith(first[0]) or len(first[0]) >= len(wanted):
            continue
        run, j = first[0], i
        while j + 1 < len(found) and len(run) < len(wanted):
            between = text[found[j].end() : found[j + 1].start()]
            if len(between) > 24 or not (
                _TIGHT.fullmatch(between) or (cued and _ASIDE.fullmatch(between.strip() or " "))
            ):
                break
            j += 1
            run += found[j][0]
        own = [m[0] for m in found[i : j + 1]]
        if run == wanted and max(map(len, own)) > 1 and not known.written.issuperset(own):
            if len(wanted) > 3 or states(text, first.start(), found[j].end()):
                return True
    return False


def offset(reading: Reading, secret: Secret, known: Known) -> bool:
    """How far the attempt is from the answer, to the unit: "add 100 to your 1686", "3 too high"."""
    if (secret.integer is None and secret.kind != "number") or not known.readings[1:]:
        return False
    bases = {abs(v) for v in _last_numbers(known)} | set(_last_numbers(known))
    text = reading.in_figures
    for m in _OFFSET.finditer(text):
        size = Fraction(m["n"] or m["m"])
        before = text[max(0, m.start() - 70) : m.start()]
        if size and not _BLACKLIST.search(before) and not _OF_A_PLACE.search(before):
            if any(base + size in secret.values or base - size in secret.values for base in bases):
                return True
    return False


def edited(reading: Reading, secret: Secret, known: Known) -> bool:
    """A change that turns the last attempt into the answer: "change the y to e", "swap 7 and 4", "the tens digit is 3"."""
    if not known.readings[1:] or secret.kind == "choice":
        return False
    attempt, text = known.readings[-1].plain, reading.in_figures
    target = _bare(secret.plain)
    if len(target) < 2 or len(attempt) > 4000:
        return False
    bases = {_bare(attempt)} | ({_answer(known)} if secret.kind == "number" else set())
    if target in bases:
        return False
    cells = _CELL.findall(text) if secret.grids else []
    if cells and _filled(cells, secret, known):
        return True
    edits = [(m["old"] or m["wrong"], m["new"] or m["right"]) for m in _REPLACE.finditer(text)]
    edits += _LETTER_FROM.findall(text)
    if any(_replaced(base, old, new, target) for base in bases for old, new in edits if old != new):
        return True
    items, wanted = _items_of(attempt), _items_of(secret.plain)
    for m in _SWAP.finditer(text):
        for base in (items, list(_bare(attempt)), list(attempt)):
            places = [_index(base, word) for word in (m["a"], m["b"])]
            if None not in places and places[0] != places[1]:
                turned = list(base)
                a, b = places[0] or 0, places[1] or 0
                turned[a], turned[b] = turned[b], turned[a]
                if turned in (wanted, list(target)):
                    return True
    for m in _PLACE.finditer(text):
        for base in bases:
            if len(base) == len(target) and len(m["new"]) == 1:
                place = _PLACES.get(m["place"])
                at = len(base) - place if place else _at(m["place"], len(base))
                if 0 <= at < len(base) and base[:at] + m["new"] + base[at + 1 :] == target:
                    return True
    return bool(
        re.search(r"\b(?:right to left|backwards|reverse (?:it|your)|other way (?:a)?round|in reverse)\b", text)
    ) and (len(wanted) > 1 and items[::-1] == wanted and _swappable(text))


def listed(reading: Reading, secret: Secret, known: Known) -> bool:
    """The items of a list in their order, with any separator, numbered, one per line or in words."""
    items = list_items(secret)
    if len(items) < 3 or _runs_through(known.plain, items):
        return False
    texts = [reading.plain, reading.in_figures, " ".join(_BULLET.sub(" , ", reading.raw).split()).casefold()]
    if re.search(r"[a-z]", reading.plain) and all(i.isdigit() for i in items):
        texts.append(_single_words(reading.plain))
    return any(_runs_through(text, items) for text in dict.fromkeys(texts))


def paired(reading: Reading, secret: Secret, known: Known) -> bool:
    """A sentence of the shape "A is a b, and C is a d" as keys and values, either way round."""
    pairs = _pairs(secret.plain)
    if len(pairs) < 2 or len(pairs) > 20:
        return False
    text = reading.plain
    return all(any(p.search(text) for p in _pair_patterns(a, b)) for a, b in pairs) and not all(
        any(p.search(known.plain) for p in _pair_patterns(a, b)) for a, b in pairs
    )


def rows(reading: Reading, secret: Secret, known: Known) -> bool:
    """Every row of a grid that the last attempt lacks, in figures or words, in any order."""
    if secret.kind != "grid":
        return False
    attempt = known.readings[-1].raw if known.readings[1:] else ""
    own = {row for grid in grids(attempt) for row in grid}
    text = _single_words(reading.plain).replace("\\n", " ")
    for grid in secret.grids:
        missing = {row for row in grid if row not in own}
        if missing and sum(map(len, missing)) > 1 and all(_row_pattern(row).search(text) for row in missing):
            return True
    return False


def eliminated(reading: Reading, secret: Secret, known: Known) -> bool:
    """Every other option ruled out, or the right one by its place beside another."""
    if secret.kind != "choice" or not secret.options:
        return False
    count, index = len(secret.options), ord(secret.letter) - 65
    text = reading.plain
    chosen = {m for r in known.readings[-1:] for m in re.findall(r"(?<![\w'’])([A-Z])(?![\w'’])", r.raw)}
    for m in re.finditer(
        r"\b(?:letter|option|one|choice|answer|it|stands?|comes?|is|sits?|line)\b\W{1,2}(?:just |right |directly |immediately |that comes |comes |is )?(before|after|above|below|following|preceding)"
        r" (?:the )?(?:option |letter |one )?\(?([a-z]|you chose|yours?|your(?: own)? (?:choice|answer|option|letter))\b",
        text,
    ):
        bases = chosen if len(m[2]) > 1 else {m[2].upper()}
        step = -1 if m[1] in ("before", "above", "preceding") else 1
        if any(ord(b) - 65 + step == index for b in bases):
            return True
    if re.search(
        r"\b(?:one|1|a|the next) (?:letter|option|place|line|step)s? (?:further|later|down|after|on|below)\b", text
    ):
        return any(ord(b) - 64 == index for b in chosen)
    if re.search(r"\b(?:one|1) (?:letter|option|place|line|step)s? (?:earlier|before|up|back|above)\b", text):
        return any(ord(b) - 66 == index for b in chosen)
    if re.search(r"\b(?:second|next) to (?:the )?last|penultimate|last but one\b", text) and index == count - 2:
        return True
    number = ("one", "two", "three", "four", "five", "six", "seven", "eight")[index] if index < 8 else "none"
    if re.search(rf"\b(?:letter|option|choice|answer) (?:number |no\.? ?|# ?)?(?:{number}|{index + 1})\b", text):
        return True
    named = {c for c in re.findall(r"(?<![\w'’])([A-Z])(?![\w'’]|\.\w)", reading.raw) if ord(c) - 65 < count}
    others = {chr(65 + i) for i in range(count)} - {secret.letter}
    if count > 2 and _RULED.search(text) and secret.letter not in named and named and named | chosen >= others:
        return len(named) > 1 or count == 3
    return _own_word(reading, secret, known, index)


def joined(reading: Reading, secret: Secret, known: Known) -> bool:
    """A word in pieces (`ap-ple`, `ap + ple`) or left over from another ("pineapple without pine")."""
    if secret.kind != "word" or secret.short or len(secret.plain) < 4 or secret.loose.search(known.plain):
        return False
    text, word = reading.plain, secret.plain.rstrip(".")
    for m in _WITHOUT.finditer(text):
        if m[1] != word and word in (m[1].removeprefix(m[2]), m[1].removesuffix(m[2])):
            return True
    pattern = _glued(word)
    return any(m[0] != word for m in pattern.finditer(text))


# -- parts of the above ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _glued(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){rf'(?:{_GLUE})?'.join(map(re.escape, word))}(?![^\W_])")


def list_items(secret: Secret) -> list[str]:
    """The items of a reference that is a list; nothing where it is none."""
    if secret.kind in ("number", "choice", "word", "grid"):
        return []
    return (
        _items_of(secret.plain)
        if re.search(r"[,;]|\s[<>→-]+>?\s|\n", secret.text)
        else (secret.plain.split() if re.fullmatch(r"-?\d+(?: -?\d+)+", secret.plain) else [])
    )


def _items_of(plain: str) -> list[str]:
    inner = re.sub(r"^[\s\[({]+|[\s\])}.]+$", "", plain)
    items = [
        re.sub(r"^(?:and|or)\s+|^[\"'`(]+|[\"'`)]+$", "", p.strip()) for p in re.split(r"[,;]|\s(?:->|→|>|<)\s", inner)
    ]
    items = [i for i in items if i]
    return items if all(len(i) <= 40 and len(i.split()) <= 4 for i in items) else []


def _runs_through(text: str, items: list[str]) -> bool:
    """Whether the items follow each other with nothing but separators and words of order between."""
    starts = [m.end() for m in _item(items[0]).finditer(text)]
    for end in starts[:200]:
        for item in items[1:]:
            fill = _FILL.match(text, end)
            m = None
            if fill:
                m = _item(item).search(text, end, min(len(text), fill.end() + len(item) + 1))
            if m is None or not _FILL.fullmatch(text, end, m.start()):
                break
            end = m.end()
        else:
            return True
    return False


@lru_cache(maxsize=4096)
def _item(item: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?<!\d\.){re.escape(item)}(?![^\W_]|\.\d)")


_DIGITS = "zero one two three four five six seven eight nine ten".split()
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_DIGITS)})\b")


def _single_words(text: str) -> str:
    return _NUMBER_WORD.sub(lambda m: str(_DIGITS.index(m[0])), text)


@lru_cache(maxsize=1024)
def _row_pattern(row: tuple[int, ...]) -> re.Pattern[str]:
    between = r"(?:[\s,|;.\-/]{1,3}|,? (?:and|then) |)"
    return re.compile(rf"(?<![\w.]){between.join(map(str, row))}(?![\w]|\.\d)")


def _filled(cells: list[tuple[str, ...]], secret: Secret, known: Known) -> bool:
    shown = grids(known.readings[-1].raw)
    for wanted in secret.grids:
        told = {(int(a or d) - 1, int(b or e) - 1): int(c or f) for a, b, c, d, e, f in cells}
        inside = {k: v for k, v in told.items() if k[0] < len(wanted) and k[1] < len(wanted[0])}
        if not all(wanted[r][c] == v for (r, c), v in inside.items()):
            continue
        base = shown[-1] if shown and len(shown[-1]) == len(wanted) else ()
        missing = {
            (r, c)
            for r, row in enumerate(wanted)
            for c, v in enumerate(row)
            if not (base and c < len(base[r]) and base[r][c] == v)
        }
        if missing and missing <= set(inside):
            return True
    return False


def _last_numbers(known: Known) -> list[Fraction]:
    numbers = known.readings[-1].numbers
    return [v for n in numbers[-1:] for v in n.values] + [v for n in numbers[:-1] if len(numbers) < 4 for v in n.values]


def _answer(known: Known) -> str:
    numbers = known.readings[-1].numbers
    return numbers[-1].written.lstrip("-") if numbers else ""


def _bare(text: str) -> str:
    return re.sub(r"[\s\[\](){}\"'`.]", "", text)


def _replaced(base: str, old: str, new: str, target: str) -> bool:
    if len(target) + len(old) - len(new) != len(base) and base.replace(old, new) != target:
        return False
    if base.replace(old, new) == target:
        return True
    at = base.find(old)
    for _ in range(20):
        if at < 0:
            return False
        if base[:at] + new + base[at + len(old) :] == target:
            return True
        at = base.find(old, at + 1)
    return False


def _index(items: list[str], word: str) -> int | None:
    if word in items:
        return items.index(word)
    if word in ORDINALS or word == "last":
        at = _at(word, len(items))
        return at if 0 <= at < len(items) else None
    return None


def _at(ordinal: str, length: int) -> int:
    return length - 1 if ordinal == "last" else ORDINALS.index(ordinal)


def _swappable(text: str) -> bool:
    return not re.search(r"\b(?:not|n't|never)\b", text)


@lru_cache(maxsize=1024)
def _pairs(plain: str) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(_PAIR.findall(plain)))


@lru_cache(maxsize=4096)
def _pair_patterns(a: str, b: str) -> tuple[re.Pattern[str], ...]:
    a, b = re.escape(a), re.escape(b)
    return tuple(re.compile(rf"(?<!\w){x}(?!\w){_LINK}(?<!\w){y}(?:s|es)?(?!\w)") for x, y in ((a, b), (b, a)))


def _own_word(reading: Reading, secret: Secret, known: Known, index: int) -> bool:
    """A telling word of the right option alone, that neither the question's stem nor the attempt has."""
    stem = re.split(r"\n\s*\(?A[).:]", known.readings[0].raw)[0].casefold() if known.readings else ""
    if stem and any(secret.options[index].casefold() in r.plain for r in known.readings[1:]):
        return False
    words = [set(re.findall(r"[a-z]{5,}", text.casefold())) for text in secret.options]
    seen = set(re.findall(r"[a-z]+", " ".join([stem, *(r.plain for r in known.readings[1:])])))
    own = words[index] - set().union(*(w for i, w in enumerate(words) if i != index)) - seen - COMMON
    said = set(re.findall(r"[a-z]+", reading.plain))
    others = set().union(*(w for i, w in enumerate(words) if i != index))
    return bool(own & said) and not (others - seen) & said
