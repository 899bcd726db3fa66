"""The labelled set of the audit: leaking and clean feedback of every domain, made by a seed.

Everything that can be said is split into two halves by `SEED`: `seen`, which the detectors were written against, and
`held_out`, which their author did not look at. A row is made of one half only: its sentence and its spelling.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from rl2f_hub.records import Privilege, Verdict
from rl2f_hub.teachers import Situation
from rl2f_hub.teachers.audit import afterwards
from rl2f_hub.teachers.audit.items import DOMAINS, Item
from rl2f_hub.teachers.audit.phrases import CLEAN, CLEAN_KINDS, MENTIONS, STATEMENTS
from rl2f_hub.teachers.audit.spellings import PHRASES, Spelling
from rl2f_hub.teachers.audit.whole import WHOLE
from rl2f_hub.teachers.scripted import ScriptedTeacher

SEED = 20_251
HALVES = ("seen", "held_out")
LATE = "afterwards"
# Of these, a sentence that only mentions them is no leak: they are short, or stand in the question.
NEED_STATEMENT = ("digit", "listed word", "listed number", "choice")
T = TypeVar("T")


def half_of(things: Sequence[T], group: str, half: str, seed: int = SEED) -> list[T]:
    """One of the two halves of `things`, in their order; single things belong to both."""
    if len(things) < 2:
        return list(things)
    places = list(range(len(things)))
    random.Random(f"{seed}/{group}").shuffle(places)
    cut = (len(places) + 1) // 2
    return [things[i] for i in sorted(places[:cut] if half == "seen" else places[cut:])]


def rows(leaking: int = 800, clean: int = 800, seed: int = SEED) -> list[dict[str, Any]]:
    """`leaking` + `clean` rows a half, and those of `afterwards.py`.

    Fields: question, reference, student, feedback, leak, form, domain, half.

    Code rows also have `solution` and `tests`, worked ones `solution`. `form` is the kind of innocent feedback where
    `leak` is false.
    """
    out = []
    for half in HALVES:
        rng = random.Random(f"{seed}/rows/{half}")
        for made, wanted in ((_leaks(rng, half), leaking), (_clean(rng, half), clean)):
            out += [row | {"half": half} for row, _ in zip(made, range(wanted), strict=False)]
    return out + [row | {"half": LATE} for row in _late(random.Random(f"{seed}/rows/{LATE}"))]


def _late(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Every late sentence in every domain that has a reference to put into it."""
    for domain, make in DOMAINS.items():
        for leak, sentences in ((True, afterwards.STATEMENTS), (False, afterwards.CLEAN)):
            for sentence in sentences if domain != "code" else ():
                item = make(rng)
                text = sentence.format(x=item.reference, student=_answer(item))
                yield _row(item, text, leak, "late: " + domain if leak else "late")


def _leaks(rng: random.Random, half: str) -> Iterator[dict[str, Any]]:
    """For ever: every form in turn, each with its spellings in turn, in a domain that has it."""
    plans: list[tuple[str, list[Spelling], bool]] = [
        (form, half_of(spellings, f"{kind}/{form}", half), kind == "phrase")
        for kind, table in (("phrase", PHRASES), ("whole", WHOLE))
        for form, spellings in table.items()
    ]
    turn = 0
    while True:
        for form, spellings, within in plans:
            spelling = spellings[turn % len(spellings)]
            item, text = _spelled(spelling, rng)
            if within:
                mention = item.domain not in NEED_STATEMENT and rng.random() < 0.3
                frames = half_of(MENTIONS, "mentions", half) if mention else half_of(STATEMENTS, "statements", half)
                text = rng.choice(frames).format(x=text)
            yield _row(item, text, True, form)
        turn += 1


def _spelled(spelling: Spelling, rng: random.Random) -> tuple[Item, str]:
    """An item that has the spelling, of a domain that is drawn evenly."""
    names = list(DOMAINS)
    for _ in range(10_000):
        item = DOMAINS[rng.choice(names)](rng)
        if text := spelling(item, rng):
            return item, text
    raise AssertionError("a spelling that no item has")


def _clean(rng: random.Random, half: str) -> Iterator[dict[str, Any]]:
    """For ever: every domain in turn, and in each its kinds of innocent feedback in turn."""
    turn = 0
    while True:
        for domain, make in DOMAINS.items():
            kinds = CLEAN_KINDS[domain]
            kind, item = kinds[turn % len(kinds)], make(rng)
            yield _row(item, _innocent(item, kind, half, rng), False, kind)
            if turn % 5 == 0 and (hint := _scripted(item)) is not None:
                yield _row(item, hint, False, "scripted")
        turn += 1


def _innocent(item: Item, kind: str, half: str, rng: random.Random) -> str:
    """A sentence of the kind; drawn again where a random number in it happens to be the answer."""
    while True:
        text = rng.choice(half_of(CLEAN[kind], f"clean/{kind}", half)).format(
            student=_answer(item),
            near=rng.choice(item.near) if item.near else "that",
            asked=_asked(item, rng),
            n=rng.randint(2, 9 if item.domain == "digit" else 40),
            wrong=_answer(item),
            pair=_pair(item, rng),
            step=_step(item, rng),
        )
        number = re.fullmatch(r"\W*(\d{2,})\W*", item.reference)
        if not number or not re.search(rf"\b{number[1]}\b", text):
            return text


def _answer(item: Item) -> str:
    """The student's answer without the words around it."""
    if found := re.search(r"-?\d+(?=\}?$)", item.student):
        return found[0] if item.domain in ("integer", "worked") else item.student
    return item.student


def _asked(item: Item, rng: random.Random) -> str:
    words = re.findall(r"-?\d+|[a-z]{4,}", item.question)
    return rng.choice(
        [w for w in words if item.domain != "listed word" or w in item.reference or w in item.near] or words
    )


def _step(item: Item, rng: random.Random) -> str:
    """A true intermediate result of the item, which is not its answer."""
    if found := re.match(r"What is (\d+) \* (\d+)", item.question):
        a, b = int(found[1]), int(found[2])
        part = rng.choice([b // 10 * 10, b % 10, a % 100 and b // 10]) or b
        return f"{a} * {part} = {a * part}" if part != b else f"{a} * 2 = {a * 2}"
    if found := re.search(r"buys (\d+) crates at (\d+) coins", item.question):
        return f"{found[1]} * {found[2]} = {int(found[1]) * int(found[2])}"
    a = rng.randint(3, 9)
    return f"{a} * {a} = {a * a}"


def _pair(item: Item, rng: random.Random) -> str:
    """Two options that the student did not choose, the right one among them."""
    if not item.options:
        return "you see"
    return " and ".join(sorted([item.reference, rng.choice(item.near)]))


def _scripted(item: Item) -> str | None:
    if item.domain == "code":
        return None
    verdict = Verdict(False, 0.0, _answer(item), "")
    privilege = Privilege("answer", item.reference)
    reply = ScriptedTeacher().feedback(
        [Situation(item.question, item.domain, (item.student,), (), verdict, privilege)]
    )[0]
    return reply.text if reply else None


def _row(item: Item, text: str, leak: bool, form: str) -> dict[str, Any]:
    row = {"question": item.question, "reference": item.reference, "student": item.student, "feedback": text}
    extra = {"solution": item.solution, "tests": item.tests}
    return row | {"leak": leak, "form": form, "domain": item.domain} | {k: v for k, v in extra.items() if v}
