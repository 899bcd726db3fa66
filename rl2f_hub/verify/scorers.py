"""Verifier `reasoning_gym`: the data set's own scoring function, in the time-limited child.

Two groups of scorers evaluate the answer as source: as Python (`eval` of lists) or as sympy (`parse_expr`, which is
`eval` as well). Model text would be code there, so such a scorer only gets text that can do nothing but denote a value
(`_denotes`); anything else is wrong. `STRICTER` mends scorers that accept answers to another question.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.extract import extract_text

FULL_MARKS = 1.0
EVALUATES_PYTHON = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
EVALUATES_SYMPY = frozenset(
    {"countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration"}
)
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
    from rl2f_hub.tasks.reasoning_gym import entry_of, scorer_of

    answer = extract_text(attempt)
    if answer is None:
        return Verdict(False, 0.0, None, "empty attempt")
    settings = json.loads(task.config)
    if not _denotes(settings["dataset"], answer):
        return Verdict(False, 0.0, answer, "the answer is a program, not a value")
    entry = entry_of(task)
    score = float(scorer_of(task)(answer, entry))
    threshold = settings.get("threshold", FULL_MARKS)
    objection = STRICTER[settings["dataset"]](answer, entry) if settings["dataset"] in STRICTER else None
    if objection and score >= threshold:
        return Verdict(False, 0.0, answer, objection)
    reason = f"scored {score:g} by the data set's own scorer, {threshold:g} is needed"
    return Verdict(score >= threshold, score, answer, reason)


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


STRICTER: dict[str, Callable[[str, dict[str, Any]], str | None]] = {
    "puzzle24": _uses_the_numbers,  # its scorer looks at how many numbers there are, not at which
}
