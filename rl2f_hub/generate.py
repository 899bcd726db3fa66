"""Stage `generate`: the student attempts the training tasks with the teacher, and every dialogue is recorded.

Dialogues are written shard by shard; a shard on disk is whole, and each dialogue's randomness depends on its task
and sample number alone, so an interrupted stage goes on where it was and ends with the same rows. Ctrl-C throws the
shard in flight away: no dialogue of it is recorded, not even as cancelled. One shard is in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.context_window import Rules
from rl2f_hub.dialogue.runner import Student, run_dialogues
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.engines import Sampling, derive_seed
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Task
from rl2f_hub.runs import Run, read_rows, write_json, write_rows
from rl2f_hub.runtime import processes
from rl2f_hub.runtime.progress import Advance, bar
from rl2f_hub.teachers import Teacher, build_teacher, teacher_record
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.judging import build_guard
from rl2f_hub.training.checks import check_solved

DID = ("counts", "paid", "prompt_tokens", "completion_tokens", "cost")  # what adds up in a teacher's record


def generate(run: Run, student: Student) -> dict[str, Any]:
    """Runs the stage; returns counts: dialogues, solved, turns, stop reasons, what the guard did.

    Raises:
        UsageError: a student behind an endpoint, of whom there are no ids to train on.
    """
    if student.engine.is_remote:
        raise UsageError(
            f"student: {student.name!r} is an endpoint, which gives no ids: it can be evaluated (rl2f eval); generation "
            "and training take a model that is loaded here"
        )
    recipe = run.recipe
    tasks = run.tasks("train")
    samples, size = recipe.generate.samples_per_task, recipe.generate.shard
    total = len(tasks) * samples
    sampling = Sampling(recipe.generate.temperature, recipe.generate.top_p, recipe.dialogue.turn_tokens)
    shards = [range(start, min(start + size, total)) for start in range(0, total, size)]
    teacher = build_teacher(recipe.teacher, student, run.dir / "generate")
    guard = build_guard(run.recipe.teacher, student, run.dir / "generate")
    done = sum(len(shard) for n, shard in enumerate(shards) if _shard(run, n).is_file())
    timings = Timings()
    with bar("generate", total, "dialogues", start=done) as advance:
        for number, shard in enumerate(shards):
            if not _shard(run, number).is_file():
                jobs = [(tasks[i // samples], i % samples) for i in shard]
                _generate_shard(run, number, jobs, student, teacher, guard.emptied(), sampling, timings, advance)
    counts: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    spoken: dict[str, Any] = {}
    for number in range(len(shards)):
        for row in read_rows(_shard(run, number)):
            counts["dialogues"] += 1
            counts["turns"] += len(row["turns"])
            counts["solved"] += row["solved_at"] > 0
            counts[f"stop_{row['stop_reason']}"] += 1
            counts["cut_turns"] += sum(bool(t.get("cut")) for t in row["turns"])
            counts["leaked_turns"] += sum(t["leaked"] for t in row["turns"])
            counts["feedback_turns"] += sum(t["feedback"] is not None for t in row["turns"])
            counts["feedback_tokens"] += sum(t["feedback_tokens"] or 0 for t in row["turns"])
            counts["teacher_tokens"] += row["teacher_tokens"]
        counted.update(_read_json(_shard(run, number).with_suffix(".guard.json")))
        spoken = merged_records(spoken, _read_json(_shard(run, number).with_suffix(".teacher.json")))
    check_solved(counts["solved"], counts["dialogues"])
    return {
        "counts": dict(sorted(counts.items())),
        "guard": dict(sorted(counted.items())),
        "teacher": spoken,
        "shards": len(shards),
    }


def each_row(run: Run, shards: int) -> Iterator[dict[str, Any]]:
    """The dialogue rows of the first `shards` shards, in order, one shard in memory at a time."""
    for number in range(shards):
        yield from read_rows(_shard(run, number))


def _generate_shard(
    run: Run,
    number: int,
    jobs: list[tuple[Task, int]],
    student: Student,
    teacher: Teacher,
    guard: Guard,
    sampling: Sampling,
    timings: Timings,
    advance: Advance,
) -> None:
    recipe = run.recipe
    before = teacher_record(teacher)
    mine = processes.share(jobs)
    rollouts = run_dialogues(
        [task for task, _ in mine],
        student,
        teacher,
        guard=guard,
        max_turns=recipe.dialogue.max_turns,
        sampling=sampling,
        seed=recipe.seed,
        seeds=[derive_seed("generate", recipe.seed, task.task_id, k) for task, k in mine],
        on_wave=lambda n: advance(n * processes.world(), note=timings.note()),
        rules=Rules(recipe.dialogue.history, recipe.dialogue.on_cut),
        timings=timings,
        overlap=recipe.engine.overlap,
    )
    rows = []
    for rollout, (task, k) in zip(rollouts, mine, strict=True):
        dialogue = rollout.dialogue(student.name, teacher.name, sampling)
        rows.append(replace(dialogue, dialogue_id=f"{task.task_id}/{k}").to_row())
    made = processes.gathered([(rows, dict(guard.counts), _since(before, teacher_record(teacher)))])
    if processes.is_main():
        counted: Counter[str] = Counter()
        spoken: dict[str, Any] = {}
        for _, counts, said in made:
            counted.update(counts)
            spoken = merged_records(spoken, said)
        write_json(_shard(run, number).with_suffix(".guard.json"), dict(counted))
        write_json(_shard(run, number).with_suffix(".teacher.json"), spoken)
        # last: its presence says that the shard is whole
        write_rows(_shard(run, number), [row for part, _, _ in made for row in part])
    processes.wait()


def _shard(run: Run, number: int) -> Path:
    return run.path("generate", f"dialogues-{number:05d}.jsonl")


def merged_records(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The records of a teacher over two stretches of work: what it did is added up, the rest is as the later one says."""
    prompts = {**one.get("prompts", {}), **other.get("prompts", {})}
    return _combined(one, other, +1) | ({"prompts": prompts} if prompts else {})


def _since(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What a teacher did after `before` was recorded: a resumed stage adds up what each of its runs did."""
    return _combined(before, after, -1)


def _combined(one: dict[str, Any], other: dict[str, Any], sign: int) -> dict[str, Any]:
    def added(a: Any, b: Any) -> Any:
        if isinstance(a, dict) or isinstance(b, dict):
            a, b = a or {}, b or {}
            return {name: b.get(name, 0) + sign * a.get(name, 0) for name in sorted({*a, *b})}
        return (b or 0) + sign * (a or 0)

    did = {name: added(one.get(name), other.get(name)) for name in DID if name in other}
    return {**one, **other, **did}


def _read_json(path: Path) -> dict[str, Any]:
    import json

    return json.loads(path.read_text(encoding="utf-8"))
