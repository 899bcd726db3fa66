"""Wrong programs made from right ones: one small change of the syntax tree each, for checking that tests can fail.

Changes, in the order in which a seed draws them: a comparison or an arithmetic operator swapped, a number shifted, a
condition negated, a returned value replaced. A mutant can be equivalent to the original; callers allow for that.
"""

from __future__ import annotations

import ast
import copy
import random
from typing import Any

_SWAPS: dict[type[ast.AST], Any] = {  # an operator -> one of the same family
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def mutants(code: str, seed: int, count: int) -> list[str]:
    """Up to `count` different mutants. The last one always returns (or prints) something else everywhere.

    Returns an empty list for code that is not valid Python.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return []
    original = ast.unparse(tree)
    spots = [(i, kind) for i, node in enumerate(ast.walk(tree)) for kind in _changes(node)]
    random.Random(f"{seed}/{code}").shuffle(spots)
    out: list[str] = []
    for i, kind in spots:
        if len(out) >= count - 1:
            break
        changed = copy.deepcopy(tree)
        _change(list(ast.walk(changed))[i], kind)
        text = ast.unparse(ast.fix_missing_locations(changed))
        if text != original and text not in out:
            out.append(text)
    blunt = ast.unparse(ast.fix_missing_locations(_Blunt().visit(copy.deepcopy(tree))))
    if blunt != original and blunt not in out:
        out.append(blunt)
    return out


def _changes(node: ast.AST) -> list[str]:
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPS:
        return ["op"]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        return ["compare"]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return ["number"]
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        return ["negate"]
    return []


def _change(node: ast.AST, kind: str) -> None:
    if isinstance(node, ast.BinOp | ast.BoolOp) and kind == "op":
        node.op = _SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops[0] = _SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value += 1
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)


class _Blunt(ast.NodeTransformer):
    """Every `return x` returns a text that no test expects; every `print(...)` prints it."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        return ast.Return(ast.Constant("not the answer"))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "print":
            return ast.Call(node.func, [ast.Constant("not the answer")], [])
        return node
