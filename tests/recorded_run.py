"""A run whose dialogues are given instead of generated: what the stages `publish` and `push` start from. Helpers only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl2f_hub.recipe import Recipe
from rl2f_hub.records import Dialogue, Feedback, Privilege, StopReason, Task, Turn, Verdict
from rl2f_hub.runs import Run, write_rows


def recipe(**hub: Any) -> Recipe:
    source = {"source": "reasoning_gym:chain_sum", "count": 1}
    return Recipe.model_validate(
        {
            "name": "recorded",
            "seed": hub.pop("seed", 7),
            "hub": {"dataset": "didactic", "adapter": "adapter", "base": "base", **hub},
            "model": {"scratch": {"tasks": [source]}},
            "tasks": {"train": [source], "eval": [source]},
            "dialogue": {"max_turns": 3},
        }
    )


def task(number: int, split: str = "train") -> Task:
    return Task(
        f"{split}-{number}",
        "reasoning_gym:chain_sum",
        "arithmetic",
        f"What is {number} + {number}?",
        Privilege("answer", str(2 * number)),
        "integer",
        split=split,
    )


def dialogue(number: int, words: str = "Too low.", wrong: int = 1, student: str = "me/base@" + "a" * 40) -> Dialogue:
    """`wrong` wrong attempts, answered by `words`, then the right one."""
    mistakes = [Turn(str(k), Verdict(False, 0.0, str(k), "other"), Feedback(words, "value")) for k in range(wrong)]
    right = Turn(str(2 * number), Verdict(True, 1.0, str(2 * number), "equal"))
    return Dialogue(
        f"train-{number}/0",
        f"train-{number}",
        f"What is {number} + {number}?",
        (*mistakes, right),
        StopReason.SOLVED,
        student,
        "scripted",
        "answer",
        {"temperature": 1.0},
    )


def recorded(folder: Path, dialogues: Sequence[Dialogue], shard: int = 1_000, **hub: Any) -> Run:
    """A run in `folder` with its stage `generate` done: one task a dialogue, two of each other split."""
    run = Run.open(recipe(**hub), folder)
    numbers = [int(d.task_id.split("-")[1]) for d in dialogues]
    splits = {"train": [task(n) for n in numbers], "eval": [task(n, "eval") for n in (1, 2)]}
    for split in ("train", "eval", "ood"):
        write_rows(run.path("tasks", f"{split}.jsonl"), [t.to_row() for t in splits.get(split, [])])
    rows = [d.to_row() for d in dialogues]
    shards = [rows[i : i + shard] for i in range(0, len(rows), shard)]
    for number, part in enumerate(shards):
        write_rows(run.path("generate", f"dialogues-{number:05d}.jsonl"), part)
    counts: Counter[str] = Counter(dialogues=len(rows), turns=sum(len(r["turns"]) for r in rows))
    outputs = {"counts": dict(counts), "guard": {"passed": counts["turns"]}, "teacher": {}, "shards": len(shards)}
    run.manifest["tasks"] = [{"split": s, "source": "reasoning_gym:chain_sum", "taken": 1} for s in ("train", "eval")]
    for stage, done in (("base", {"repo_id": "me/base", "revision": "a" * 40}), ("generate", outputs)):
        run.manifest["stages"][stage] = {"status": "done", "wall_s": 1.5, "outputs": done, "peak_rss_mib": 100}
    run.save()
    return run
