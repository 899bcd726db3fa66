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
from rl2f_hub.teachers import Teacher, build_teacher, teacher_record
from rl2f_hub.teachers.guard import Guard


def generate(run: Run, student: Student) -> dict[str, Any]:
    """Runs the stage; returns counts: dialogues, solved, turns, stop reasons, what the guard did."""
    recipe = run.recipe
    tasks = run.tasks("train")
    jobs = [(task, k) for task in tasks for k in range(recipe.generate.samples_per_task)]
    sampling = Sampling(recipe.generate.temperature, recipe.generate.top_p, recipe.dialogue.turn_tokens)
    shards = [jobs[i : i + recipe.generate.shard] for i in range(0, len(jobs), recipe.generate.shard)]
    teacher = build_teacher(recipe.teacher, student, run.dir / "generate")
    done = sum(len(shard) for n, shard in enumerate(shards) if _shard(run, n).is_file())
    with bar("generate", len(jobs), "dialogues", start=done) as advance:
        for number, shard in enumerate(shards):
            if not _shard(run, number).is_file():
                _generate_shard(run, number, shard, student, teacher, sampling)
                advance(len(shard))
    counts: Counter[str] = Counter()
    guard: Counter[str] = Counter()
    spoken: dict[str, Any] = {}
    for number in range(len(shards)):
        for row in read_rows(_shard(run, number)):
            counts["dialogues"] += 1
            counts["turns"] += len(row["turns"])
            counts["solved"] += row["solved_at"] > 0
            counts[f"stop_{row['stop_reason']}"] += 1
            counts["leaked_turns"] += sum(t["leaked"] for t in row["turns"])
            counts["feedback_turns"] += sum(t["feedback"] is not None for t in row["turns"])
            counts["feedback_tokens"] += sum(t["feedback_tokens"] or 0 for t in row["turns"])
            counts["teacher_tokens"] += row["teacher_tokens"]
        guard.update(_read_json(_shard(run, number).with_suffix(".guard.json")))
        spoken = merged_records(spoken, _read_json(_shard(run, number).with_suffix(".teacher.json")))
    return {
        "counts": dict(sorted(counts.items())),
        "guard": dict(sorted(guard.items())),
        "teacher": spoken,
        "shards": len(shards),
    }


def generated_rows(run: Run) -> list[dict[str, Any]]:
    """All dialogue rows of a finished stage, in order."""
    shards = run.outputs("generate")["shards"]
    return [row for number in range(shards) for row in read_rows(_shard(run, number))]


def _generate_shard(
    run: Run, number: int, jobs: list[tuple[Task, int]], student: Student, teacher: Teacher, sampling: Sampling
) -> None:
    recipe = run.recipe
    before = teacher_record(teacher)
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
    write_json(_shard(run, number).with_suffix(".teacher.json"), _since(before, teacher_record(teacher)))
    write_rows(_shard(run, number), rows)  # last: its presence says that the shard is whole


def _shard(run: Run, number: int) -> Path:
    return run.path("generate", f"dialogues-{number:05d}.jsonl")


def merged_records(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The records of a teacher over two stretches of work: counts and amounts added, the rest as the later one has it."""
    return _combined(one, other, +1) if one else other


def _since(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What of a teacher's record was added since `before`: a resumed stage adds up what each of its runs did."""
    return _combined(before, after, -1)


def _combined(one: dict[str, Any], other: dict[str, Any], sign: int) -> dict[str, Any]:
    out: dict[str, Any] = {**one, **other} if sign > 0 else dict(other)
    for name, value in out.items():
        if isinstance(value, dict):
            out[name] = _combined(one.get(name, {}), other.get(name, {}), sign)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            out[name] = other.get(name, 0) + sign * one.get(name, 0)
    return out


def _read_json(path: Path) -> dict[str, Any]:
    import json

    return json.loads(path.read_text())
