"""Leaks: does a feedback give away what only the teacher may know?

`FORMS` maps the name of a form to its detector: a pure function of the feedback, the secret and what is known already.
`find_leaks` runs them over one reference, `leaks_in` over all that a privilege holds. `secret.py` says what is short and
what is known, `numbers.py`, `texts.py`, `encoded.py` and `solutions.py` what each form covers. `rl2f teachers audit`
measures all of them.

Left out: paraphrases and translations, descriptions of the answer ("the colour of grass"), in which direction the attempt
is wrong ("too high": that is feedback; "3 too high" is a leak), pictures made of characters, and other languages' number
words. A judge model may be asked for those: `judging.ModelJudge`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rl2f_hub.records import Privilege
from rl2f_hub.teachers.leaks import composed, encoded, numbers, solutions, texts
from rl2f_hub.teachers.leaks.reading import Reading, read
from rl2f_hub.teachers.leaks.secret import Known, Secret, known_of, options_in, secret_of

Detector = Callable[[Reading, Secret, Known], bool]

_NUMBERS: dict[str, Detector] = {
    "literal": numbers.literal,
    "normalised": numbers.normalised,
    "words": numbers.words,
    "equivalent": numbers.equivalent,
    "arithmetic": numbers.arithmetic,
    "digits": numbers.digit_by_digit,
    "interval": numbers.interval,
    "singled": numbers.singled_out,
    "reversed": encoded.backwards,
    "encoded": encoded.encoded,
    "part": texts.part,
    "grouped": composed.grouped,
    "offset": composed.offset,
    "edited": composed.edited,
}
_SIMPLE: dict[str, Detector] = {
    "digits": numbers.digit_by_digit,
    "offset": composed.offset,
    "edited": composed.edited,
}  # all that a simple text can hold of an integer of three digits or more
_TEXTS: dict[str, Detector] = {
    "literal": texts.literal,
    "normalised": texts.normalised,
    "option": texts.option,
    "singled": texts.singled_out,
    "equivalent": texts.equivalent,
    "spelled": texts.spelled,
    "edges": texts.edges,
    "reversed": encoded.backwards,
    "encoded": encoded.encoded,
    "part": texts.part,
    "listed": composed.listed,
    "paired": composed.paired,
    "rows": composed.rows,
    "eliminated": composed.eliminated,
    "joined": composed.joined,
    "edited": composed.edited,
}
# Every form and what a teacher is told of it. The detectors of numbers and of all else differ under one name.
FORMS: dict[str, str] = {
    "literal": "as it is written",
    "normalised": "in another spelling",
    "words": "in number words",
    "equivalent": "as another way to write the same value",
    "arithmetic": "as a calculation",
    "digits": "digit by digit",
    "interval": "between bounds that leave nothing else",
    "option": "by the place or the words of its option",
    "singled": "by speaking of it alone among the candidates",
    "spelled": "letter by letter",
    "edges": "by its first and last letters",
    "reversed": "reversed",
    "encoded": "in a code",
    "part": "in its larger part",
    "grouped": "in groups of digits",
    "offset": "by how far the attempt is from it",
    "edited": "as a change of the attempt",
    "listed": "item by item",
    "paired": "as keys and values",
    "rows": "row by row",
    "eliminated": "by ruling out all else, or by its place beside another option",
    "joined": "in pieces",
    "solution": "as a quotation of the solution",
    "code": "as code that solves the task",
    "expected": "as what a hidden test expects",
    "judge": "in a way that a judge noticed",
}
# Forms whose parts may be told in several turns.
ADDS_UP = frozenset(
    ("grouped", "digits", "spelled", "edges", "part", "listed", "paired", "rows", "eliminated", "expected", "code")
)
LONG = 600  # characters from which on a reference is quoted in part, as a solution is
WORLD_FORMS = ("literal", "normalised")  # what is looked for in the words of an environment, which speaks no codes


def find_leaks(text: str, reference: str, known: Sequence[str], forms: Sequence[str] | None = None) -> tuple[str, ...]:
    """The forms (names of `FORMS`) in which `text` gives `reference` away to someone who knows the `known` texts.

    Args:
        known: the question first, then the attempts. Options of a multiple choice are read from the question.
        forms: look for these only.
    """
    if not reference.strip() or not text.strip():
        return ()
    secret = secret_of(reference)
    if secret.kind == "choice" and known:
        secret = secret_of(reference, options_in(known[0]))
    table = _NUMBERS if secret.kind == "number" else _TEXTS
    reading, seen = read(text), known_of(tuple(known))
    if secret.is_long_integer and reading.is_simple and secret.base64 not in text:
        table = _SIMPLE
    return tuple(n for n, detect in table.items() if (forms is None or n in forms) and detect(reading, secret, seen))


def leaks_in(
    text: str, privilege: Privilege, known: Sequence[str], forms: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The forms in which `text` gives away anything of a privilege: reference, solution, tests.

    A reference that ends in `#### 72` is a worked solution and its answer.
    """
    worked, _, reference = privilege.reference.rpartition("####")
    found = []
    for solution in (worked, privilege.solution, reference if len(reference) > LONG else ""):
        found += _quoted(text, solution.strip(), known, forms)
    if len(reference) <= LONG:
        found += find_leaks(text, reference, known, forms)
    if privilege.tests and forms is None and solutions.shows_tests(read(text), privilege.tests, known_of(tuple(known))):
        found.append("expected")
    return tuple(dict.fromkeys(found))


def _quoted(text: str, solution: str, known: Sequence[str], forms: Sequence[str] | None) -> list[str]:
    """The forms in which a solution is quoted; where only some forms are looked for, as a whole."""
    if not solution:
        return []
    if solutions.is_short(solution):
        whole = list(find_leaks(text, solution, known, WORLD_FORMS))
        told = forms is None and solutions.same_code(read(text), solution, known_of(tuple(known)))
        return whole + (["code"] if told else [])
    if forms is not None:
        return ["literal"] if solution in text and not any(solution in k for k in known) else []
    reading, seen = read(text), known_of(tuple(known))
    found = ["solution"] if solutions.quotes(reading, solution, seen) else []
    return found + (["code"] if solutions.same_code(reading, solution, seen) else [])
