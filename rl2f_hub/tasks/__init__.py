"""Task sources: one file a source, each a stream of `Task`. `load_tasks` mixes them into disjoint splits.

A recipe names a source by its prefix (`SOURCES`) or by a preset (`presets.py`). Splits never share a task: prompts
that agree after their numbers are sorted (so 12 * 34 and 34 * 12) count as one, and the held-out splits choose first.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.kinds import SOURCES, find_part
from rl2f_hub.records import Task

if TYPE_CHECKING:
    from rl2f_hub.recipe import Recipe
    from rl2f_hub.recipe.task_sections import SourceSpec

log = logging.getLogger(__name__)

SPLITS = ("ood", "eval", "train", "pretrain")  # in the order in which they choose
MAX_DUPLICATES = 5_000  # this many known tasks in a row: the source has no more to give


@dataclass(slots=True)
class Request:
    """What a source module is asked for, and where it notes what happened (`report`: bad_rows, revision, ...).

    `name` is the source without its prefix, `at` the place in the recipe that errors name.
    """

    spec: SourceSpec
    name: str
    at: str
    seed: int
    split: str
    report: dict[str, Any] = field(default_factory=dict)


def near_key(prompt: str) -> str:
    """Equal for prompts that differ only in white space, case or the order of their numbers."""
    numbers = sorted(re.findall(r"\d+", prompt), key=lambda n: (len(n), n))
    skeleton = re.sub(r"\d+", "0", " ".join(prompt.split()).casefold())
    return skeleton + "|" + ",".join(numbers)


def recipe_tasks(recipe: Recipe, reports: list[dict[str, Any]] | None = None) -> dict[str, list[Task]]:
    """All splits of a recipe; `reports` and errors: as in `load_tasks`."""
    return load_tasks(recipe_sources(recipe), recipe.seed, reports)


def recipe_sources(recipe: Recipe) -> dict[str, list[SourceSpec]]:
    """Split -> its sources, each with the recipe's rule for bad rows where it has none of its own.

    `pretrain` is what a student from scratch learns the language of tasks from.
    """
    sources = {split: getattr(recipe.tasks, split) for split in SPLITS[:3]}
    sources["pretrain"] = recipe.model.scratch.tasks if recipe.model.scratch else []
    rule = recipe.tasks.on_bad_row
    return {k: [s.model_copy(update={"on_bad_row": s.on_bad_row or rule}) for s in v] for k, v in sources.items()}


def load_tasks(
    sources: Mapping[str, Sequence[SourceSpec]], seed: int, reports: list[dict[str, Any]] | None = None
) -> dict[str, list[Task]]:
    """The splits of a task mix, deterministic by seed, disjoint under `near_key`, each shuffled.

    Args:
        sources: split -> its sources, as the section `tasks` of a recipe lists them.
        reports: filled with one entry a source: what was taken, duplicates, bad rows, the revision of a remote one.
    Raises:
        UsageError: a source that is unknown, cannot be read or has too few tasks.
    """
    seen: set[str] = set()
    ids: set[str] = set()
    out: dict[str, list[Task]] = {}
    for split in (s for s in SPLITS if s in sources):
        tasks: list[Task] = []
        for number, source in enumerate(sources[split]):
            request = request_for(source, f"tasks.{split}[{number}]", seed, split)
            tasks += _with_own_ids(_take(request, seen), ids, request)
            if request.report.get("bad_rows"):
                log.warning("%s: %d bad rows skipped", source.source, request.report["bad_rows"])
            if reports is not None:
                reports.append({"split": split, "source": source.source, **request.report})
        random.Random(f"{seed}/{split}").shuffle(tasks)
        out[split] = tasks
    return out


def _with_own_ids(tasks: list[Task], ids: set[str], request: Request) -> list[Task]:
    """The tasks of one source, those renamed (and counted) whose id is that of a task of another source.

    Two files of one name, or two that number their rows from 1, give the same ids to different tasks.

    Raises:
        UsageError: a source that gives one id to two tasks.
    """
    own = [task.task_id for task in tasks]
    if len(set(own)) < len(own):
        twice = next(name for i, name in enumerate(own) if name in own[:i])
        raise UsageError(
            f"{request.at}.source: {request.spec.source} gives two tasks the id {twice!r}; give each its own"
        )
    out = []
    for task in tasks:
        while task.task_id in ids:
            request.report["renamed_ids"] = request.report.get("renamed_ids", 0) + 1
            task = replace(task, task_id=f"{task.task_id}@{request.at.removeprefix('tasks.')}")
        out.append(task)
    ids.update(task.task_id for task in out)
    return out


def request_for(source: SourceSpec, at: str = "tasks", seed: int = 0, split: str = "train") -> Request:
    """The request behind a source, presets resolved.

    Raises:
        UsageError: unknown prefix or preset.
    """
    from rl2f_hub.tasks.presets import PRESETS, expand

    if ":" not in source.source:
        source = expand(source, at)
    prefix, _, name = source.source.partition(":")
    if prefix not in SOURCES or not name:
        known = [f"{p}:..." for p in SOURCES] + list(PRESETS)
        hint = did_you_mean(prefix, [*SOURCES, *PRESETS]) or f"; known: {', '.join(known)}"
        raise UsageError(f"{at}.source: {source.source!r} is unknown{hint}")
    return Request(source, name, at, seed, split)


def stream(request: Request) -> Iterator[Task]:
    """The tasks of one source in its own order, without any check for duplicates."""
    found = find_part(SOURCES, request.spec.source.partition(":")[0], f"{request.at}.source")(request)
    marks = request.spec.thinking_marks
    return found if marks is None else map(partial(_with_marks, marks), found)


def _with_marks(marks: list[tuple[str, str]], task: Task) -> Task:
    """The task whose verifier knows more thinking marks."""
    return replace(task, config=json.dumps(task.settings | {"thinking_marks": marks}, sort_keys=True))


def _take(request: Request, seen: set[str]) -> list[Task]:
    taken: list[Task] = []
    repeats = in_a_row = 0
    wanted = request.spec.count
    for task in stream(request):
        key = near_key(task.prompt)
        if key in seen:
            repeats, in_a_row = repeats + 1, in_a_row + 1
            if in_a_row > MAX_DUPLICATES:
                break
            continue
        in_a_row = 0
        seen.add(key)
        taken.append(replace(task, split=request.split))
        if len(taken) == wanted:
            break
    request.report |= {"taken": len(taken), "duplicates": repeats}
    bad = f" ({request.report['bad_rows']} bad rows skipped)" if request.report.get("bad_rows") else ""
    if not taken and not repeats:
        raise UsageError(f"{request.at}.source: {request.spec.source} has no tasks{bad}; check it, `split` and `where`")
    if len(taken) < wanted:
        raise UsageError(
            f"{request.at}.count: {request.spec.source} has only {len(taken)} tasks that no other split holds{bad}, "
            f"{wanted} were asked for; lower `count` or widen `config`"
        )
    return taken
