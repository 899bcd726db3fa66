"""Tasks from a class in the user's own file: `source: "python:my_tasks.py:MyTasks"`.

The class needs two methods, and may take the source's `config` as keyword arguments:

    class MyTasks:
        def tasks(self, seed: int):            # yields dicts with `prompt`, `reference`, optionally `solution`, `domain`
            ...
        def verify(self, task, attempt):       # -> bool, a score from 0 to 1, or an rl2f_hub.records.Verdict
            ...

`verify` may be left out: then the source's `verifier` compares with the reference. A class that is a `verify.Environment`
is a world of its own: instead of `verify` it has `reset` and `step`, needs no `reference`, and may give a winning line as
`solution`, one move per line. The file is code of the user's own and runs as such, so it is only loaded with the permission
`local_code` (`--allow-local-code`).
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
from rl2f_hub.verify import Environment
from rl2f_hub.verify.plugin import HasVerify, make, settings_of


def tasks(request: Request) -> Iterator[Task]:
    """The class's tasks in its own order.

    Raises:
        UsageError: not permitted, no such file or class, or a bad row.
    """
    config = json.dumps(request.spec.config, sort_keys=True)
    made = make(request.spec.source, config, f"{request.at}.source")
    world = isinstance(made, Environment)
    own = not world and isinstance(made, HasVerify) and request.spec.verifier is None
    mapping = {
        "prompt": "prompt",
        "reference": "reference",
        "solution": "solution",
        "domain": "domain",
        "id": "task_id",
    }
    named = {field: column for field, column in mapping.items() if field not in _given(request)}
    request.spec = request.spec.model_copy(update=named)
    added: dict[str, Any] = {"_config": settings_of(request.spec.source, request.spec.config)}
    if world:
        added["_verifier"] = "environment"
    rows = ((number, row) for number, row in enumerate(made.tasks(request.seed)))
    prefix = Path(request.name.rpartition(":")[0]).stem

    def settled(row: dict[str, Any]) -> dict[str, Any]:
        return ({"reference": ""} if world else {}) | row | added

    for task in rows_to_tasks(rows, request, prefix=prefix, convert=settled):
        yield replace(task, verifier="python") if own else task


def _given(request: Request) -> set[str]:
    """The columns that the source names itself."""
    return {name for name, value in request.spec.model_dump().items() if value is not None}
