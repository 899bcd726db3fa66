"""Writes `docs/api.md`, the reference of the Python API, from the source: signatures, fields and docstrings.

`MODULES` says what is public: names that a program of a user's imports. `docs/references.py` calls this (`make docs`).
Nothing of the package is imported. Left out: methods whose names begin with an underscore, and what is inherited.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
MODULES = {  # module -> its public names; none given: its `__all__`
    "rl2f_hub": (),
    "rl2f_hub.tasks": ("recipe_tasks", "load_tasks"),
    "rl2f_hub.teachers": ("FeedbackRequest", "Reply", "Teacher", "WrappedTeacher", "build_teacher", "as_teacher"),
    "rl2f_hub.teachers.guard": ("Guard", "GuardedTeacher", "Judge", "leaks_of"),
    "rl2f_hub.verify": ("Verifier", "Environment", "as_verifier", "verify", "replay"),
    "rl2f_hub.training.credit": ("Outcome", "dialogue_credit", "turn_credit", "turn_advantages"),
    "rl2f_hub.engines": ("Sampling", "Sampled", "Engine", "Session", "TokenDrawn"),
    "rl2f_hub.students.load": ("open_student",),
    "rl2f_hub.dialogue.runner": (
        "Student",
        "run_dialogues",
        "start_rollouts",
        "DialogueRunner",
        "Rollout",
        "get_feedback",
        "judge",
    ),
    "rl2f_hub.dialogue.events": (),
    "rl2f_hub.sandbox": (),
    "rl2f_hub.publish": ("publish", "dry_run", "features", "write_parquet"),
    "rl2f_hub.evaluation.metrics": (),
}
EXAMPLE = """## An example

A student is trained on the tasks of a data set and examined on its held-out ones, with a scripted teacher; the names
are those of the quickstart.
Tasks of your own are rows too: `Dataset.from_list([task.to_row() for task in recipe_tasks(load_recipe("mine.yaml"))["train"]])`.

```python
from datasets import load_dataset
from peft import LoraConfig

from rl2f_hub import RL2FConfig, RL2FTrainer, Task
from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.evaluation.metrics import accuracy
from rl2f_hub.students.load import open_student
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard

tasks = load_dataset("me/rl2f-didactic-quickstart", "tasks")
trainer = RL2FTrainer(
    "me/rl2f-quickstart-base",  # a Hub id, a path or a model
    args=RL2FConfig(
        "trained",
        use_cpu=True,  # leave it out where there is a GPU
        max_steps=2,
        max_turns=3,
        turn_tokens=6,
        per_device_train_batch_size=8,
        num_generations=4,
    ),
    train_dataset=tasks["train"],
    teacher=build_teacher("scripted"),
    peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"),
)
trainer.train()
trainer.save_model("trained/adapter")

held_out = [Task.from_row(row) for row in tasks["eval"]]
student, teacher, sampling = open_student("trained/adapter"), build_teacher("scripted"), Sampling(0.0, turn_tokens=6)
played = run_dialogues(held_out, student, teacher, guard=Guard(), max_turns=3, sampling=sampling, seed=0)
dialogues = [rollout.dialogue(student.name, teacher.name, sampling) for rollout in played]
print(accuracy([dialogue.solved_at for dialogue in dialogues], max_turns=3, resamples=200, seed=0)["acc_at_turn"])
```
"""
OWN = """## Parts of your own

A teacher, verifier, environment or credit scheme of yours is a class or a function. In Python you pass the object: a
function of a `FeedbackRequest` that returns a text is a teacher, a function (task, attempt) that returns a bool, a score or
a `Verdict` is a verifier. A recipe names it by import path, `python:<file>:<name>`:

| part | recipe key | in Python | example |
| --- | --- | --- | --- |
| teacher | `teacher.kind` | `run_dialogues(teacher=...)`, `RL2FTrainer(teacher=...)` | [my_teacher.py](examples/my_teacher.py) |
| verifier | a source's `verifier` | `run_dialogues(verifier=...)` | [my_verifier.py](examples/my_verifier.py) |
| environment | a source: `source` | `run_dialogues(verifier=MyWorld)` | [my_environment.py](examples/my_environment.py) |
| tasks | a source: `source` | rows of `Task.to_row()` | [tasks.md](tasks.md#your-own-tasks) |
| credit | `train.credit` | `RL2FConfig(credit=...)` | `turn_credit` below |
| judge | | `Guard(judge=...)` | |

A file named by a recipe is code that runs with your rights, so a recipe alone cannot start it: the commands need
`--allow-local-code`, a program `rl2f_hub.runtime.permits.allow(local_code=True)`. Whatever a teacher says passes the guard.

```python
from rl2f_hub import Task


def teacher(request):
    return "Too high." if int(request.verdict.answer or 0) > int(request.privilege.reference) else "Too low."


def verifier(task: Task, attempt: str) -> bool:
    return attempt.strip() == task.privilege.reference
```
"""
Definition = ast.FunctionDef | ast.ClassDef
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:")


def api_reference() -> str:
    lines = [
        "<!-- Made by `make docs` from the code; edit that instead. -->\n",
        "# Python API\n",
        "What a program of yours may import. `rl2f_hub` itself loads each name on first use. Errors that a user can cause "
        "are `UsageError` (the request is wrong) and `RL2FError` (something failed), of one line each.\n",
        OWN,
        EXAMPLE,
    ]
    for module in MODULES:
        file = file_of(module)
        opening = (ast.get_docstring(_parsed(file)) or "").partition("\n")[0]
        lines.append(f"## {module}\n\n{opening}\n")
        for name, (where, node) in public(module).items():
            lines.append(f"### {name}\n\n```text\n{_head(name, node)}\n```\n\n{_said(node)}")
            if isinstance(node, ast.ClassDef):
                lines += _members(where, node)
    return "\n".join(lines).rstrip() + "\n"


def file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public(module: str) -> dict[str, tuple[Path, Definition]]:
    """Name -> the file and node that define it; constants are left out."""
    names = MODULES[module] or _exported(_parsed(file_of(module)))
    found = {name: _defined(module, name) for name in names}
    return {name: place for name, place in found.items() if place is not None}


def methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")]


def fields(file: Path, node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    """Name, type, default and trailing comment of every field."""
    text = file.read_text(encoding="utf-8")
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name) and inner.target.id[0] != "_":
            default, help = _default(inner.value)
            said = comments.get(inner.end_lineno or inner.lineno, help)
            found.append((inner.target.id, ast.unparse(inner.annotation), default, said))
        elif isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name) and inner.targets[0].id.isupper():
            found.append((inner.targets[0].id, "", ast.unparse(inner.value), comments.get(inner.lineno, "")))
    return found


def _default(value: ast.expr | None) -> tuple[str, str]:
    """A field's default and, of a dataclass that describes its fields so, its help."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func) != "field":
        return "" if value is None else ast.unparse(value), ""
    given = {word.arg: word.value for word in value.keywords}
    made = f"{ast.unparse(given['default_factory'])}()" if "default_factory" in given else ""
    help = ast.literal_eval(given["metadata"])["help"] if "metadata" in given else ""
    return ast.unparse(given["default"]) if "default" in given else made, help


def parameters(node: ast.FunctionDef) -> list[str]:
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def constructor(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _exported(tree: ast.Module) -> list[str]:
    """`__all__`, with the names that `_PUBLIC` maps to modules in its place where it is made of them."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("_PUBLIC", "__all__"):
            return list(ast.literal_eval(node.value))
    raise LookupError("a public module without __all__: name its names in MODULES")


def _defined(module: str, name: str) -> tuple[Path, Definition] | None:
    file = file_of(module)
    for node in ast.walk(_parsed(file)):
        if isinstance(node, Definition) and node.name == name:
            return file, node
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            return _defined(f"{package}.{node.module}" if node.level else str(node.module), name)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_PUBLIC":
            home = ast.literal_eval(node.value)
            if name in home:
                return _defined(f"{module}.{home[name]}", name)
    return None


def _head(name: str, node: Definition) -> str:
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{name}({_arguments(node)}){returns}"
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    made = constructor(node)
    return f"class {name}{bases}" + (f"\n{name}({_arguments(made)})" if made else "")


def _arguments(node: ast.FunctionDef) -> str:
    return re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))


def _members(file: Path, node: ast.ClassDef) -> list[str]:
    lines = []
    rows = fields(file, node)
    if rows and not any(ast.unparse(base) in ("BaseModel", "Spec") for base in node.bases):
        lines.append("| field | type | default | |\n| --- | --- | --- | --- |")
        for name, kind, default, said in rows:
            cells = [f"`{text}`" if text else "" for text in (name, kind, default)]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in [*cells, said])} |")
        lines.append("")
    for method in methods(node):
        as_value = any(ast.unparse(mark).endswith("property") for mark in method.decorator_list)
        head = f"{method.name}: {ast.unparse(method.returns)}" if as_value and method.returns else None
        lines.append(f"**`{node.name}.{head or _head(method.name, method)}`**\n\n{_said(method)}")
    return lines


def _said(node: Definition) -> str:
    """A docstring as Markdown: its `Args:` and their like become lists."""
    lines, inside = [], False
    for line in (ast.get_docstring(node) or "").split("\n"):
        if line.strip() in SECTIONS:
            lines += [*([""] if lines and lines[-1] else []), f"{line.strip()}\n"]
            inside = True
        elif inside and re.match(r" {4}\S", line):
            named, mark, text = dedent(line).partition(": ")
            lines.append(f"- `{named}`: {text}" if mark and "`" not in named else f"- {dedent(line)}")
        elif inside and line.startswith("      "):
            lines.append("  " + line.strip())
        else:
            inside = inside and not line.strip()
            lines.append(line)
    return "\n".join(lines) + "\n"
