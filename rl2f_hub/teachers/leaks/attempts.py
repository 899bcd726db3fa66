"""What a student could hand in of a reply: texts for the task's verifier, programs for its tests.

Where many answers are right, comparing with one reference misses the others: what would be accepted is a leak. Left out:
answers put together from several sentences or paragraphs, and more than `MAX_TEXTS` texts or `MAX_PROGRAMS` programs.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Sequence

from rl2f_hub.teachers.leaks.solutions import code_in, loose_code, parse_code
from rl2f_hub.verify.code_blocks import extract_code

MAX_TEXTS = 48
MAX_PROGRAMS = 8
_QUOTED = re.compile(r"“([^”]{1,2000})”|\"([^\"]{1,2000})\"|`([^`]{1,2000})`|(?<!\w)['‘]([^'’\n]{1,500})['’](?!\w)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]{0,2}\s+")
_LEADS_IN = re.compile(
    r":|\b(?:such as|like|for example|e\.g\.|for instance|try|write|say|perhaps|maybe|answer|use|consider|submit|is|be|with)\b,?",
    re.IGNORECASE,
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def texts_in(reply: str, known: Sequence[str]) -> list[str]:
    """The quoted spans, paragraphs, lines and sentences of a reply, and what follows a colon or "such as" in them.

    What stands in one of the `known` texts (question, attempts) is left out.
    """
    seen = [_even(text) for text in known]
    out: dict[str, str] = {}
    for text in _texts(reply):
        text = text.strip().strip("*_")
        key = _even(text)
        if key and key not in out and not any(key in k for k in seen):
            out[key] = text
            if len(out) == MAX_TEXTS:
                break
    return list(out.values())


def _texts(reply: str) -> Iterable[str]:
    yield reply
    yield from (code.strip("\n") for code in code_in(reply))
    yield from (next(filter(None, m.groups()), "") for m in _QUOTED.finditer(reply))
    for paragraph in re.split(r"\n\s*\n", reply):
        yield paragraph
        yield paragraph.partition("\n")[2]  # without a line that announces it
        for line in paragraph.split("\n"):
            yield line
            for sentence in _SENTENCE_END.split(line):
                yield sentence
                yield from (sentence[m.end() :] for m in list(_LEADS_IN.finditer(sentence))[:4])


def _even(text: str) -> str:
    return " ".join(re.findall(r"\w+|[^\w\s.!?,\"'`]", text.casefold()))


def programs_in(reply: str, solution: str, entry_points: tuple[str, ...], known: Sequence[str]) -> list[str]:
    """Programs that a reply holds, each made whole for tests that call `entry_points`.

    With one entry point a function of another name, a lambda, a body without its head and a single expression are given
    its name and its parameters (those of `solution`, else in the order in which free names occur). Code that stands in
    a `known` text is left out.
    """
    pieces = [code for code in (*code_in(reply), *loose_code(reply)) if code.strip()]
    if not pieces:
        return []
    seen = ["".join(text.split()) for text in known]
    out = [extract_code(reply, entry_points)]
    for piece in pieces:
        if any("".join(piece.split()) in k for k in seen):
            continue
        out += [piece] if not entry_points else _made_whole(piece, solution, entry_points[0])
    return [p for p in dict.fromkeys(out) if not any("".join(p.split()) in k for k in seen)][:MAX_PROGRAMS]


def _made_whole(piece: str, solution: str, name: str) -> list[str]:
    tree = parse_code(piece)
    if tree is None:
        return []
    functions = [n for n in tree.body if isinstance(n, _Function)]
    if any(f.name == name for f in functions):
        return [ast.unparse(tree)]
    if functions:
        return [f"{ast.unparse(tree)}\n\n{name} = {functions[-1].name}\n"]
    lambdas = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda)]
    out = [f"{name} = {ast.unparse(node)}\n" for node in lambdas[:2]]
    imports: list[ast.stmt] = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    body = [n for n in tree.body if n not in imports]
    if body and isinstance(last := body[-1], ast.Expr | ast.Assign) and not _returns(body):
        # The last value is what the function is to give back: an expression, or what was assigned last.
        body = [*body[: -1 if isinstance(last, ast.Expr) else None], ast.Return(_value(last))]
    if not body or not _returns(body):
        return out
    head = ast.unparse(ast.Module(imports, []))
    inner = ast.unparse(ast.fix_missing_locations(ast.Module(body, []))).replace("\n", "\n    ")
    for names in dict.fromkeys((_parameters(solution, name), _free(body))):
        if names:
            out.append(f"{head}\ndef {name}({', '.join(names)}):\n    {inner}\n")
    return out


def _value(statement: ast.Expr | ast.Assign) -> ast.expr:
    if isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name):
        return ast.Name(target.id, ast.Load())
    return statement.value


def _returns(body: Sequence[ast.stmt]) -> bool:
    return any(isinstance(n, ast.Return) for statement in body for n in ast.walk(statement))


def _parameters(solution: str, name: str) -> tuple[str, ...]:
    tree = parse_code(solution)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, _Function) and node.name == name:
            return tuple(a.arg for a in node.args.args)
    return ()


def _free(body: Sequence[ast.stmt]) -> tuple[str, ...]:
    """Names that a body reads and nowhere binds, in the order in which they stand."""
    names = [n for statement in body for n in ast.walk(statement) if isinstance(n, ast.Name)]
    bound = {n.id for n in names if isinstance(n.ctx, ast.Store)} | set(dir(builtins))
    free = sorted((n for n in names if n.id not in bound), key=lambda n: (n.lineno, n.col_offset))
    return tuple(dict.fromkeys(n.id for n in free))
