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
    bare, seen = _bare(reading.raw), _bare(known.raw)
    if any(_bare(text) in bare and _bare(text) not in seen for text in assertions):
        return True
    said = [text for text in expected if _bare(text) in bare and _bare(text) not in seen]
    if any(_loosely(text).search(_plain(reading.raw)) for text in said):
        return True
    shown = [b for text in inputs if (b := _bare(text)) in bare and b not in seen]
    shown = [b for b in shown if not any(b != other and b in other for other in shown)]
    return len(shown) > MAX_INPUTS


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
    """(expected outputs, assertions, inputs) of tests. What some input shows anyway is no expected output."""
    try:
        code = CodeTests.from_json(tests)
    except ValueError:
        return frozenset(), frozenset(), frozenset()
    inputs, expected = {given for given, _ in code.cases}, {wanted for _, wanted in code.cases}
    assertions: set[str] = set()
    for source in (code.setup, *code.tests):
        try:
            nodes = list(ast.walk(ast.parse(source)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in nodes:
            if isinstance(node, ast.Assert):
                assertions.add(ast.get_source_segment(source, node.test) or "")
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.Is | ast.In):
                sides = (node.left, node.comparators[0])
                for call, value in (sides, sides[::-1]):
                    if isinstance(call, ast.Call) and not isinstance(value, ast.Call):
                        inputs |= {ast.get_source_segment(source, argument) or "" for argument in call.args}
                        expected.add(ast.get_source_segment(source, value) or "")
    told = "\n".join(map(_bare, inputs))
    expected = {e for e in expected if len(_bare(e)) >= TRIVIAL and _bare(e) not in ("true", "false", "none")}
    return (
        frozenset(e for e in expected if _bare(e) not in told),
        frozenset(a for a in assertions if len(_bare(a)) > 2 * TRIVIAL),
        frozenset(i for i in inputs if len(_bare(i)) >= TRIVIAL),
    )


def _plain(text: str) -> str:
    return text.casefold().replace('"', "'")


def _bare(text: str) -> str:
    """In lower case, without white space and with one kind of quotes."""
    return "".join(_plain(text).split())


@lru_cache(maxsize=4096)
def _loosely(text: str) -> re.Pattern[str]:
    """The text with any white space between its words and signs."""
    return whole(r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", _plain(text)))))
