"""Requirements that a program can check on one sentence: what a person adds when a model's first try is not it.

Each kind is one `Kind`: how it is drawn, checked, told to a teacher or a student in plain words, and asked for when it is
not met. `HELD_OUT_KINDS` are for evaluation: kinds of requirement that training need never meet.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rl2f_hub.tasks.writing.topics import AVOIDED, CLOSERS, COLOURS, NAMES, NUMBERS, OPENERS, THINGS, with_article

_DIGITS = dict(zip(NUMBERS, ("2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "20", "40"), strict=True))
WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*|\d+")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that the sentence must do: a `kind` of `KINDS` and its `value` (a word or a number, as text)."""

    kind: str
    value: str = ""

    def is_met(self, sentence: str) -> bool:
        """Whether the sentence does it."""
        return KINDS[self.kind].check(sentence, self.value)

    def described(self) -> str:
        """In plain words, to follow "It must": `mention a train`."""
        return KINDS[self.kind].described.format(value=self.value, a_value=with_article(self.value or "x"))

    def asked_for(self, rng: random.Random, phrasings: int | None = None) -> str:
        """One of the first `phrasings` ways of asking for it; of all of them by default."""
        said = rng.choice(KINDS[self.kind].phrasings[:phrasings])
        return said.format(value=self.value, a_value=with_article(self.value or "x"))

    def to_json(self) -> list[str]:
        return [self.kind, self.value]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of requirement.

    Attributes:
        draw: (rng, nouns of the topic) -> value.
        check: (sentence, value) -> met.
        described: completes "It must".
        phrasings: ways of asking for it.
    """

    draw: Callable[[random.Random, Sequence[str]], str]
    check: Callable[[str, str], bool]
    described: str
    phrasings: tuple[str, ...]


def words_of(sentence: str) -> list[str]:
    """The words of a sentence, in lower case, apostrophes straight."""
    return [word.casefold().replace("’", "'") for word in WORD.findall(sentence)]


def has_word(sentence: str, word: str) -> bool:
    """Whether the word or its plain plural stands in the sentence."""
    forms = {word.casefold(), *plurals(word.casefold())}
    return any(w.removesuffix("'s") in forms for w in words_of(sentence))


def plurals(noun: str) -> tuple[str, ...]:
    """The regular plurals of a noun (`boxes`, `ponies`, `leaves`), for checking, not for writing."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return (noun[:-1] + "ies",)
    if noun.endswith(("f", "fe")):
        return (noun.rstrip("e").removesuffix("f") + "ves", noun + "s")
    return (noun + "es", noun + "s")


def _other_thing(rng: random.Random, topic: Sequence[str]) -> str:
    return rng.choice([thing for thing in THINGS if thing not in topic])


def _one_of(values: Sequence[str]) -> Callable[[random.Random, Sequence[str]], str]:
    return lambda rng, topic: rng.choice(values)


def _ending(mark: str) -> Callable[[str, str], bool]:
    return lambda sentence, value: sentence.rstrip(" \"'”’*").endswith(mark)


def _nothing(rng: random.Random, topic: Sequence[str]) -> str:
    return ""


KINDS: dict[str, Kind] = {
    "include": Kind(
        _other_thing,
        has_word,
        "mention {a_value}",
        (
            "Add {a_value} to it.",
            "There must be {a_value} in it.",
            "Please mention {a_value}.",
            "I miss {a_value}.",
            "Put {a_value} in as well.",
            "It should also have {a_value} in it.",
            "Something about {a_value} belongs in there.",
            "Bring in {a_value}.",
        ),
    ),
    "question": Kind(
        _nothing,
        _ending("?"),
        "be a question",
        (
            "Make it a question.",
            "It should be a question.",
            "Ask it as a question, please.",
            "End it with a question mark.",
            "I would like a question instead.",
            "Please turn it into a question.",
        ),
    ),
    "max_words": Kind(
        lambda rng, topic: str(rng.randint(7, 10)),
        lambda sentence, value: len(words_of(sentence)) <= int(value),
        "have at most {value} words",
        (
            "Use at most {value} words.",
            "It is too long: {value} words at most.",
            "Make it shorter, no more than {value} words.",
            "Keep it to {value} words.",
            "Shorten it to {value} words or fewer.",
            "That is too many words; {value} is the limit.",
        ),
    ),
    "colour": Kind(
        _one_of(COLOURS),
        has_word,
        "have the colour {value} in it",
        (
            "Something in it must be {value}.",
            "Add the colour {value}.",
            "Please use the colour {value}.",
            "Make something {value}.",
            "I want to read the word {value} in it.",
        ),
    ),
    "number": Kind(
        _one_of(NUMBERS),
        lambda sentence, value: has_word(sentence, value) or has_word(sentence, _DIGITS[value]),
        "have the number {value} in it",
        (
            "Use the number {value} in it.",
            "There should be {value} of something.",
            "Put the number {value} in.",
            "Please add the number {value}.",
            "It needs {value} of them.",
        ),
    ),
    "first_word": Kind(
        _one_of(OPENERS),
        lambda sentence, value: words_of(sentence)[:1] == [value.casefold()],
        'begin with the word "{value}"',
        (
            'Begin with the word "{value}".',
            'Start it with "{value}".',
            'The first word should be "{value}".',
            'Please let it begin with "{value}".',
            'Put "{value}" at the beginning.',
        ),
    ),
    "name": Kind(
        _one_of(NAMES),
        has_word,
        "mention somebody called {value}",
        (
            "Somebody called {value} should be in it.",
            "Add a person named {value}.",
            "Please mention {value}.",
            "{value} must be in it.",
            "Give {value} a part in it.",
        ),
    ),
    "min_words": Kind(
        lambda rng, topic: str(rng.randint(12, 15)),
        lambda sentence, value: len(words_of(sentence)) >= int(value),
        "have at least {value} words",
        (
            "Use at least {value} words.",
            "It is too short: at least {value} words, please.",
            "Make it longer, {value} words or more.",
            "Please write {value} words or more.",
            "Add some detail until it has {value} words.",
        ),
    ),
    "exclamation": Kind(
        _nothing,
        _ending("!"),
        "be an exclamation",
        (
            "End it with an exclamation mark.",
            "Make it an exclamation.",
            "It should be shouted, with an exclamation mark.",
            "Put an exclamation mark at the end.",
            "I want an exclamation.",
        ),
    ),
    "last_word": Kind(
        _one_of(CLOSERS),
        lambda sentence, value: words_of(sentence)[-1:] == [value.casefold()],
        'end with the word "{value}"',
        (
            'End with the word "{value}".',
            'The last word should be "{value}".',
            'Let it end on "{value}".',
            'Please put "{value}" at the end.',
            'Finish it with "{value}".',
        ),
    ),
    "avoid": Kind(
        _one_of(AVOIDED),
        lambda sentence, value: value not in words_of(sentence),
        'do without the word "{value}"',
        (
            'Do not use the word "{value}".',
            'Leave out the word "{value}".',
            'Write it without the word "{value}".',
            'Please avoid the word "{value}".',
            'The word "{value}" must not be in it.',
        ),
    ),
}
HELD_OUT_KINDS = ("exclamation", "last_word", "avoid", "min_words")
TRAINING_KINDS = tuple(kind for kind in KINDS if kind not in HELD_OUT_KINDS)
# Two of these cannot both be met, or hardly: they are not drawn together.
EXCLUSIVE = (
    {"question", "exclamation"},
    {"max_words", "min_words"},
    {"max_words", "name", "number"},
    {"max_words", "last_word"},
    {"question", "first_word"},
    {"question", "last_word"},
)


def draw_requirements(rng: random.Random, kinds: Sequence[str], count: int, topic: Sequence[str]) -> list[Requirement]:
    """`count` requirements of different kinds that can be met together; fewer where `kinds` has no more of them."""
    chosen: list[str] = []
    for kind in rng.sample(list(kinds), len(kinds)):
        together = {*chosen, kind}
        if len(chosen) < count and not any(len(together & pair) > 1 for pair in EXCLUSIVE):
            chosen.append(kind)
    return [Requirement(kind, KINDS[kind].draw(rng, topic)) for kind in chosen]
