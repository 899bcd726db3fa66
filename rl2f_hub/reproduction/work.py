"""Does the parts of a plan, one after the other, in one process: each is a `Run` with the pipeline's own stages.

Resumable at every level: a part that is whole is skipped, a stage goes on from its checkpoint, a suite that has its
file of dialogues is not played again. A variant takes tasks, base, dialogues and warm-up over from the part `main`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.reproduction.plan import UP_TO_WARMUP, Part, Plan, examined, mains
from rl2f_hub.runs import Run, write_json

PLAN = "plan.json"


def prepare(plan: Plan, out: Path, overwrite: bool) -> None:
    """Takes the folder for this plan.

    Raises:
        UsageError: it holds another reproduction, or something else that `overwrite` would delete.
    """
    file = out / PLAN
    if file.is_file() and overwrite:
        shutil.rmtree(out)
    elif file.is_file() and json.loads(file.read_text(encoding="utf-8")) != plan.record():
        raise UsageError(
            f"--out: {out} holds a reproduction with other settings; add --overwrite or choose another --out"
        )
    elif not file.is_file() and out.is_dir() and any(out.iterdir()):
        raise UsageError(f"--out: {out} is not empty and holds no reproduction; choose another --out")
    write_json(file, plan.record())


def do(plan: Plan, out: Path, say: Callable[[str], None]) -> dict[str, Run]:
    """Does what is left of every part; returns the finished runs by the part's name."""
    from rl2f_hub.pipeline import open_hub

    runs: dict[str, Run] = {}
    first = mains(plan.parts)
    with open_hub(plan.parts[0].recipe, out):  # one server for all parts: their own opening joins it
        for number, part in enumerate(plan.parts, 1):
            main = first[part.seed, part.size]
            run = _open(part, out, runs.get(main.name))
            runs[part.name] = run
            if not run.manifest.get("whole"):
                say(f"part {number} of {len(plan.parts)}: {part.name}")
                _do(part, run, main.recipe.teacher)
    return runs


def _open(part: Part, out: Path, main: Run | None) -> Run:
    run = Run.open(part.recipe, out / part.name, resume=True)
    if main is not None and not run.done("warmup"):
        for name in ("tasks", "warmup"):
            shutil.copytree(main.dir / name, run.dir / name, dirs_exist_ok=True)
        for stage in UP_TO_WARMUP:
            run.manifest["stages"][stage] = main.manifest["stages"][stage] | {"taken_from": main.dir.name}
        run.save()
    return run


def _do(part: Part, run: Run, teacher: Any) -> None:
    from rl2f_hub.pipeline import run_controls, run_stages

    run_stages(run, part.stages)
    before, started = run.manifest.get("examined_s", 0.0), time.monotonic()
    try:
        for play in part.plays:
            run_controls(Run(examined(part, play, teacher), run.dir, run.manifest), play.suites, play.students)
        run.manifest["whole"] = True
    finally:
        run.manifest["examined_s"] = round(before + time.monotonic() - started, 2)
        run.save()


def seconds(runs: dict[str, Run]) -> float:
    """Wall time of all stages and examinations; what was taken over from another part counts once."""
    total = 0.0
    for run in runs.values():
        stages = [s for s in run.manifest["stages"].values() if "taken_from" not in s]
        total += sum(s["wall_s"] for s in stages) + run.manifest.get("examined_s", 0.0)
    return round(total, 1)
