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
# Each may import what stands before it. What is not listed (stages, hub, demo, command line) stands after all of these.
ORDER = [
    {"dialogue", "recipe", "runtime", "training"},
    {
        "errors",
        "dialogue.token_ledger",
        "records",
        "runtime.permits",
        "runtime.yaml_reader",
        "recipe.base",
        "sandbox.jobs",
    },
    {"hub.errors", "runtime.processes", "students.quantization", "recipe.task_sections", "recipe.teacher_sections"},
    {"recipe.sections"},
    {"recipe.whole", "recipe.stages"},
    {"recipe.reading"},
    {"training.credit", "training.critique", "dialogue.chat_format", "engines"},
    {"engines.batches", "engines.draw", "engines.folded", "engines.kinds", "engines.memory", "engines.slots"},
    {"engines.session"},
    {"engines.transformers"},
    {"sandbox.inside", "sandbox.inside.lockdown", "sandbox.talk"},
    {"sandbox.bubblewrap"},
    {"sandbox.cell"},
    {"sandbox.run"},
    {"sandbox.pool"},
    {"verify.answer", "verify.quantity", "sandbox"},
    {"verify.extract", "verify.values", "verify.grid"},
    {"verify.exact"},
    {"verify.mathematics", "verify.unit_tests", "verify.plugin", "verify.limited"},
    {"tasks.textarena.moves", "tasks.textarena.words", "tasks.textarena.opponents"},
    {"tasks.textarena.game"},
    {"tasks.textarena.match"},
    {"tasks.textarena.lines"},
    {"tasks.textarena.games"},
    {"tasks.reasoning_gym", "tasks.textarena"},
    {"verify.scorers", "verify.environment"},
    {"verify"},
    {"verify.child", "tasks.columns"},
    {"tasks.local"},
    {"tasks.human_eval", "tasks.plugin"},
    {"tasks.converters"},
    {"tasks.code_converters"},
    {"tasks.presets"},
    {"tasks.hub"},
    {"tasks", "teachers"},
    {"teachers.marks"},
    {"teachers.scripted", "teachers.environment", "teachers.leaks.numerals"},
    {"teachers.leaks.reading"},
    {"teachers.leaks.secret"},
    {"teachers.leaks.numbers", "teachers.leaks.texts", "teachers.leaks.encoded", "teachers.leaks.solutions"},
    {"teachers.leaks"},
    {"teachers.controls", "teachers.guard"},
    {"training.curriculum", "dialogue.context_window", "dialogue.timings"},
    {"dialogue.rollout"},
    {"dialogue.runner"},
    {"training.reference", "training.sharded", "training.config"},
    {"runs"},
    {"training.checkpoints"},
    {"training.sync"},
    {"training.rollouts"},
    {"training.trainer"},
]


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


LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


@pytest.mark.parametrize("name", sorted(LEVEL))
def test_the_core_imports_one_way(name: str) -> None:
    """Even inside functions, the core never reaches for what is built on it."""
    built = {"teachers.scripted", "teachers.controls", "teachers.model", "teachers.endpoint"}
    late = built if name == "teachers" else set()  # its table of names
    for other in imports(modules()[name], everywhere=True) - late:
        assert other in LEVEL, f"{name} imports {other}, which is built on it"
        part = (
            name.startswith(f"{other}.")
            or other.startswith(f"{name}.")
            or LEVEL[other] == LEVEL[name] == LEVEL["engines"]
        )
        assert part or LEVEL[other] < LEVEL[name], f"{name} imports {other}"


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
