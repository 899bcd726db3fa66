"""Finding the program in what a model wrote.

Fenced blocks count, by their names: Python under any of its names, or no name at all; sample output and shell commands are
other languages. The last block that defines what the tests call is the program, else the last one that is a program (not
mere output, which may be an expression of Python too), else the last one. What it uses and does not define is taken from
earlier blocks that define it. Without a fence the whole text is the program, or its part from the first line on that
begins one, where prose stands before it.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from dataclasses import dataclass

MAX_CHARS = 200_000  # text before that is not looked at
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^`\n]*)$")
_PYTHON = re.compile(r"(?:i?python|py|sage|pycon)[0-9.]*", re.IGNORECASE)
_DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BEGINS = re.compile(r"(?:async[ \t]+def|def|class|import|from|@)[ \t]*\w")


@dataclass(frozen=True, slots=True)
class Found:
    """A program: `code`, and the `helpers` that earlier blocks define for it ("" for none)."""

    code: str
    helpers: str = ""


def find_code(text: str, names: tuple[str, ...] = ()) -> Found:
    """The program in a text without its scratch work, as the module says; `names` is what the tests call."""
    text = text[-MAX_CHARS:].replace("\r\n", "\n").replace("\r", "\n")
    blocks = _blocks(text)
    if not blocks:
        return Found(_from_prose(text))
    trees = [_parsed(body) for body in blocks]
    defining = [i for i, body in enumerate(blocks) if names and _defines_one(body, names)]
    programs = [i for i, tree in enumerate(trees) if tree is not None and _does_something(tree)]
    chosen = (defining or programs or [len(blocks) - 1])[-1]
    earlier = [(body, tree) for body, tree in zip(blocks, trees, strict=True)][:chosen]
    return Found(blocks[chosen], _helpers(earlier, trees[chosen], names))


def extract_code(text: str, names: tuple[str, ...] = ()) -> str:
    """The program of `find_code` as one text."""
    found = find_code(text, names)
    return f"{found.helpers}\n\n{found.code}" if found.helpers else found.code


def defined_names(tree: ast.Module) -> set[str]:
    """The names that a program binds at its top level: functions, classes, variables, imports."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, _DEFINITION):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)}
    return found


def _blocks(text: str) -> list[str]:
    """The bodies of fenced blocks that may be Python; one that is never closed ends with the text."""
    out: list[str] = []
    fence, name = "", ""
    body: list[str] = []
    for line in [*text.split("\n"), None]:
        opened = _FENCE.match(line) if line is not None else None
        if not fence:
            if opened:
                fence, name, body = opened[1], opened[2], []
        elif line is None or (opened and not opened[2] and opened[1].startswith(fence)):
            words = name.strip(" \t{}.").split()
            if not words or _PYTHON.fullmatch(words[0].partition(",")[0]):
                out.append(textwrap.dedent("\n".join(body)) if body and _indented_as_a_list(body) else "\n".join(body))
            fence = ""
        else:
            body.append(line)
    return out


def _indented_as_a_list(body: list[str]) -> bool:
    """Whether a block stands in a list, so that its first line of code is indented: a function's body is no such block."""
    first = next((line for line in body if line.strip()), "")
    return first[:1] in " \t" and _BEGINS.match(first.lstrip()) is not None


def _defines_one(body: str, names: tuple[str, ...]) -> bool:
    either = "|".join(map(re.escape, names))
    defined = rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(?:{either})\b|^(?:{either})[ \t]*(?::[^=\n]*)?=(?!=)"
    return re.search(defined, body, re.MULTILINE) is not None


def _does_something(tree: ast.Module) -> bool:
    """Whether a program is more than values that stand there, as the output of one does."""
    return any(
        not isinstance(node, ast.Expr) or any(isinstance(part, ast.Call | ast.Await) for part in ast.walk(node))
        for node in tree.body
    )


def _helpers(earlier: list[tuple[str, ast.Module | None]], program: ast.Module | None, names: tuple[str, ...]) -> str:
    """What earlier blocks define and the program, or what is taken for it, uses without defining."""
    if program is None:
        return ""
    wanted = _used(program) - defined_names(program) - set(dir(builtins))
    taken: list[str] = []
    for body, tree in reversed(earlier):
        lines = body.split("\n")
        for node in reversed(tree.body if tree else []):
            found = defined_names(ast.Module([node], []))
            if found & wanted and not found & set(names):
                decorators = node.decorator_list if isinstance(node, _DEFINITION) else []
                first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
                taken.append("\n".join(lines[first - 1 : node.end_lineno]))
                wanted = (wanted - found) | (_used(node) - found - set(dir(builtins)))
    return "\n\n".join(reversed(taken))


def _used(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _from_prose(text: str) -> str:
    """The text from the first line on that begins a program, if the whole is none and that part is one."""
    if _parsed(text) is not None:
        return text
    lines = text.split("\n")
    begin = next((i for i, line in enumerate(lines) if _BEGINS.match(line)), None)
    if begin:
        part = "\n".join(lines[begin:])
        if _parsed(part) is not None:
            return part
    return text


def _parsed(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
