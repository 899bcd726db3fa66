"""The page of the Python API is what the source says, and the source says something about every public name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_reference", ROOT / "docs" / "api_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


api = _load()
PUBLIC = {
    f"{module}.{name}": (*place, module, name) for module in api.MODULES for name, place in api.public(module).items()
}


def test_the_page_is_current() -> None:
    committed = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert committed == api.api_reference(), "docs/api.md is out of date: run `make docs` and commit it"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported_and_says_what_it_takes_and_raises(name: str) -> None:
    file, node, module, attribute = PUBLIC[name]
    assert hasattr(importlib.import_module(module), attribute)
    assert _problems(file, node) == []


def _problems(file: Path, node: ast.AST) -> list[str]:
    """What a reader of the docstrings of one class or function would miss."""
    said = ast.get_docstring(node) or ""
    found = [] if said else [f"{node.name}: no docstring"]
    if isinstance(node, ast.FunctionDef):
        return found + _unsaid(node, node.name, said)
    for method in api.methods(node):
        own = ast.get_docstring(method) or ""
        found += [] if own else [f"{method.name}: no docstring"]
        found += _unsaid(method, method.name, own)
    made = api.constructor(node)
    if made is not None:
        found += _unsaid(made, node.name, said)
    if not any(ast.unparse(base) in ("BaseModel", "Spec") for base in node.bases):  # those: the recipe reference
        for name, kind, _, comment in api.fields(file, node):
            found += [] if comment or _names(said, name) else [f"field {name}: {kind}: neither comment nor docstring"]
    return found


def _unsaid(node: ast.FunctionDef, name: str, said: str) -> list[str]:
    found = [f"{name}: argument {p} is not named" for p in api.parameters(node) if not _names(said, p)]
    raised = {
        inner.exc.func.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call) and isinstance(inner.exc.func, ast.Name)
    }
    errors = raised & {"UsageError", "RL2FError", "ValueError"}
    return found + [f"{name}: raises {error} and does not say so" for error in sorted(errors) if error not in said]


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}\b", text) is not None
