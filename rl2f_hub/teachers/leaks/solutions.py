"""Longer secrets: quotations of a solution, code that does what it does, and what hidden tests expect.

A teacher may show one input on which an attempt fails. It may not show what a test expects, an assertion, or the inputs
of several tests: with them the tests could be met one by one.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Sequence
from functools import lru_cache

from rl2f_hub.sandbox.jobs import CodeTests
from rl2f_hub.teachers.leaks.reading import Reading
from rl2f_hub.teachers.leaks.secret import Known, whole

GRAM_WORDS = 8
GRAM_CHARS = 60
TRIVIAL = 4  # expected outputs with fewer characters are said by chance
MAX_INPUTS = 1
_WORD = re.compile(r"\w+")
_SPAN = re.compile(r"(?<!`)`([^`\n]{3,300})`(?!`)")
_CODE_LINE = re.compile(
    r"[ \t]*(?:(?:def|class|for|while|if|elif|else|return|import|from|try|except|with|print"
    r"|lambda)\b.*[(:=)\w\]]\s*$|[\w.\[\], ]{1,60}\s?[-+*/%|&]?=[^=].*|\w[\w.]*\(.*\)\s*$)"
)
_INLINE = re.compile(r"\b(?:\w+\s?=\s?)?lambda\b[^\n`]{2,200}|\breturn\s[^\n`]{2,200}")
MAX_CODE = 20_000
_BUILTINS = frozenset(dir(builtins))
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
    """The solution or one of its functions under other names, layout or comments, or told fragment by fragment.

    Functions, lambdas, bodies without their head and single expressions are compared, unless an attempt holds them.
    """
    shapes = _shapes(solution, True)
    found = _said_shapes(reading.raw) & shapes if shapes else frozenset()
    if found and found - set().union(*(_said_shapes(r.raw) for r in known.readings)):
        return True
    return _fragments_told(reading, solution, known)


def shows_tests(reading: Reading, tests: str, known: Known) -> bool:
    """What a test expects, an assertion, or the inputs of more than one test."""
    expected, assertions, inputs, cases = _hidden(tests)
    figures = "" if reading.in_figures is reading.plain else reading.in_figures
    bare, seen = _bare(reading.raw + figures), _bare(known.raw)
    if any(_bare(text) in bare and _bare(text) not in seen for text in assertions):
        return True
    said = [text for text in expected if _bare(text) in bare and _bare(text) not in seen]
    if any(_loosely(text).search(f"{_plain(reading.raw)}\n{figures}") for text in said):
        return True
    text = told = ""
    for given, wanted in cases:
        if _bare(given) in bare.replace(",", "") or _bare(given) in bare:
            text, told = text or f"{_even(reading)}\n{figures}", told or _even(*known.readings)
            if any(p.search(text) and not p.search(told) for p in _case_patterns(given, wanted)):
                return True
    if _tells_values(_even(reading), _even(*known.readings), cases):
        return True
    shown = [b for text in inputs if (b := _bare(text)) in bare and b not in seen]
    shown = [b for b in shown if not any(b != other and b in other for other in shown)]
    return len(shown) > MAX_INPUTS


_VALUES = re.compile(r"'[^'\n]{0,40}'|(?<![\w.])-?\d+(?:\.\d+)?|\b(?:true|false|none)\b")


def _tells_values(text: str, told: str, cases: Sequence[tuple[str, str]]) -> bool:
    """What some test expects, said as that ("got 12, expected 144"), or all inputs or outputs of the tests in a row."""
    if not re.search(r"expect|wanted|!=|\btests?\b|\bcases?\b|\binputs?\b|\boutputs?\b", text):
        return False
    for wanted in {wanted for _, wanted in cases if len(wanted) < 60}:
        patterns = _expected_patterns(wanted)
        if any(p.search(text) and not p.search(told) for p in patterns):
            return True
    for side in zip(*cases, strict=True) if len(cases) > 2 else ():
        row = tuple(v for value in side for v in _VALUES.findall(_plain(value)))
        m = re.search(r"\b(?:tests?|cases?|inputs?|outputs?|expect\w*)\b", text)
        said = tuple(_VALUES.findall(text[m.end() :])) if m else ()
        if len(row) == len(side) and any(said[i : i + len(row)] == row for i in range(len(said) - len(row) + 1)):
            return True
    return False


@lru_cache(maxsize=4096)
def _expected_patterns(wanted: str) -> tuple[re.Pattern[str], ...]:
    y = rf"(?<![\w.\-]){_spaced(wanted)}"
    return (
        re.compile(
            rf"(?<!un)\b(?:expect(?:ed|s)?(?: outputs?| values?| results?| answers?)?|wanted)[\s:=`\"'(]{{1,4}}"
            rf"(?:(?:is|was)[\s:`]{{1,2}})?{y}"
            r"(?=[`\"')]*\s*(?:[.,;!?\n](?!\d)|\Z|for\b|but\b|not\b|from\b|with\b|here\b|instead\b|and\b))"
        ),
        re.compile(rf"{y}[`\"']? (?:is|was) (?:expected|wanted)\b"),
        re.compile(
            rf"\b(?:returns?|returned|gives?|gave|got|gets?|prints?|printed) \S{{1,20}} (?:instead of|rather than) {y}(?![\w.]\w)"
        ),
        re.compile(rf"\bassertionerror\W{{1,4}}[^\n]{{1,40}} != {y}(?![\w.])"),
    )


def code_in(raw: str) -> list[str]:
    """Fenced blocks, spans between backticks, and what follows the first line that begins a function or class."""
    blocks = _FENCE.findall(raw)
    rest = _FENCE.sub("\n", raw) if blocks else raw
    if not blocks and (start := re.search(r"(?:async[ \t]+)?\b(?:def|class)[ \t]+\w+.*:", raw)):
        blocks = [raw[start.start() :]]
    blocks += [span for span in _SPAN.findall(rest) if re.search(r"[^\w\s]", span)][:20]
    return [textwrap.dedent(block) for block in blocks]


def loose_code(raw: str) -> list[str]:
    """Runs of lines outside fences that read as code, and what follows a `lambda` or a `return` within a sentence."""
    lines = _FENCE.sub("\n", raw).split("\n")
    runs: list[list[str]] = [[]]
    for line in lines:
        if _CODE_LINE.match(line):
            runs[-1].append(line)
        elif line.strip() and runs[-1]:
            runs.append([])
    inline = [m[0].rstrip(" .!?;,`") for m in _INLINE.finditer(raw)][:20]
    return [textwrap.dedent("\n".join(run)) for run in runs if run] + inline


@lru_cache(maxsize=1024)
def _grams(solution: str) -> tuple[frozenset[str], frozenset[str]]:
    words = _WORD.findall(solution[:100_000].casefold())
    bare = "".join(solution[:100_000].casefold().split())
    return (
        frozenset(" ".join(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1)),
        frozenset(bare[i : i + GRAM_CHARS] for i in range(len(bare) - GRAM_CHARS + 1)),
    )


@lru_cache(maxsize=1024)
def _said_shapes(raw: str) -> frozenset[str]:
    pieces = [raw, *code_in(raw), *loose_code(raw)]
    if ";" in raw:  # statements in one line
        pieces.append("\n".join(part.strip(" .") for part in raw.split(";")))
    return frozenset().union(*(_shapes(code, False) for code in dict.fromkeys(pieces) if len(code) < MAX_CODE))


@lru_cache(maxsize=2048)
def _shapes(code: str, of_solution: bool) -> frozenset[str]:
    """The bodies in a piece of code, with names replaced by the order in which they occur.

    Of a solution: its functions of at least two statements, and the whole of it. Of a reply: all functions, lambdas,
    the piece itself as a body, and where it is one expression, that.
    """
    tree = parse_code(code)
    if tree is None:
        return frozenset()
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    bodies: list[list[ast.stmt]] = [f.body for f in functions]
    top = [n for n in tree.body if not isinstance(n, ast.Import | ast.ImportFrom)]
    if of_solution:
        alone = len(functions) == 1 and all(n in functions for n in top)
        out = {_shape(body, 1 if alone else 2) for body in bodies}
        out |= {_shape(top, 1)} if not functions else set()
        return frozenset(filter(None, out))
    lambdas = [n.body for n in ast.walk(tree) if isinstance(n, ast.Lambda)]
    lambdas += [n.value for n in top if isinstance(n, ast.Expr) and len(top) == 1]
    bodies += [[ast.Return(value)] for value in lambdas]
    bodies += [top] if not functions else []
    return frozenset(filter(None, (_shape(body, 1) for body in bodies)))


@lru_cache(maxsize=2048)
def parse_code(code: str) -> ast.Module | None:
    """The tree of a piece of code; prose may follow it, and a body may stand without its head."""
    if not re.search(r"[=(\[+*/%<>]|\breturn\b|-", code):
        return None
    lines = textwrap.dedent(code).strip("\n").split("\n")
    for end in range(len(lines), max(0, len(lines) - 12), -1):
        text = "\n".join(lines[:end])
        for attempt in (text, textwrap.dedent(code.rstrip())) if end == len(lines) else (text,):
            try:
                return ast.parse(attempt)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
    return None


def _shape(body: list[ast.stmt], least: int) -> str:
    """The statements without docstring and names; empty where there are fewer than `least`, or nothing is computed."""
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    nodes = [n for statement in body for n in ast.walk(statement)]
    computed = sum(
        isinstance(n, ast.BinOp | ast.Compare | ast.Call | ast.Subscript | ast.BoolOp | ast.comprehension)
        for n in nodes
    )
    if sum(isinstance(n, ast.stmt) for n in nodes) < least or not computed or len(nodes) < 6:
        return ""
    if all(isinstance(n, ast.Constant) for n in nodes if isinstance(n, ast.Name | ast.Constant)):
        return ""
    names: dict[str, str] = {}
    return re.sub(
        r"\b(id|arg|name)='(\w+)'",
        lambda m: f"{m[1]}='{m[2] if m[2] in _BUILTINS else names.setdefault(m[2], f'v{len(names)}')}'",
        ast.dump(ast.Module(body=body, type_ignores=[])),
    )


@lru_cache(maxsize=1024)
def _fragments(solution: str) -> tuple[str, ...]:
    """What the statements of a solution compute, without white space: assignments, conditions, what is looped over."""
    tree = parse_code(solution)
    out = []
    for node in ast.walk(tree) if tree is not None else ():
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return):
            parts = [node]
        elif isinstance(node, ast.For | ast.comprehension):
            parts = [node.iter]
        elif isinstance(node, ast.If | ast.While):
            parts = [node.test]
        out += [_bare(ast.unparse(part)) for part in parts if part is not None]
    return tuple(f for f in dict.fromkeys(out) if len(f) > 3)


def _fragments_told(reading: Reading, solution: str, known: Known) -> bool:
    """Whether at least three fragments are told, nearly all of those that are not known, and not as code to look at."""
    if "(" not in reading.raw and "=" not in reading.raw:
        return False
    fragments = _fragments(solution)
    if len(fragments) < 3:
        return False
    bare, seen = _bare(reading.raw), _bare(known.raw)
    fresh = [f for f in fragments if f not in seen]
    return (
        len(fresh) >= 2
        and sum(f in bare for f in fragments) >= max(3, 0.8 * len(fragments))
        and all(f in bare for f in fresh)
    )


@lru_cache(maxsize=1024)
def _hidden(tests: str) -> tuple[frozenset[str], frozenset[str], frozenset[str], tuple[tuple[str, str], ...]]:
    """(expected outputs, assertions, inputs, (input, expected) pairs) of tests.

    What some input shows anyway is no expected output.
    """
    try:
        code = CodeTests.from_json(tests)
    except ValueError:
        return frozenset(), frozenset(), frozenset(), ()
    inputs, expected = {given for given, _ in code.cases}, {wanted for _, wanted in code.cases}
    assertions: set[str] = set()
    cases = [(given.strip(), wanted.strip()) for given, wanted in code.cases]
    for source in (code.setup, *code.tests):
        try:
            nodes = list(ast.walk(ast.parse(source)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in nodes:
            if isinstance(node, ast.Assert):
                if not isinstance(node.test, ast.Call):  # of `assert f(x)` the call alone says no more than an input
                    assertions.add(ast.get_source_segment(source, node.test) or "")
                cases += _truths(source, node.test)
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.Is | ast.In):
                sides = (node.left, node.comparators[0])
                for call, value in (sides, sides[::-1]):
                    if isinstance(call, ast.Call) and not isinstance(value, ast.Call):
                        inputs |= {ast.get_source_segment(source, argument) or "" for argument in call.args}
                        expected.add(ast.get_source_segment(source, value) or "")
                        cases.append((_arguments(source, call), ast.get_source_segment(source, value) or ""))
    told = "\n".join(map(_bare, inputs))
    expected = {e for e in expected if len(_bare(e)) >= TRIVIAL and _bare(e) not in ("true", "false", "none")}
    return (
        frozenset(e for e in expected if _bare(e) not in told),
        frozenset(a for a in assertions if len(_bare(a)) > 2 * TRIVIAL),
        frozenset(i for i in inputs if len(_bare(i)) >= TRIVIAL),
        tuple(dict.fromkeys((g, w) for g, w in cases if g and w and len(g) + len(w) < 400)),
    )


def _truths(source: str, test: ast.expr) -> list[tuple[str, str]]:
    """`assert f(x)` and `assert not f(x)` as pairs of input and expected output."""
    negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    call = test.operand if isinstance(test, ast.UnaryOp) else test
    return [(_arguments(source, call), str(not negated))] if isinstance(call, ast.Call) else []


def _arguments(source: str, call: ast.Call) -> str:
    return ", ".join(ast.get_source_segment(source, a) or "" for a in (*call.args, *(k.value for k in call.keywords)))


_EXPECTS = (
    r"(?:should|must|ought|has to|needs? to|supposed|expect\w*|correct|right|want\w*|answer|==?|->|=>|→|:|\|"
    r"|returns?|gives?|give|is|yields?|stdout|"
    r"outputs?|output|prints?|result\w*|equals?|evaluates?|be|to|produces?|becomes?|maps?|makes?|get)"
)


@lru_cache(maxsize=4096)
def _case_patterns(given: str, wanted: str) -> tuple[re.Pattern[str], ...]:
    """How an input and what is expected of it are said together, in a text made even."""
    x, y = _spaced(given), _spaced(wanted)
    x = rf"(?<![\w.]){x}(?![\w]|\.\d)" if given[-1:].isalnum() and given[:1].isalnum() else x
    y = rf"(?<![\w.\-]){y}(?![\w(]|\.\d)" if wanted[-1:].isalnum() else rf"{y}"
    near, not_got = r"[^\n;]{0,48}?", r"(?<!not )(?<!got )(?<!gets )(?<!instead of )"
    return tuple(
        re.compile(p)
        for p in (
            *((rf"\b(?:not|{y} ?!=|true ?!=) \w{{1,40}}\s?\(\s?{x}\s?\)",) if wanted == "False" else ()),
            *((rf"\bassert \w{{1,40}}\s?\(\s?{x}\s?\)(?!\s?[=!<>i])",) if wanted == "True" else ()),
            rf"\w\s?\(\s?{x}\s?\){near}(?<!\w){_EXPECTS}\W{{1,4}}(?:\w+ ){{0,2}}?[\"'`]?{not_got}{y}",
            rf"\b(?:for|inputs?|stdin|with|on|given|of|try|consider|case|when|if|pass\w*|feed\w*|enter\w*|test|at"
            rf"|argument)\b[\s:=`\"'(]{{1,4}}(?:(?:the|input|inputs|an?|value|number|string|argument|list|it"
            rf"|gets|is|n|x|s|your|program|line)[\s:=`\"'(]{{1,4}}){{0,3}}"
            rf"{x}[^;]{{0,48}}?(?<!\w){_EXPECTS}\W{{1,4}}(?:\w+ ){{0,2}}?{not_got}{y}",
            rf"\b(?:expect\w*|should|must|outputs?|returns?|prints?|gives?|want\w*|answer|result"
            rf"|get)\b[\s:=`\"'(]{{1,4}}(?:(?:is|the|be|to|was|an?|output|value|return|print|give"
            rf"|get)[\s:=`\"'(]{{1,4}}){{0,4}}"
            rf"{y}[\s`\"',)]{{1,4}}(?:(?:for|from|on|with|when|given|if"
            rf"|as)[\s`\"':]{{1,3}})(?:[\w=]+[\s`\"':(=]{{1,3}}){{0,4}}?{x}",
            rf"{x}[\s`\"')]{{0,4}}(?:->|→|=>|==|\||⟶|↦|:|(?:should |must )(?:give|return|print|be|make|yield)"
            rf"|gives|returns|yields|maps to|becomes|makes"
            rf"|is)[\s`\"'(]{{0,4}}{y}",
        )
    )


def _spaced(text: str) -> str:
    parts = re.findall(r"\w+|[^\w\s]", _plain(text))
    return r"\s{0,3}".join(r"['`]" if p == "'" else re.escape(p) for p in parts)


def _even(*readings: Reading) -> str:
    """The texts in lower case with one kind of quotes, line breaks kept, thousands joined."""
    text = "\n".join(_plain(r.raw) for r in readings)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return re.sub(r"[ \t]+", " ", text)


def _plain(text: str) -> str:
    return text.casefold().replace('"', "'")


def _bare(text: str) -> str:
    """In lower case, without white space and with one kind of quotes."""
    return "".join(_plain(text).split())


@lru_cache(maxsize=4096)
def _loosely(text: str) -> re.Pattern[str]:
    """The text with any white space between its words and signs."""
    return whole(r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", _plain(text)))))
