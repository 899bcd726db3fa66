"""Verifier `python`: the `verify` method of the user's own task class (`tasks/plugin.py`), in the time-limited child.

The file is code of the user's own and runs as such: it is only loaded with the permit `local_code`.
"""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Task, Verdict
from rl2f_hub.runtime import permits


def plugin(task: Task, attempt: str) -> Verdict:
    """What the class's `verify(task, attempt)` says: a `Verdict`, a score from 0 to 1, or True or False."""
    judged = plugin_of(task).verify(task, attempt)
    if isinstance(judged, Verdict):
        return judged
    if isinstance(judged, bool | int | float) and 0 <= judged <= 1:
        correct = float(judged) >= 1.0
        return Verdict(correct, float(judged), attempt.strip(), f"scored {float(judged):g} of 1")
    raise ValueError(f"{task.source}: `verify` returned {judged!r}; return a Verdict, a bool or a score from 0 to 1")


def plugin_of(task: Task) -> Any:
    """The object behind a task, loaded again where its verifier runs."""
    settings = json.loads(task.config)["plugin"]
    return load(settings["file"], settings["class"], json.dumps(settings["config"], sort_keys=True), task.source)


def load(file: str, class_name: str, config: str, at: str) -> Any:
    """The user's object.

    Raises:
        UsageError: without the permit `local_code`, no such file, or the class cannot be made.
    """
    if not permits.allowed("local_code"):
        raise UsageError(
            f"{at}.source: python:{file}:{class_name} is code of your own; allow it with --allow-local-code"
        )
    return _made(file, class_name, config, at)


@lru_cache(maxsize=16)
def _made(file: str, class_name: str, config: str, at: str) -> Any:
    if not file or not Path(file).is_file():
        raise UsageError(f"{at}.source: no file {file!r}; write python:<file>:<class>")
    spec = importlib.util.spec_from_file_location(f"_rl2f_plugin_{Path(file).stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return getattr(module, class_name)(**json.loads(config))
    except Exception as error:
        raise UsageError(f"{at}.source: {file}:{class_name} cannot be made: {type(error).__name__}: {error}") from None
