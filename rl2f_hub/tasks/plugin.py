"""Tasks from a class in the user's own file: `source: "python:my_tasks.py:MyTasks"`.

The class needs two methods, and may take the source's `config` as keyword arguments:

    class MyTasks:
        def tasks(self, seed: int):            # yields dicts with `prompt`, `reference`, optionally `solution`, `domain`
            ...
        def verify(self, task, attempt):       # -> bool, a score from 0 to 1, or an rl2f_hub.records.Verdict
            ...

`verify` may be left out: then the source's `verifier` compares with the reference. The file is code of the user's own
and runs as such, so it is only loaded with the permit `local_code` (`--allow-local-code`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl2f_hub.records import Task
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.columns import rows_to_tasks
from rl2f_hub.verify.plugin import load


def tasks(request: Request) -> Iterator[Task]:
    """The class's tasks in its own order.

    Raises:
        UsageError: not permitted, no such file or class, or a bad row.
    """
    file, _, class_name = request.name.rpartition(":")
    made = load(file, class_name, json.dumps(request.spec.config, sort_keys=True), request.at)
    own = callable(getattr(made, "verify", None)) and request.spec.verifier is None
    mapping = {
        "prompt": "prompt",
        "reference": "reference",
        "solution": "solution",
        "domain": "domain",
        "id": "task_id",
    }
    request.spec = request.spec.model_copy(
        update={k: v for k, v in mapping.items() if getattr(request.spec, k) is None}
    )
    rows = ((number, row) for number, row in enumerate(made.tasks(request.seed)))
    settings = {"plugin": {"file": str(Path(file).resolve()), "class": class_name, "config": request.spec.config}}
    for task in rows_to_tasks(rows, request, prefix=Path(file).stem, convert=lambda row: _settled(row, settings)):
        yield replace(task, verifier="python") if own else task


def _settled(row: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    return {**row, "_config": settings}
