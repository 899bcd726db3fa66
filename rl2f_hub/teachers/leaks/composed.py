"""Forms in which an answer is put together from pieces: groups of digits, edits of the attempt, lists, pairs, rows.

Each detector takes a reading, the secret and what is known, as in `numbers` and `texts`. All patterns are bounded.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from rl2f_hub.teachers.leaks.reading import Reading, read, states, undated
from rl2f_hub.teachers.leaks.secret import COMMON, Known, Secret, known_of, secret_of, whole
from rl2f_hub.teachers.leaks.texts import spelled
from rl2f_hub.verify.grid import grids

ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
_PLACES = {"units": 1, "unit": 1, "ones": 1, "tens": 2, "hundreds": 3, "thousands": 4}
_GROUP = re.compile(r"(?<![\w.,$£€])\d{1,9}(?![\w%]|\.\d)")
_TIGHT = re.compile(r"\s?[-|/_:~·•\\]{1,2}\s?|[\s.]{1,3}|,? (?:and )?then |,? followed by |,? (?:and )?next ")
_ROUND_AND = re.compile(r"(?<![\w.])([1-9]\d{0,8}00) and (\d{1,8})(?![\w%]|\.\d)")  # 1700 and 11
_ASIDE = re.compile(r"[\s,;|/-]{1,3}|\band\b")
_GROUP_END = r"\b(?!\s(?:digits?|figures?|numbers?|ones|places?|letters?|are|is)\b)"
_ENDS = re.compile(
    rf"\b(?:start|begin|open|first|lead|front)\w*(?:\W+\w+){{0,4}}?\W{{1,4}}(?P<head>\d{{1,9}}){_GROUP_END}.{{1,60}}?"
    rf"\b(?:end|finish|last|clos|final|back|rest|remain"
    rf"|trail)\w*(?:\W+\w+){{0,4}}?\W{{1,4}}(?P<tail>\d{{1,9}}){_GROUP_END}",
    re.DOTALL,
)
_FRACTION = (
    re.compile(
        r"(?<![\w.])(?P<top>-?\d{1,9})\s?(?:over|÷|:|on top of|above"
        r"|divided by|(?:out )?of every|out of|in(?: every)?)\s?(?:the )?(?P<bottom>\d{1,9})\b"
    ),
    re.compile(
        r"\bnumerator\b[^.;\d]{0,24}(?P<top>-?\d{1,9})\b[^.;\d]{1,24}\bdenominator\b[^.;\d]{0,16}(?P<bottom>\d{1,9})\b"
    ),
    re.compile(
        r"\bdenominator\b[^.;\d]{0,24}(?P<bottom>\d{1,9})\b[^.;\d]{1,24}\bnumerator\b[^.;\d]{0,16}(?P<top>-?\d{1,9})\b"
    ),
)
_AROUND = re.compile(
    r"(?<![\w.])(?P<head>\d{1,9}) (?:in front|at the (?:front|start|beginning)|first|to begin|to start)\b.{1,40}?"
    r"(?<![\w.])(?P<tail>\d{1,9}) (?:behind|at the (?:back|end)|last|after|to finish|to end)\b"
)
_OFFSET = re.compile(
    r"\b(?P<add>add|subtract|take(?: away| off)?|deduct|remove|knock off|(?:increase|raise|decrease|reduce"
    r"|lower)(?: \w{1,8}){1,2} by|go (?:up|down)(?: by)?"
    r"|(?:short|over|low|lower|high|higher|smaller|larger|greater|bigger|off|out|wrong|(?:over|under)sho[ot]t?) by)"
    r" (?:exactly |just |only |precisely |another )?[-+]?(?P<n>\d[\d.]{0,20}\d|\d)\b(?!\s?(?:%|[-+*/^x×]"
    r"|(?:more )?(?:digits?|letters?|words?|lines?|steps?|terms?|cases?|places?|times)\b))|"
    r"\b(?P<m>\d[\d.]{0,20}\d|\d) (?!is|was|are|seems|looks|would)(?:\w+ )?(?P<side>too (?:small|low|little"
    r"|few|large|high|much|many|big)|more|less|short|higher|lower|bigger"
    r"|smaller|larger|above|below|fewer)\b(?: than (?:your|the one|what you|it should|the (?:true|right"
    r"|correct)|needed)| (?:your|of the|the right"
    r"|what you)|[.!?]|\Z)"
)
_BASE = r"(?:your(?: \w{1,10})?|yours|what you (?:wrote|got|have|said)|the (?:right |correct |true )?(?:answer|result|value))"
_DIFFERENCE = re.compile(
    rf"\b{_BASE} (?:plus|minus|[-+]) (?P<n>\d{{1,20}})\b|"
    rf"\b{_BASE} (?:minus|-|and) {_BASE} (?:is|are|=|differ by|makes) ?-?(?P<m>\d{{1,20}})\b|"
    r"\b(?:difference|gap|distance)\b[^.!?\d]{0,48} (?:is|of|=|:) (?:exactly )?-?(?P<k>\d{1,20})\b"
)
_OF_DIFFERENCE = frozenset("your yours what answer result value difference gap distance".split())
_OF_A_SHIFT = frozenset("raise increase lower decrease reduce bump numerator denominator top bottom".split())
_OF_AN_EDIT = frozenset(
    "replace change turn correct swap substitute alter make should must ought has needs from".split()
)
_OF_A_SWAP = frozenset("swap exchange switch interchange transpose".split())
_SHIFT = re.compile(
    r"\b(?P<way>raise|increase|lower|decrease|reduce|bump up) (?:the |your )?"
    r"(?P<place>units|ones|tens|hundreds|thousands|last|first)"
    r"(?: digit| figure| place)? by (?P<n>\d)\b"
)
_HALF_OF = re.compile(
    r"\b(?P<half>numerator|top|denominator|bottom)(?: number| figure)? (?:should|must|has to"
    r"|needs to|ought to)(?: be| become| read) (?P<n>\d{1,9})\b"
)
_OF_A_PLACE = re.compile(
    r"\b(?:units?|ones|tens|hundreds|\w*thousands|\w*millions|tenths|hundredths|digit|figure|place|character"
    r"|letter|cell|row|column|word|line|step|item|number|entry|element)"
    r"\W{1,3}(?:\w{1,6} )?\Z"
)
_BLACKLIST = re.compile(r"\b(?:not|n't|never|if|example|instance)\b[^.!?]{0,60}\Z")
_REPLACE = re.compile(
    r"\b(?:replace|change|turn|correct|swap out|substitute|alter|make)\s(?:the |your |that |word |letter "
    r"|digit |number |last |first |second |third |middle |cell ){0,3}"
    r"[\"'`]?(?P<old>[^\W_]{1,30})[\"'`]?(?: in \w+| there)?\s(?:by|with|to|into|for|a|an)\s(?:be )?(?:an? "
    r"|the )?[\"'`]?(?P<new>[^\W_]{1,30})\b|"
    r"\b(?:the |your )?[\"'`]?(?P<wrong>[^\W_]{1,30})[\"'`]? (?:should|must|ought to|has to|needs to) (?:be"
    r"|become|read) (?:an? |the )?[\"'`]?(?P<right>[^\W_]{1,30})\b"
)
_LETTER_FROM = re.compile(r"\bfrom [\"'`]?([^\W_]{1,20})[\"'`]? (?:in)?to [\"'`]?([^\W_]{1,20})\b")
_SWAP = re.compile(
    r"\b(?:swap|exchange|switch|interchange|transpose)\s(?:the |your |words? |letters? |numbers? |digits? "
    r"|around ){0,3}[\"'`]?(?P<a>[^\W_]{1,30})[\"'`]?"
    r" (?:and|with|for) (?:the )?[\"'`]?(?P<b>[^\W_]{1,30})\b"
)
_PLACE = re.compile(
    r"\b(?P<place>units|ones|tens|hundreds|thousands|first|second|third|fourth|fifth|sixth"
    r"|last)(?:'s)?(?: digit| figure| place| letter| character| word)?"
    r"(?: is| should be| must be| ought to be| has to be| becomes| to| needs to be|:"
    r"| =)(?: an?)? [\"'`]?(?P<new>\w{1,20})\b(?! too| off| wrong)"
)
_CELL = re.compile(
    r"\brow (?P<r>\d{1,2}),? (?:and |in |of )?(?:col(?:umn)?) (?P<c>\d{1,2})\W{1,3}(?:(?:is|should be|must be"
    r"|holds|contains|has|gets|needs|put|write|set|enter|goes|takes|to|place|belongs"
    r"|=|:|->) ?){0,2}(?:an? |the )?(?P<v>\d)\b|"
    r"\((?P<r2>\d{1,2}), ?(?P<c2>\d{1,2})\)\W{1,3}(?:(?:is|should be|must be|holds|=|:|->) ?)?(?:an? )?(?P<v2>\d)\b"
)
_ORDINAL_PLACE = re.compile(rf"\b({'|'.join(ORDINALS)}) (row|column|cell|entry|number|value|place)\b")
_FILL = re.compile(
    r"(?:[\s,;:.|/<>=\-*•→⟶+()\[\]{}\"'`&~_#…!]|\b(?:after(?: it| this| that| which)?|put|write|place|followed"
    r"|begin(?:s|ning)? with|start(?:s|ing)? with|"
    r"to finish|at last|once|now|add|you have|we have|there(?: is)?|lastly|onto|up to|this|behind it|then|and"
    r"|next|followed by|after that|finally|lastly|last|comes?|is|are|the|"
    r"goes|go|before|at the end|end|in|item|number|word|place|position|by|ends? with|it|of all|which|precedes"
    r"|is less than|less than|smaller than|" + "|".join(ORDINALS) + r"|[1-9](?=[.):]))\b){1,32}"
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•+]|\(?\d{1,2}[.)])[ \t]+", re.MULTILINE)
_PAIR = re.compile(
    r"\b([^\W\d_][\w-]{0,30})(?: (?:is|was|are|has|owns|gets|likes|lives in|plays|drinks|wears|=)|:"
    r"| =)(?: an?| the)? ([^\W_][\w-]{0,30})\b"
)
_LINK = (
    r"[\s\"'`:=\-–→>(,*_|]{0,6}(?:(?:is|was|are|has|must be|should be|as|an?|the|being|has to be"
    r"|told|to be)\b[\s\"'`:=(*_]{0,4}){0,4}"
)
_RULED = re.compile(
    r"\b(?:rule|ruled|eliminate|exclude|discard|cross|strike|neither|nor|not|isn't|aren't|wrong|drop|forget"
    r"|cannot|can't|impossible|leave out)\b"
)
_WITHOUT = re.compile(r"\b([^\W\d_]{3,30}) (?:without|minus|less) (?:the |its )?[\"'`]?([^\W\d_]{1,20})\b")
_TWO = (("true", "false"), ("yes", "no"), ("even", "odd"), ("valid", "invalid"), ("possible", "impossible"))
_OPPOSITE = re.compile(
    r"\b(?:opposite (?:of|to) (?:what you|your|yours)|(?:flip|negate|invert|reverse) your (?:answer|verdict|reply)"
    r"|the opposite (?:is|holds))\b"
)
_GLUE = r"(?:\s?[-+·|/_.*~]{1,2}\s?|,? (?:followed by|plus|and then|then|and) )"


def grouped(reading: Reading, secret: Secret, known: Known) -> bool:
    """The digits in groups: `17-86`, `17 | 86`, seventeen eighty-six, "begins with 17 and ends with 86"."""
    wanted = secret.digits
    text = reading.in_figures
    if secret.integer is None and secret.values:
        parts = [m.group("top", "bottom") for pattern in _FRACTION for m in pattern.finditer(undated(text))]
        return secret.written not in known.written and any(
            (
                int(bottom)
                and Fraction(int(top), int(bottom)) in secret.values
                and not known.operands.issuperset((top, bottom))
            )
            or f"{top}/{bottom}" == secret.written
            for top, bottom in parts
        )
    if len(wanted) < 3:
        return False
    ends = secret.written not in known.written
    for m in (*_ENDS.finditer(text), *_AROUND.finditer(text)) if ends else ():
        head, tail = m["head"], m["tail"]
        if wanted.startswith(head) and wanted.endswith(tail) and len(head) + len(tail) >= len(wanted):
            return True
    for m in _ROUND_AND.finditer(text):
        size = 10 ** (len(m[1]) - len(m[1].rstrip("0")))
        own = int(m[2]) < size and int(m[1]) + int(m[2]) in secret.values
        if own and not known.written.issuperset((m[1], m[2])):
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
        is_it = run == wanted and max(map(len, own)) > 1 and not known.written.issuperset(own)
        if is_it and (len(wanted) > 3 or states(text, first.start(), found[j].end())):
            return True
    return False


def offset(reading: Reading, secret: Secret, known: Known) -> bool:
    """How far the attempt is from the answer, to the unit: "add 100 to your 1686", "3 too high"."""
    if (secret.integer is None and secret.kind != "number") or not known.readings[1:]:
        return False
    bases = {abs(v) for v in _last_numbers(known)} | set(_last_numbers(known))
    text = reading.in_figures
    if not re.search(r"\d", text):
        return False
    for m in _OFFSET.finditer(text):
        size = Fraction(m["n"] or m["m"])
        before = text[max(0, m.start() - 70) : m.start()]
        if not size or _BLACKLIST.search(before) or _OF_A_PLACE.search(before):
            continue
        if any(base + size in secret.values or base - size in secret.values for base in bases):
            return True
    for m in () if reading.letters.isdisjoint(_OF_DIFFERENCE) else _DIFFERENCE.finditer(text):
        size = Fraction(next(filter(None, m.groups())))
        if size and any(base + size in secret.values or base - size in secret.values for base in bases):
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
    if secret.kind == "number" and not reading.letters.isdisjoint(_OF_A_SHIFT) and _shifted(text, secret, known):
        return True
    cells = _CELL.findall(_cells_named(text)) if secret.grids else []
    if cells and _filled(cells, secret, known):
        return True
    told = not reading.letters.isdisjoint(_OF_AN_EDIT)
    edits = [(m["old"] or m["wrong"], m["new"] or m["right"]) for m in _REPLACE.finditer(text)] if told else []
    edits += _LETTER_FROM.findall(text) if told else []
    if any(_replaced(base, old, new, target) for base in bases for old, new in edits if old != new):
        return True
    items, wanted = _items_of(attempt), _items_of(secret.plain)
    for m in () if reading.letters.isdisjoint(_OF_A_SWAP) else _SWAP.finditer(text):
        for parts in (items, list(_bare(attempt)), list(attempt)):
            places = [_index(parts, word) for word in (m["a"], m["b"])]
            if None not in places and places[0] != places[1]:
                turned = list(parts)
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
    if len(items) > 3 and all(len(i) == 1 for i in items):
        run = "".join(items)
        if whole(run).search(reading.plain) and run not in known.plain:
            return True
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
    shown = {row for r in known.readings for grid in grids(r.raw) for row in grid}
    text = _single_words(reading.plain).replace("\\n", " ")
    for grid in secret.grids:
        missing = {row for row in grid if row not in own}
        fresh = (
            {row for row in missing - shown if len(row) > 2 and len(set(row)) > 1} if "row" in reading.letters else ()
        )
        if any(re.search(rf"\brow\b[^.;\n]{{0,24}}{_row_pattern(row).pattern}", text) for row in fresh):
            return True
        if missing and sum(map(len, missing)) > 1 and all(_row_pattern(row).search(text) for row in missing):
            return True
    return False


def eliminated(reading: Reading, secret: Secret, known: Known) -> bool:
    """Every other option ruled out, or the right one by its place beside another; of two words, the other one."""
    if secret.kind == "word":
        return _other_of_two(reading.plain, secret.plain, known)
    if secret.kind != "choice" or not secret.options:
        return False
    count, index = len(secret.options), ord(secret.letter) - 65
    text = reading.plain
    own_texts = [read(option).plain for option in secret.options]
    told = {chr(65 + i) for i, own in enumerate(own_texts) if len(own) > 2 and whole(re.escape(own)).search(text)}
    if _by_shape(text, own_texts, index):
        return True
    chosen = {m for r in known.readings[-1:] for m in re.findall(r"(?<![\w'’])([A-Z])(?![\w'’])", r.raw)}
    for m in re.finditer(
        r"(?:\A|\b(?:letter|option|one|choice|answer|it|stands?|comes?|is|sits?|line)\b\W{1,2})(?:just |right "
        r"|directly |immediately |that comes |comes |is )?(before|after|above|below|following|preceding)"
        r" (?:the )?(?:option |letter |one )?\(?([a-z]|you chose|yours?|your(?: own)? (?:choice|answer|option"
        r"|letter))\b",
        _lettered(text, own_texts) if told else text,
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
    between = re.search(r"\bbetween (?:options? |the letters? )?\(?([a-z])\)? and \(?([a-z])\b", text)
    if between and ord(between[2]) - ord(between[1]) == 2:
        return ord(between[1]) - 96 == index
    if place := re.search(r"\b(second|2nd|third|3rd) from (?:the )?(bottom|last|end|top|start)\b", text):
        step = 2 if place[1] in ("second", "2nd") else 3
        return index == (step - 1 if place[2] in ("top", "start") else count - step)
    if re.search(r"\b(?:second|next) to (?:the )?last|penultimate|last but one\b", text) and index == count - 2:
        return True
    number = ("one", "two", "three", "four", "five", "six", "seven", "eight")[index] if index < 8 else "none"
    if re.search(rf"\b(?:letter|option|choice|answer) (?:number |no\.? ?|# ?)?(?:{number}|{index + 1})\b", text):
        return True
    named = {c for c in re.findall(r"(?<![\w'’])([A-Z])(?![\w'’]|\.\w)", reading.raw) if ord(c) - 65 < count}
    named |= told
    others = {chr(65 + i) for i in range(count)} - {secret.letter}
    if count > 2 and _RULED.search(text) and secret.letter not in named and named and named | chosen >= others:
        return len(named) > 1 or count == 3
    return _own_word(reading, secret, known, index)


def joined(reading: Reading, secret: Secret, known: Known) -> bool:
    """A word in pieces (`ap-ple`, `ap + ple`) or left over from another ("pineapple without pine")."""
    if secret.kind == "choice" and ord(secret.letter) - 65 < len(secret.options):
        option = secret_of(secret.options[ord(secret.letter) - 65])
        return option.kind == "word" and (spelled(reading, option, known) or joined(reading, option, known_of(())))
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


def _other_of_two(text: str, word: str, known: Known) -> bool:
    """`not True`, "the opposite of what you said", where the answer is one of two."""
    other = next((b if a == word else a for a, b in _TWO if word in (a, b)), "")
    if not other or not known.readings[1:] or not re.search(rf"\b{other}\b", known.readings[-1].plain):
        return False
    return bool(_OPPOSITE.search(text) or re.fullmatch(rf"\W*(?:it is |it's )?not {other}\W*", text))


def _lettered(text: str, options: list[str]) -> str:
    """The text with the options' own words as their letters."""
    for i, own in enumerate(options):
        text = whole(re.escape(own)).sub(chr(97 + i), text) if len(own) > 2 else text
    return text


def _by_shape(text: str, options: list[str], index: int) -> bool:
    """The option by its length: "the one with two words", "the longest option"."""
    m = re.search(
        r"\b(?:one|option|answer|choice) (?:with|that has|of) (?:only |exactly )?(\w{1,5}) (words|letters)\b", text
    )
    if m:
        size = [len(own.split()) if m[2] == "words" else len(re.sub(r"\W", "", own)) for own in options]
        number = _single_words(m[1])
        return number.isdigit() and size[index] == int(number) and size.count(int(number)) == 1
    m = re.search(r"\b(longest|shortest) (?:option|one|answer|choice|word)\b", text)
    size = [len(own) for own in options]
    return bool(m) and size[index] == (max if m and m[1] == "longest" else min)(size) and size.count(size[index]) == 1


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


def _cells_named(text: str) -> str:
    """Cells that are named by ordinals (`the second cell of the third row`) as `row 3 column 2`."""
    if "row" not in text:
        return text
    text = _ORDINAL_PLACE.sub(lambda m: f"{m[2]} {ORDINALS.index(m[1]) + 1}", text)
    text = re.sub(r"\brow (\d{1,2}),? (?:the )?(?:cell|entry|number|value|place) (\d)", r"row \1 column \2", text)
    return re.sub(
        r"\b(?:cell|entry|number|value|column|place) (\d{1,2}),? (?:of|in) (?:the )?row (\d{1,2})",
        r"row \2 column \1",
        text,
    )


def _shifted(text: str, secret: Secret, known: Known) -> bool:
    """A digit of the attempt moved by so many, or one half of a fraction put right."""
    base = _answer(known)
    for m in _SHIFT.finditer(text):
        place = _PLACES.get(m["place"]) or (1 if m["place"] == "last" else len(base))
        step = int(m["n"]) * 10 ** (place - 1) * (1 if m["way"] in ("raise", "increase", "bump up") else -1)
        if base.isdigit() and int(base) + step in secret.values:
            return True
    top, _, bottom = base.partition("/")
    own = secret.written.partition("/")
    for m in _HALF_OF.finditer(text) if bottom else ():
        is_top = m["half"] in ("numerator", "top")
        if (m["n"], bottom) == (own[0], own[2]) if is_top else (top, m["n"]) == (own[0], own[2]):
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
