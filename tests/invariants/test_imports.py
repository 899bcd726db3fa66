"""Who may import whom, and what stays unloaded until it is needed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import rl2f_hub

ROOT = Path(rl2f_hub.__file__).parent
HEAVY = {"torch", "trl", "peft", "transformers", "gradio", "datasets", "huggingface_hub", "accelerate"}
LIGHT = [
    "rl2f_hub.publish",
    "rl2f_hub.cli.publish",
    "rl2f_hub.hub.card_merge",
    "rl2f_hub.hub.commit",
    "rl2f_hub.hub.group",
    "rl2f_hub.hub.card_text",
    "rl2f_hub.hub.dataset_cards",
    "rl2f_hub.hub.model_cards",
    "rl2f_hub.generate",
    "rl2f_hub.cli.evaluate",
    "rl2f_hub.evaluation.report",
    "rl2f_hub.evaluation.models",
    "rl2f_hub.cli.reproduce",
    "rl2f_hub.reproduction.plan",
    "rl2f_hub.pipeline",
    "rl2f_hub",
    "rl2f_hub.errors",
    "rl2f_hub.records",
    "rl2f_hub.dialogue.chat_format",
    "rl2f_hub.engines",
    "rl2f_hub.training.checks",
    "rl2f_hub.training.credit",
    "rl2f_hub.verify",
    "rl2f_hub.tasks",
    "rl2f_hub.teachers",
    "rl2f_hub.teachers.scripted",
    "rl2f_hub.teachers.controls",
    "rl2f_hub.teachers.guard",
    "rl2f_hub.recipe",
    "rl2f_hub.dialogue.runner",
]
# Pairs of rooms that still import each other. It only shrinks: a pair that is gone from the code must go from here.
CIRCLES = {
    ("cli", "evaluation"),
    ("evaluation", "hub"),
    ("hub", "pipeline"),
    ("hub", "publish"),
    ("hub", "students"),
    ("hub", "tasks"),
    ("pipeline", "training"),
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """For each light module, in order, the heavy packages that are loaded after its import in a new process."""
    code = (
        "import importlib, json, sys\n"
        f"out = {{}}\nfor name in {LIGHT!r}:\n"
        "    importlib.import_module(name)\n"
        f"    out[name] = sorted({HEAVY!r} & set(sys.modules))\n"
        "print(json.dumps(out))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent, timeout=900
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", LIGHT)
def test_nothing_heavy_is_loaded_before_it_is_needed(name: str, loaded: dict[str, list[str]]) -> None:
    assert loaded[name] == []


def test_help_waits_for_nothing_that_only_commands_need() -> None:
    code = "import sys, rl2f_hub.cli; print(sorted({'numpy', 'pydantic', 'yaml', 'jinja2'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent, timeout=900
    )
    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_unknown_ones_are_attribute_errors() -> None:
    for name in rl2f_hub.__all__:
        assert getattr(rl2f_hub, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rl2f_hub.Nothing


def imports(file: Path, everywhere: bool) -> set[str]:
    """Our modules that a file imports, as dotted names below the package; `everywhere`: inside functions too."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not everywhere:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            package = file.parent if node.level else ROOT.parent
            for _ in range(node.level - 1):
                package = package.parent
            parts = (*package.relative_to(ROOT.parent).parts, *filter(None, (node.module or "").split(".")))
            base = ".".join(parts)
            found.update(full if is_module(full := f"{base}.{alias.name}") else base for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(file.read_text()))
    return {name.removeprefix("rl2f_hub.") for name in found if name.startswith("rl2f_hub.")}


def is_module(name: str) -> bool:
    path = ROOT.parent / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def modules() -> dict[str, Path]:
    out = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__"] = file
    return out


def rooms() -> dict[tuple[str, str], list[str]]:
    """(room, another that it imports) -> the modules that do, inside functions too. A room is a package or a file at the top.

    What `kinds.py` names as text is loaded when it is asked for by name: its tables are not imports.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name, file in modules().items():
        here = name.partition(".")[0]
        for other in imports(file, everywhere=True):
            there = other.partition(".")[0]
            if there != here:
                found.setdefault((here, there), []).append(f"{name} imports {other}")
    return found


def test_no_two_rooms_import_each_other() -> None:
    arrows = rooms()
    assert len(arrows) > 50  # the reader of imports still finds them
    circles = {tuple(sorted(pair)) for pair in arrows if pair[::-1] in arrows}
    new = {pair: [arrows[pair], arrows[pair[::-1]]] for pair in circles - CIRCLES}
    assert not new, f"rooms that import each other: {new}"
    assert circles == CIRCLES, "a pair is gone: take it out of CIRCLES too"


def test_the_tables_of_kinds_import_nothing_that_they_name() -> None:
    assert imports(modules()["kinds"], everywhere=True) == {"errors", "runtime", "runtime.permits"} - {"runtime"}


def test_records_and_errors_import_nothing_of_ours() -> None:
    for name in ("records", "errors"):
        assert imports(modules()[name], everywhere=True) == set()


def test_the_embedded_hub_stands_alone_and_shares_the_reader_of_yaml_alone() -> None:
    allowed = {"errors", "runtime.loopback", "runtime.yaml_reader"}
    for name, file in modules().items():
        if name.partition(".")[0] == "localhub":
            ours = {other for other in imports(file, everywhere=True) if other.partition(".")[0] != "localhub"}
            assert ours <= allowed, f"{name} imports {ours - allowed}"
    assert imports(modules()["runtime.yaml_reader"], everywhere=True) == set()


def test_the_loop_knows_nothing_of_training_and_the_ledger_nothing_of_tasks() -> None:
    used = imports(modules()["dialogue.runner"], True)
    assert not {name for name in used if name.startswith("training")} | used & {"engines.transformers"}
    assert imports(modules()["dialogue.chat_format"], True) == {"dialogue.token_ledger", "errors"}
    assert imports(modules()["dialogue.token_ledger"], True) == set()


def test_no_module_imports_itself_through_others() -> None:
    """Module-level imports form no circle, in the whole package."""
    graph = {name: imports(file, everywhere=False) for name, file in modules().items()}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for other in graph.get(name, ()):
                if not (other and name.startswith(f"{other}.")):  # a package is there before its parts
                    walk(other, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())
