"""Tasks from reasoning-gym: `source: "reasoning_gym:<data set>"` with the data set's own config and a seed.

Item i of seed s is the same task for ever. `answer_range` keeps only items whose whole-number answer lies in the
given closed range; items are drawn until `count` are kept. `level` sets the data set's own curriculum to that level
(0 the easiest) and what `config` says goes on top. Many data sets have many right answers: their own scorer decides,
and `threshold` says from which score on an answer is correct (some scorers give 0.01 to 0.05 to anything at all).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.records import Privilege, Task, fingerprint
from rl2f_hub.tasks import Request
from rl2f_hub.verify.limited import HASH_SEED, shared
from rl2f_hub.verify.quantity import as_integer

FINITE = {"acre": 1_000, "word_ladder": 20_000}  # these build all their items at once: so many, and no more
# Items of these depend on the order of sets, hence on the interpreter's hash seed, or on the global random state: they
# are made in the verifiers' child, which has both fixed.
UNSTABLE = frozenset(
    {"isomorphic_strings", "knight_swap", "list_functions", "polynomial_multiplication", "ransom_note", "word_ladder"}
)
EXAMPLES = ("example_correct_answer", "example_answer", "possible_answer")  # where `answer` is None: one right answer
MAX_DRAWS_PER_TASK = 5_000  # a range that keeps fewer than one item in 5,000 is a mistake in the recipe


def tasks(request: Request) -> Iterator[Task]:
    """Tasks of one data set, in index order; endless but for those of `FINITE`.

    Raises:
        UsageError: unknown data set, unknown config key or value, a level above the curriculum's, or an
            `answer_range` that hardly ever holds.
    """
    name, spec = request.name, request.spec
    domain = domain_of(name)
    config = {**level_config(name, spec.level), **spec.config} if spec.level is not None else spec.config
    key = fingerprint([name, config])[:8]
    settings_text = json.dumps(config, sort_keys=True)
    settings: dict[str, Any] = {"dataset": name, "params": config}
    if spec.level is not None:
        settings["level"] = spec.level
    if spec.threshold is not None:
        settings["threshold"] = spec.threshold
    misses = 0
    for index in range(FINITE.get(name, 1 << 40)):
        entry = _item(name, settings_text, request.seed, index)
        answer = reference_of(entry)
        if "Integral(" in answer:  # the generator could not integrate its own question
            request.report["unusable"] = request.report.get("unusable", 0) + 1
            continue
        if spec.answer_range is not None:
            value = as_integer(answer)
            if value is None or not spec.answer_range[0] <= value <= spec.answer_range[1]:
                misses += 1
                if misses > MAX_DRAWS_PER_TASK:
                    raise UsageError(
                        f"tasks: reasoning_gym:{name}: no answer within {list(spec.answer_range)} in {misses} items; "
                        "widen `answer_range` or change `config`"
                    )
                continue
        misses = 0
        yield Task(
            task_id=f"rg-{name}-{key}-{request.seed}-{index}",
            source=f"reasoning_gym:{name}",
            domain=domain,
            prompt=str(entry["question"]).strip(),
            privilege=Privilege("answer" if answer else "verdict", answer),
            verifier=spec.verifier or "reasoning_gym",
            config=json.dumps({**settings, "index": index}, sort_keys=True),
            seed=request.seed,
            split=request.split,
        )


def level_config(name: str, level: int) -> dict[str, Any]:
    """The config that the data set's own curriculum gives at a level.

    Raises:
        UsageError: no curriculum, or a level above its highest.
    """
    import dataclasses

    from reasoning_gym.factory import create_curriculum

    highest = highest_level(name)
    if highest is None:
        raise UsageError(f"tasks: reasoning_gym:{name} has no levels; leave out `level` and set `config`")
    curriculum = create_curriculum(name)
    if level > highest:
        raise UsageError(f"tasks: reasoning_gym:{name}: level {level} is above its highest, {highest}")
    curriculum.set_global_level(level)
    made = dataclasses.asdict(curriculum.generate_configuration())
    return {k: v for k, v in made.items() if k not in ("seed", "size") and _is_json(v)}


def highest_level(name: str) -> int | None:
    """The highest level of a data set's curriculum; None where it has none."""
    from reasoning_gym.factory import create_curriculum, has_curriculum

    domain_of(name)
    if not has_curriculum(name):
        return None
    return max((len(a.levels) - 1 for a in create_curriculum(name).attributes.values()), default=0)


def _is_json(value: Any) -> bool:
    try:
        return json.loads(json.dumps(value)) is not None
    except TypeError:
        return False


def reference_of(entry: dict[str, Any]) -> str:
    """A right answer to an item; empty where the data set knows none (its scorer simulates what the answer does)."""
    if entry["answer"] is not None:
        return str(entry["answer"])
    for name in EXAMPLES:
        if name in entry["metadata"]:
            example = entry["metadata"][name]
            return example if isinstance(example, str) else json.dumps(example)
    return ""


def entry_of(task: Task) -> dict[str, Any]:
    """The reasoning-gym item behind a task, made again from its config."""
    settings = task.settings
    return _item(settings["dataset"], json.dumps(settings["params"], sort_keys=True), task.seed, settings["index"])


def scorer_of(task: Task) -> Callable[[str, dict[str, Any]], float]:
    """The data set's own scoring function."""
    settings = task.settings
    params = json.dumps(settings["params"], sort_keys=True)
    return _dataset(settings["dataset"], params, task.seed, settings["index"] // 1_000_000).score_answer


@lru_cache(maxsize=64)
def _dataset(name: str, config: str, seed: int, block: int) -> Any:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        raise UsageError(f"tasks: source 'reasoning_gym:{name}' is unknown{did_you_mean(name, DATASETS)}")
    try:
        return reasoning_gym.create_dataset(
            name, seed=seed, size=FINITE.get(name, (block + 1) * 1_000_000), **json.loads(config)
        )
    except (TypeError, AssertionError, ValueError) as error:
        raise UsageError(f"tasks: reasoning_gym:{name}: config {config} was refused: {error}") from None


@lru_cache(maxsize=1024)  # a dialogue asks for the same item at every turn
def _item(name: str, config: str, seed: int, index: int) -> dict[str, Any]:
    if name in UNSTABLE:
        if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
            try:
                where = "rl2f_hub.tasks.reasoning_gym:plain_item"
                return shared().call(where, name=name, config=config, seed=seed, index=index)
            except ValueError as error:
                raise ValueError(f"reasoning_gym:{name}: item {index}: {error}") from None
        random.seed(f"{seed}/{index}")
    return _dataset(name, config, seed, index // 1_000_000)[index]


def plain_item(name: str, config: str, seed: int, index: int) -> dict[str, Any]:
    """An item's question, answer and metadata with texts for whatever JSON does not know."""
    entry = _item(name, config, seed, index)
    answer = entry["answer"] if entry["answer"] is None else str(entry["answer"])
    return json.loads(
        json.dumps({"question": entry["question"], "answer": answer, "metadata": entry["metadata"]}, default=str)
    )


def domain_of(name: str) -> str:
    """reasoning-gym's category of a data set (arithmetic, algebra, games, ...)."""
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        _dataset(name, "{}", 0, 0)  # raises with the near names
    return DATASETS[name][0].__module__.split(".")[1]
