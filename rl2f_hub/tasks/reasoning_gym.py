"""Tasks from reasoning-gym: `source: "reasoning_gym:<data set>"` with the data set's own config and a seed.

Item i of seed s is the same task for ever. `answer_range` keeps only items whose whole-number answer lies in the
given closed range; items are drawn until `count` are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Privilege, Task, fingerprint
from rl2f_hub.verify.extract import as_integer

MAX_DRAWS_PER_TASK = 5_000  # a range that keeps fewer than one item in 5,000 is a mistake in the recipe


def reasoning_gym_tasks(
    name: str, config: dict[str, Any], seed: int, split: str, verifier: str, answer_range: tuple[int, int] | None
) -> Iterator[Task]:
    """Endless tasks of one data set, in index order.

    Raises:
        UsageError: unknown data set, unknown config key or value, or an `answer_range` that hardly ever holds.
    """
    domain = _domain(name)
    key = fingerprint([name, config])[:8]
    settings_text = json.dumps(config, sort_keys=True)
    misses = 0
    for index in range(1 << 40):
        entry = _item(name, settings_text, seed, index)
        answer = str(entry["answer"])
        if answer_range is not None:
            value = as_integer(answer)
            if value is None or not answer_range[0] <= value <= answer_range[1]:
                misses += 1
                if misses > MAX_DRAWS_PER_TASK:
                    raise UsageError(
                        f"tasks: reasoning_gym:{name}: no answer within {list(answer_range)} in {misses} items; "
                        "widen `answer_range` or change `config`"
                    )
                continue
        misses = 0
        settings = {"dataset": name, "index": index, "params": config}
        yield Task(
            task_id=f"rg-{name}-{key}-{seed}-{index}",
            source=f"reasoning_gym:{name}",
            domain=domain,
            prompt=str(entry["question"]).strip(),
            privilege=Privilege("answer", answer),
            verifier=verifier,
            config=json.dumps(settings, sort_keys=True),
            seed=seed,
            split=split,
        )


def entry_of(task: Task) -> dict[str, Any]:
    """The reasoning-gym item behind a task, made again from its config."""
    settings = json.loads(task.config)
    return _item(settings["dataset"], json.dumps(settings["params"], sort_keys=True), task.seed, settings["index"])


def scorer_of(task: Task) -> Callable[[str, dict[str, Any]], float]:
    """The data set's own scoring function."""
    import reasoning_gym

    return reasoning_gym.get_score_answer_fn(json.loads(task.config)["dataset"])


@lru_cache(maxsize=64)
def _dataset(name: str, config: str, seed: int, block: int) -> Any:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        from rl2f_hub.recipe import did_you_mean

        raise UsageError(f"tasks: source 'reasoning_gym:{name}' is unknown{did_you_mean(name, DATASETS)}")
    try:
        return reasoning_gym.create_dataset(name, seed=seed, size=(block + 1) * 1_000_000, **json.loads(config))
    except (TypeError, AssertionError, ValueError) as error:
        raise UsageError(f"tasks: reasoning_gym:{name}: config {config} was refused: {error}") from None


def _item(name: str, config: str, seed: int, index: int) -> dict[str, Any]:
    return _dataset(name, config, seed, index // 1_000_000)[index]


def _domain(name: str) -> str:
    """reasoning-gym's category of a data set (arithmetic, algebra, games, ...)."""
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        _dataset(name, "{}", 0, 0)  # raises with the near names
    return DATASETS[name][0].__module__.split(".")[1]
