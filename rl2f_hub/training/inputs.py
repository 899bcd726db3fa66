"""What a program may hand to `RL2FTrainer`: rows of many shapes become tasks, and arguments without effect are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.records import Task

PASSED_ON = ("peft_config", "quantization_config", "processing_class", "callbacks", "optimizers")
_REWARD = "the reward is a dialogue's discounted return; give a `verifier`, or use TRL's GRPOTrainer"
_ANSWERS = "attempts are answered by the `teacher`; for tasks that answer themselves see docs/tasks.md (environments)"
REFUSED = {
    "reward_funcs": _REWARD,
    "reward_processing_classes": _REWARD,
    "tools": _ANSWERS,
    "environment_factory": _ANSWERS,
    "rollout_func": "RL2FTrainer plays the dialogues itself; use TRL's GRPOTrainer for others",
}


def check_arguments(given: Mapping[str, Any]) -> None:
    """Refuses arguments of GRPOTrainer that would have no effect, and unknown ones.

    Raises:
        UsageError: the argument and what to use instead.
    """
    for name in given:
        if name in REFUSED:
            raise UsageError(f"{name}: has no effect in RL2FTrainer: {REFUSED[name]}")
        if name not in PASSED_ON:
            raise UsageError(f"RL2FTrainer: no argument {name!r}{did_you_mean(name, PASSED_ON)}")


def read_tasks(rows: Iterable[Mapping[str, Any] | Task], name: str) -> list[Task]:
    """The tasks of a data set's rows.

    Args:
        rows: tasks, or rows of the columns of `Task.to_row`. `prompt` (a text or one message) and `reference` are enough:
            such an attempt is right when it is the reference (verifier `text`), and the row's place is its id.
        name: the argument that errors name.
    Raises:
        UsageError: a row without one of the two, a value that is no text, no row at all.
    """
    tasks = [row if isinstance(row, Task) else _task(row, f"{name}[{n}]") for n, row in enumerate(rows)]
    if not tasks:
        raise UsageError(f"{name}: there is no task in it; give at least one")
    return tasks


def _task(row: Mapping[str, Any], at: str) -> Task:
    defaults = {"task_id": at, "source": "rows", "domain": "", "privilege": "answer", "solution": "", "tests": ""}
    rest = {"verifier": "text", "config": "{}", "seed": 0, "split": "train"}
    given = {key: value for key, value in row.items() if value is not None}
    missing = [key for key in ("prompt", "reference") if key not in given]
    if missing:
        raise UsageError(
            f"{at}: no column {missing[0]!r}; a row needs `prompt` and `reference`, and may have the other columns of the "
            "config `tasks`"
        )
    if isinstance(given["prompt"], list) and len(given["prompt"]) == 1:  # TRL's conversational form
        given["prompt"] = given["prompt"][0]["content"]
    for key in ("prompt", "reference", "verifier", "task_id"):
        if not isinstance(given.get(key, ""), str):
            raise UsageError(f"{at}.{key}: {type(given[key]).__name__} where a text is needed")
    return Task.from_row({**defaults, **rest, **given})
