"""Verifier `python`: the user's own, a function or a class with `verify`, in the time-limited child.

It is named by the recipe (`verifier: "python:mine.py:check"`) or is the `verify` method of the user's own task class. The
file is code of the user's own and runs as such: it is only loaded with the permission `local_code`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rl2f_hub.errors import UsageError
from rl2f_hub.kinds import OWN, load_own
from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.base import Verifier


@runtime_checkable
class HasVerify(Protocol):
    """A class of the user's own that judges."""

    def verify(self, task: Task, attempt: str) -> Verdict | bool | float: ...


def settings_of(path: str, config: dict[str, Any]) -> dict[str, Any]:
    """What a task's config keeps of `python:<file>:<name>` and the settings that its class takes."""
    file, _, name = path.removeprefix(OWN).rpartition(":")
    return {"plugin": {"file": str(Path(file).resolve()), "class": name, "config": config}}


def is_plugin(task: Task) -> bool:
    """Whether a task names code of the user's own."""
    return '"plugin"' in task.config and "plugin" in task.settings


def plugin_of(task: Task) -> Any:
    """The object behind a task, loaded again where its verifier runs."""
    settings = task.settings["plugin"]
    path = f"{OWN}{settings['file']}:{settings['class']}"
    return make(path, json.dumps(settings["config"], sort_keys=True), f"{task.source}.source")


def make(path: str, config: str, field: str) -> Any:
    """The user's function, or an object of their class made with `config` (JSON of its keyword arguments).

    Raises:
        UsageError: without the permission `local_code`, no such file, or the class cannot be made.
    """
    found = load_own(path, field)
    return _made(found, config, f"{field}: {path.removeprefix(OWN)}") if isinstance(found, type) else found


@lru_cache(maxsize=16)
def _made(kind: Callable[..., Any], config: str, at: str) -> Any:
    try:
        return kind(**json.loads(config))
    except Exception as error:
        raise UsageError(f"{at} cannot be made: {type(error).__name__}: {error}") from None


def _judge(task: Task, attempt: str) -> Verdict:
    return verdict_by(plugin_of(task), task, attempt)


def verdict_by(judge: Any, task: Task, attempt: str) -> Verdict:
    """What a function, or an object with `verify`, says: a `Verdict`, a score from 0 to 1, or True or False."""
    judged = judge.verify(task, attempt) if isinstance(judge, HasVerify) else judge(task, attempt)
    if isinstance(judged, Verdict):
        return judged
    if isinstance(judged, bool | int | float) and 0 <= judged <= 1:
        correct = float(judged) >= 1.0
        return Verdict(correct, float(judged), attempt.strip(), f"scored {float(judged):g} of 1")
    raise ValueError(f"{task.source}: `verify` returned {judged!r}; return a Verdict, a bool or a score from 0 to 1")


PYTHON = Verifier(_judge, limited=True, needs_its_source=True)
