"""Stage `generate`: the student attempts the training tasks with the teacher, and every dialogue is recorded.

Dialogues are written shard by shard; a shard on disk is whole, and each dialogue's randomness depends on its task
and sample number alone, so an interrupted stage goes on where it was and ends with the same rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue import Student, run_dialogues
from rl2f_hub.engines import Sampling, derive_seed
from rl2f_hub.progress import bar
from rl2f_hub.records import Task
from rl2f_hub.runs import Run, read_rows, write_json, write_rows
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard


def generate(run: Run, student: Student) -> dict[str, Any]:
    """Runs the stage; returns counts: dialogues, solved, turns, stop reasons, what the guard did."""
    recipe = run.recipe
    tasks = run.tasks("train")
    jobs = [(task, k) for task in tasks for k in range(recipe.generate.samples_per_task)]
    sampling = Sampling(recipe.generate.temperature, recipe.generate.top_p, recipe.dialogue.turn_tokens)
    shards = [jobs[i : i + recipe.generate.shard] for i in range(0, len(jobs), recipe.generate.shard)]
    done = sum(len(shard) for n, shard in enumerate(shards) if _shard(run, n).is_file())
    with bar("generate", len(jobs), "dialogues", start=done) as advance:
        for number, shard in enumerate(shards):
            if not _shard(run, number).is_file():
                _generate_shard(run, number, shard, student, sampling)
                advance(len(shard))
    counts: Counter[str] = Counter()
    guard: Counter[str] = Counter()
    for number in range(len(shards)):
        for row in read_rows(_shard(run, number)):
            counts["dialogues"] += 1
            counts["turns"] += len(row["turns"])
            counts["solved"] += row["solved_at"] > 0
            counts[f"stop_{row['stop_reason']}"] += 1
            counts["leaked_turns"] += sum(t["leaked"] for t in row["turns"])
            counts["feedback_turns"] += sum(t["feedback"] is not None for t in row["turns"])
        guard.update(_read_json(_shard(run, number).with_suffix(".guard.json")))
    return {"counts": dict(sorted(counts.items())), "guard": dict(sorted(guard.items())), "shards": len(shards)}


def generated_rows(run: Run) -> list[dict[str, Any]]:
    """All dialogue rows of a finished stage, in order."""
    shards = run.outputs("generate")["shards"]
    return [row for number in range(shards) for row in read_rows(_shard(run, number))]


def _generate_shard(run: Run, number: int, jobs: list[tuple[Task, int]], student: Student, sampling: Sampling) -> None:
    recipe = run.recipe
    teacher = build_teacher(recipe.teacher.kind)
    guard = Guard(max_retries=recipe.teacher.guard.max_retries)
    rollouts = run_dialogues(
        [task for task, _ in jobs],
        student,
        teacher,
        guard=guard,
        max_turns=recipe.dialogue.max_turns,
        sampling=sampling,
        seed=recipe.seed,
        seeds=[derive_seed("generate", recipe.seed, task.task_id, k) for task, k in jobs],
    )
    rows = []
    for rollout, (task, k) in zip(rollouts, jobs, strict=True):
        dialogue = rollout.dialogue(student.name, teacher.name, sampling)
        rows.append(replace(dialogue, dialogue_id=f"{task.task_id}/{k}").to_row())
    write_json(_shard(run, number).with_suffix(".guard.json"), dict(guard.counts))
    write_rows(_shard(run, number), rows)  # last: its presence says that the shard is whole


def _shard(run: Run, number: int) -> Path:
    return run.path("generate", f"dialogues-{number:05d}.jsonl")


def _read_json(path: Path) -> dict[str, int]:
    import json

    return json.loads(path.read_text())
