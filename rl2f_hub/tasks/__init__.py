"""Task sources: one file a source, each an endless stream of `Task`. `load_tasks` mixes them into disjoint splits.

A source is named in a recipe as `reasoning_gym:<data set>` or `jsonl:<path>`. Splits never share a task: prompts that
agree after their numbers are sorted (so 12 * 34 and 34 * 12) count as one, and the held-out splits choose first.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Task

if TYPE_CHECKING:
    from rl2f_hub.recipe import Recipe, SourceSpec

SPLITS = ("ood", "eval", "train", "pretrain")  # in the order in which they choose
MAX_DUPLICATES = 5_000  # this many known tasks in a row: the source has no more to give


def near_key(prompt: str) -> str:
    """Equal for prompts that differ only in white space, case or the order of their numbers."""
    numbers = sorted(re.findall(r"\d+", prompt), key=lambda n: (len(n), n))
    skeleton = re.sub(r"\d+", "0", " ".join(prompt.split()).casefold())
    return skeleton + "|" + ",".join(numbers)


def recipe_tasks(recipe: Recipe) -> dict[str, list[Task]]:
    """All splits of a recipe; `pretrain` is what a student from scratch learns the language of tasks from."""
    sources = {split: getattr(recipe.tasks, split) for split in SPLITS[:3]}
    sources["pretrain"] = recipe.model.scratch.tasks if recipe.model.scratch else []
    return load_tasks(sources, recipe.seed)


def load_tasks(sources: Mapping[str, Sequence[SourceSpec]], seed: int) -> dict[str, list[Task]]:
    """The splits of a task mix, deterministic by seed, disjoint under `near_key`, each shuffled."""
    seen: set[str] = set()
    out: dict[str, list[Task]] = {}
    for split in (s for s in SPLITS if s in sources):
        tasks: list[Task] = []
        for number, source in enumerate(sources[split]):
            tasks += _take(source, f"tasks.{split}[{number}]", seed, split, seen)
        random.Random(f"{seed}/{split}").shuffle(tasks)
        out[split] = tasks
    return out


def _take(source: SourceSpec, where: str, seed: int, split: str, seen: set[str]) -> list[Task]:
    taken: list[Task] = []
    duplicates = 0
    for task in _stream(source, where, seed, split):
        if len(taken) == source.count:
            return taken
        key = near_key(task.prompt)
        if key in seen:
            duplicates += 1
            if duplicates > MAX_DUPLICATES:
                break
            continue
        duplicates = 0
        seen.add(key)
        taken.append(replace(task, split=split))
    if len(taken) < source.count:
        raise UsageError(
            f"{where}.count: {source.source} has only {len(taken)} tasks that no other split holds, "
            f"{source.count} were asked for; lower `count` or widen `config`"
        )
    return taken


def _stream(source: SourceSpec, where: str, seed: int, split: str) -> Iterator[Task]:
    kind, _, rest = source.source.partition(":")
    if kind == "reasoning_gym" and rest:
        from rl2f_hub.tasks.reasoning_gym import reasoning_gym_tasks

        return reasoning_gym_tasks(rest, source.config, seed, split, source.verifier or kind, source.answer_range)
    if kind == "jsonl" and rest:
        from rl2f_hub.tasks.jsonl import jsonl_tasks

        return jsonl_tasks(rest, where, seed, split, source.verifier or "text", source.on_bad_row)
    raise UsageError(f"{where}.source: {source.source!r} is unknown; use 'reasoning_gym:<data set>' or 'jsonl:<path>'")
