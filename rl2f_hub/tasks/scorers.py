"""Verifier `reasoning_gym`: the data set's own scoring function, in the time-limited child.

Two groups of scorers evaluate the answer as source: as Python (`eval` of lists) or as sympy (`parse_expr`, which is
`eval` as well). Model text would be code there, so such a scorer only gets text that can do nothing but denote a value
(`_denotes`); anything else is wrong. `STRICTER` mends scorers that accept answers to another question.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.answer import Place, Reading, Strength, is_denied, read, unwrap
from rl2f_hub.verify.base import Verifier
from rl2f_hub.verify.exact import phrases
from rl2f_hub.verify.quantity import read_quantity
from rl2f_hub.verify.values import pick

FULL_MARKS = 1.0
LONGEST_PHRASE = 60  # characters of an answer that is looked for at the end of a sentence
EVALUATES_PYTHON = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
EVALUATES_SYMPY = frozenset(
    {"countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration"}
)
_HEDGED = re.compile(r"[^\n]{0,40}\b(?:either\b[^\n]{1,300}?\bor|maybe\b[^\n]{1,300}?\bmaybe)\b[^\n]*\Z", re.IGNORECASE)
_NOT_ANOTHER = re.compile(r",? (?:not|rather than|instead of) ")
_FUNCTIONS = frozenset(
    "sin cos tan sec csc cot asin acos atan sinh cosh tanh asinh acosh atanh exp log ln sqrt Abs pi".split()
)
_HARMLESS_NODES = (
    ast.Expression,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Set,
    ast.Dict,
    ast.UnaryOp,
    ast.BinOp,
    ast.Name,
)


def own_scorer(task: Task, attempt: str) -> Verdict:
    """Right when the data set's own scorer gives the extracted text at least the threshold (1.0 unless stated)."""
    from rl2f_hub.tasks.reasoning_gym import entry_of

    entry = entry_of(task)
    wanted = str(entry["answer"])
    dataset = task.settings["dataset"]
    one_of_many = dataset in MANY_ANSWERS | EVALUATES_PYTHON | EVALUATES_SYMPY
    number = None if one_of_many else number_in_text(unwrap(wanted))
    if number is not None:
        reading = read(attempt, partial(pick, value=number_in_text))
        if reading.answer is None:
            return Verdict(False, 0.0, None, reading.reason or "no single number in the attempt")
        return _scored(task, wanted if reading.answer == number else reading.answer)
    phrased = not one_of_many and len(wanted) < LONGEST_PHRASE and "\n" not in wanted
    several_lines = "\n" in wanted.strip()
    found: dict[str, list[str]] = {}  # what else a place may mean, by its first text

    def note(place: Place) -> Reading:
        if is_denied(unwrap(place.text)):
            return Reading(None, reason="the answer is denied", final=True)
        if several_lines and place.strength in (Strength.SAID, Strength.STATED):
            return Reading(None)  # a statement's clause ends with its line
        if one_of_many and place.strength is Strength.LOOSE and _HEDGED.match(place.text) and " or " not in wanted:
            return Reading(None, reason="several candidates, none of them chosen", final=True)
        texts = [place.line or place.text, unwrap(place.text), *(phrases(place, task.prompt) if phrased else ())]
        if place.strength is Strength.LOOSE:  # behind what introduces it
            texts += [unwrap(part[-1]) for mark in (":\n", "\n\n") if len(part := place.text.rsplit(mark, 1)) > 1]
        else:
            texts.append(unwrap(_NOT_ANOTHER.split(place.line or place.text, maxsplit=1)[0]))
        unlike = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
        if not unlike:
            return Reading(None)
        found[unlike[0]] = unlike
        return Reading(unlike[0], max(place.strength, Strength.SAID) if several_lines else place.strength)

    reading = read(attempt, note)
    if reading.answer is None:
        return Verdict(False, 0.0, None, reading.reason or "empty attempt")
    verdicts = []
    for text in found[reading.answer]:
        verdicts.append(_scored(task, text))
        if verdicts[-1].correct:
            return verdicts[-1]
    return max(verdicts, key=lambda verdict: verdict.score)


_WRITTEN_FRACTION = re.compile(r"(-?\d+) ?/ ?(\d+)|\\[dtc]?frac ?\{(-?\d+)\} ?\{(\d+)\}")


def number_in_text(text: str) -> str | None:
    """The number that a stretch is as a whole, in digits: a fraction stays one, a decimal keeps its places."""
    if "=" in text:
        text = text.rsplit("=", 1)[1]
    quantity = read_quantity(text)
    if quantity is None:
        return None
    if written := _WRITTEN_FRACTION.fullmatch(unwrap(text)):
        return "{}/{}".format(*filter(None, written.groups()))
    if quantity.value.denominator == 1 and quantity.decimals < 1:
        return str(int(quantity.value))
    if quantity.plain and quantity.decimals < 0:
        return repr(float(quantity.value))
    if quantity.plain:
        digits = f"{abs(int(quantity.value * 10**quantity.decimals)):0{quantity.decimals + 1}d}"
        return (
            f"{'-' if quantity.value < 0 else ''}{digits[: -quantity.decimals or None]}.{digits[-quantity.decimals :]}"
        )
    return str(quantity.value)


def _scored(task: Task, answer: str) -> Verdict:
    from rl2f_hub.tasks.reasoning_gym import entry_of

    settings = task.settings
    if not _denotes(settings["dataset"], answer):
        return Verdict(False, 0.0, answer, "the answer is a program, not a value")
    entry = entry_of(task)
    if entry["answer"] is not None:
        entry = {**entry, "answer": str(entry["answer"])}  # polynomial_multiplication reads a text and stores a formula
    threshold = settings.get("threshold", FULL_MARKS)
    score = _score(task, answer, entry)
    if score < threshold and answer.endswith("."):  # the sentence's full stop, or the answer's own
        score = max(score, _score(task, answer[:-1], entry))
    elif score < threshold and str(entry["answer"]).endswith("."):
        score = max(score, _score(task, answer + ".", entry))
    objection = STRICTER[settings["dataset"]](answer, entry) if settings["dataset"] in STRICTER else None
    if objection and score >= threshold:
        return Verdict(False, 0.0, answer, objection)
    reason = f"scored {score:g} by the data set's own scorer, {threshold:g} is needed"
    return Verdict(score >= threshold, score, answer, reason)


def many_answers(task: Task) -> bool:
    """Whether the task's reference is only one of many right answers."""
    return task.settings["dataset"] in MANY_ANSWERS


def _score(task: Task, answer: str, entry: dict[str, Any]) -> float:
    """The data set's score; 0 where its scorer fails on the text (some only expect numbers)."""
    from rl2f_hub.tasks.reasoning_gym import scorer_of

    try:
        return float(scorer_of(task)(answer, entry))
    except Exception:
        return 0.0


def _denotes(dataset: str, answer: str) -> bool:
    """Whether evaluating the answer can do nothing but give a value (or fail)."""
    if dataset in EVALUATES_SYMPY:
        names = re.findall(r"[^\W\d]\w*", answer)
        return (
            bool(re.fullmatch(r"[0-9A-Za-z\s+\-*/^(),=!.]*", answer))
            and not re.search(r"\.\s*[^\d\s]", answer)
            and all(len(name) == 1 or name in _FUNCTIONS for name in names)
        )
    if dataset in EVALUATES_PYTHON:
        try:
            tree = ast.parse(answer.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return True  # what cannot be parsed cannot be evaluated
        return all(
            isinstance(n, (*_HARMLESS_NODES, ast.operator, ast.unaryop, ast.expr_context)) for n in ast.walk(tree)
        )
    return True


def _uses_the_numbers(answer: str, entry: dict[str, Any]) -> str | None:
    used = sorted(int(n) for n in re.findall(r"\d+", answer))
    return None if used == sorted(entry["metadata"]["numbers"]) else "other numbers than the four given are used"


def _says_true_or_false(answer: str, entry: dict[str, Any]) -> str | None:
    said = answer.strip().rstrip(".").casefold()
    return None if said == str(entry["answer"]).casefold() else "not the right one of True and False"


def _sorts_the_same_numbers(answer: str, entry: dict[str, Any]) -> str | None:
    ours, theirs = (re.findall(r"-?\d+(?:\.\d+)?", text) for text in (answer, entry["answer"]))
    same = len(ours) == len(theirs) and all(abs(float(a) - float(b)) < 1e-6 for a, b in zip(ours, theirs, strict=True))
    return None if same else "other numbers than those to be sorted"


def _is_the_number(answer: str, entry: dict[str, Any]) -> str | None:
    found = re.search(r"-?\d[\d,]*(?:\.\d+)?", answer)
    same = found is not None and float(found[0].replace(",", "")) == float(entry["answer"].replace(",", ""))
    return None if same else "another number"


def _is_the_probability(answer: str, entry: dict[str, Any]) -> str | None:
    try:
        near = abs(float(Fraction(answer)) - float(Fraction(entry["answer"]))) <= 1e-4
    except (ValueError, ZeroDivisionError, OverflowError):
        near = False
    return None if near else "another probability"


STRICTER: dict[str, Callable[[str, dict[str, Any]], str | None]] = {
    "coin_flip": _is_the_probability,  # its scorer gives full marks to 11 where 1 is right: a common first digit
    "game_of_life_halting": _says_true_or_false,  # its scorer takes any text for True
    "gsm_symbolic": _is_the_number,  # its scorer does not see the sign
    "number_sorting": _sorts_the_same_numbers,  # its scorer lets every number be wrong by 1
    "puzzle24": _uses_the_numbers,  # its scorer looks at how many numbers there are, not at which
}
# Data sets with many right answers, or whose scorer reads answers leniently by design (word order, separators): there a
# perturbed reference may well be right.
MANY_ANSWERS = frozenset(
    {
        *("advanced_geometry", "boxnet", "countdown", "cryptarithm", "graph_color", "intermediate_integration", "jugs"),
        *(
            "knight_swap",
            "knights_knaves",
            "letter_jumble",
            "n_queens",
            "palindrome_generation",
            "polynomial_equations",
        ),
        *("propositional_logic", "puzzle24", "quantum_lock", "rubiks_cube", "rush_hour", "shortest_path"),
        *("simple_integration", "sokoban", "time_intervals", "tower_of_hanoi", "word_ladder"),
    }
)


REASONING_GYM = Verifier(
    own_scorer, has_one_answer=lambda task: not many_answers(task), limited=True, needs_its_source=True
)
