"""Longer secrets: quotations of a solution, code that does what it does, and what hidden tests expect.

A teacher may show one input on which an attempt fails. It may not show what a test expects, an assertion, or the inputs
of several tests: with them the tests could be met one by one.
"""

from __future__ import annotations

import ast
import re
import textwrap
from functools import lru_cache

from rl2f_hub.sandbox.jobs import CodeTests
from rl2f_hub.teachers.leaks.reading import Reading
from rl2f_hub.teachers.leaks.secret import Known, whole

GRAM_WORDS = 8
GRAM_CHARS = 60
TRIVIAL = 4  # expected outputs with fewer characters are said by chance
MAX_INPUTS = 1
_WORD = re.compile(r"\w+")
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)


def quotes(reading: Reading, solution: str, known: Known) -> bool:
    """At least 8 consecutive words, or 60 characters without white space, of the solution that are not known."""
    words, chars = _grams(solution)
    if not words and not chars:
        return False
    said = _WORD.findall(reading.raw.casefold())
    grams = {" ".join(said[i : i + GRAM_WORDS]) for i in range(len(said) - GRAM_WORDS + 1)} & words
    if grams:
        seen = f" {' '.join(_WORD.findall(known.raw.casefold()))} "
        if any(f" {gram} " not in seen for gram in grams):
            return True
    bare = "".join(reading.raw.casefold().split())
    pieces = {bare[i : i + GRAM_CHARS] for i in range(len(bare) - GRAM_CHARS + 1)} & chars
    return bool(pieces) and any(piece not in "".join(known.raw.casefold().split()) for piece in pieces)


def is_short(solution: str) -> bool:
    """Too short to be quoted in part: the whole of it is looked for, as a reference is."""
    return len(solution.split()) < GRAM_WORDS and len("".join(solution.split())) < GRAM_CHARS


def same_code(reading: Reading, solution: str, known: Known) -> bool:
    """A function of the solution under other names, layout or comments, unless an attempt holds it."""
    shapes = _shapes(solution)
    if not shapes:
        return False
    found = set().union(*(_shapes(code) for code in code_in(reading.raw))) & shapes
    if not found:
        return False
    own = set().union(*(_shapes(code) for r in known.readings for code in (r.raw, *code_in(r.raw))))
    return bool(found - own)


def shows_tests(reading: Reading, tests: str, known: Known) -> bool:
    """What a test expects, an assertion, or the inputs of more than one test."""
    expected, assertions, inputs = _hidden(tests)
    bare = _bare(reading.raw)
    seen = _bare(known.raw)
    if any(text in bare and text not in seen for text in assertions):
        return True
    if any(text in bare and text not in seen and _whole(bare, text) for text in expected):
        return True
    return sum(text in bare and text not in seen for text in inputs) > MAX_INPUTS


def code_in(raw: str) -> list[str]:
    """Fenced blocks, and what follows the first line that begins a function or class."""
    blocks = _FENCE.findall(raw)
    if not blocks and (start := re.search(r"(?:async[ \t]+)?\b(?:def|class)[ \t]+\w+.*:", raw)):
        blocks = [raw[start.start() :]]
    return [textwrap.dedent(block) for block in blocks]


@lru_cache(maxsize=1024)
def _grams(solution: str) -> tuple[frozenset[str], frozenset[str]]:
    words = _WORD.findall(solution[:100_000].casefold())
    bare = "".join(solution[:100_000].casefold().split())
    return (
        frozenset(" ".join(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1)),
        frozenset(bare[i : i + GRAM_CHARS] for i in range(len(bare) - GRAM_CHARS + 1)),
    )


@lru_cache(maxsize=1024)
def _shapes(code: str) -> frozenset[str]:
    """The functions of at least two statements in a program, with names replaced by the order in which they occur."""
    if "def " not in code:
        return frozenset()
    lines = code.split("\n")
    for end in range(len(lines), max(0, len(lines) - 12), -1):  # prose may follow bare code
        try:
            tree = ast.parse("\n".join(lines[:end]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        return frozenset(shape for f in functions if (shape := _shape(f)))
    return frozenset()


def _shape(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    body = function.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]  # the docstring
    if sum(isinstance(n, ast.stmt) for statement in body for n in ast.walk(statement)) < 2:
        return ""
    names: dict[str, str] = {}
    text = ast.dump(ast.Module(body=[ast.Pass(), *body], type_ignores=[]))
    arguments = ast.dump(function.args)
    return re.sub(
        r"\b(id|arg|name)='(\w+)'",
        lambda m: f"{m[1]}='{names.setdefault(m[2], f'v{len(names)}')}'",
        f"{arguments}{text}",
    )


@lru_cache(maxsize=1024)
def _hidden(tests: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """(expected outputs, assertions, inputs) of tests, bare. What some input shows anyway is no expected output."""
    try:
        code = CodeTests.from_json(tests)
    except ValueError:
        return frozenset(), frozenset(), frozenset()
    inputs, expected = {_bare(given) for given, _ in code.cases}, {_bare(wanted) for _, wanted in code.cases}
    assertions: set[str] = set()
    for source in (code.setup, *code.tests):
        try:
            nodes = list(ast.walk(ast.parse(source)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in nodes:
            if isinstance(node, ast.Assert):
                written = _bare(ast.get_source_segment(source, node.test) or "")
                assertions |= {written} if len(written) > TRIVIAL else set()
            if isinstance(node, ast.Compare) and len(node.comparators) == 1:
                for side, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
                    if isinstance(side, ast.Call) and not isinstance(other, ast.Call):
                        inputs |= {_bare(ast.get_source_segment(source, a) or "") for a in side.args}
                        expected.add(_bare(ast.get_source_segment(source, other) or ""))
    told = "\n".join(inputs)
    return (
        frozenset(e for e in expected if len(e) >= TRIVIAL and e not in ("true", "false", "none") and e not in told),
        frozenset(assertions),
        frozenset(i for i in inputs if len(i) >= TRIVIAL),
    )


def _bare(text: str) -> str:
    """Without white space and with one kind of quotes."""
    return "".join(text.casefold().split()).replace('"', "'")


def _whole(bare: str, text: str) -> bool:
    """Numbers and words only where they do not go on; what has brackets or quotes stands for itself."""
    return not (text[0].isalnum() and text[-1].isalnum()) or bool(whole(re.escape(text)).search(bare))
