"""Does the parts of a plan: each is a `Run` with the pipeline's own stages.

A chain is the parts of one seed and size, with a Hub of its own. A variant takes tasks, base, dialogues and warm-up over
from the part `main` of its chain; beyond that parts need nothing of each other, so several processes do one each.

Resumable at every level: a part that is whole is skipped, a stage goes on from its checkpoint, a suite that has its
file of dialogues is not played again.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.reproduction.plan import UP_TO_WARMUP, Part, Plan, examined
from rl2f_hub.runs import Run, write_json
from rl2f_hub.runtime import processes

PLAN, WALL = "plan.json", "wall_s.json"


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


def do(plan: Plan, out: Path, jobs: int, say: Callable[[str], None]) -> dict[str, Run]:
    """Does what is left of every part, `jobs` of them at a time; returns the finished runs by the part's name.

    Raises:
        RL2FError: the process of a part failed; the others are stopped, and what they did is kept.
    """
    mains = {part.chain: part for part in plan.parts if part.variant == "main"}
    left = [part for part in plan.parts if not _whole(part, out)]
    before, started = wall_seconds(out), time.monotonic()
    try:
        if len(mains) == 1 and jobs == 1:
            for part in left:
                say(f"part {part.name}")
                do_part(part, mains[part.chain], out)
        else:
            _side_by_side(left, mains, out, jobs, say)
    finally:
        write_json(out / WALL, round(before + time.monotonic() - started, 1))
    return {part.name: Run.open(part.recipe, out / part.name, resume=True) for part in plan.parts}


def do_part(part: Part, main: Part, out: Path) -> None:
    """One part; `main` is the part of its chain that a variant takes over from."""
    from rl2f_hub.hub.connect import open_hub

    with open_hub(main.recipe, out):  # one server for all stages: their own opening joins it
        taken = None if part.variant == "main" else Run.open(main.recipe, out / main.name, resume=True)
        _do(part, _open(part, out, taken), main.recipe.teacher)


def _side_by_side(
    parts: Sequence[Part], mains: dict[str, Part], out: Path, jobs: int, say: Callable[[str], None]
) -> None:
    """A fresh process for each part, since a process speaks to one Hub only, and `jobs` of them at a time.

    A seed's parts `main` come first: the variants wait for one of them, and a long part at the end would leave a core idle.
    One at a time, they share this terminal; else what a process says goes to a file beside the part's folder.
    """
    context = multiprocessing.get_context("spawn")
    waiting, running = sorted(parts, key=lambda part: (part.seed, part.variant != "main")), dict[str, Any]()

    def ready(part: Part) -> bool:
        return part.variant == "main" or _whole(mains[part.chain], out)

    try:
        while waiting or running:
            for part in [part for part in waiting if ready(part)][: jobs - len(running)]:
                waiting.remove(part)
                log = out / f"{part.name}.log" if jobs > 1 else None
                say(f"part {part.name}" + (f"; its progress is in {log}" if log else ""))
                process = context.Process(target=_alone, args=(part, mains[part.chain], out, log), name=part.name)
                running[part.name] = process
                process.start()
            multiprocessing.connection.wait([process.sentinel for process in running.values()])
            for name in [name for name, process in running.items() if process.exitcode is not None]:
                if running.pop(name).exitcode:
                    where = f"see {out / name}.log" if jobs > 1 else "for the reason above"
                    raise RL2FError(f"{name}: failed, {where}; the same command goes on from there")
                say(f"{name}: whole; {len(waiting) + len(running)} of {len(parts)} parts left")
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _alone(part: Part, main: Part, out: Path, log: Path | None) -> None:
    """A part in a process of its own, which does not outlive the first one."""
    processes.end_with_parent()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as text:
            os.dup2(text.fileno(), 1)
            os.dup2(text.fileno(), 2)
    try:
        do_part(part, main, out)
    except RL2FError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:  # the terminal sends it to all processes; the first one speaks
        sys.exit(130)


def _whole(part: Part, out: Path) -> bool:
    file = out / part.name / "manifest.json"
    return file.is_file() and bool(json.loads(file.read_text(encoding="utf-8")).get("whole"))


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


def wall_seconds(out: Path) -> float:
    """How long the command has run so far, all its starts together; a start that was killed (-9) does not count."""
    return float(json.loads((out / WALL).read_text(encoding="utf-8"))) if (out / WALL).is_file() else 0.0


def work_seconds(runs: dict[str, Run]) -> float:
    """The sum of the times of all stages and examinations; what was taken over from another part counts once."""
    total = 0.0
    for run in runs.values():
        stages = [s for s in run.manifest["stages"].values() if "taken_from" not in s]
        total += sum(s["wall_s"] for s in stages) + run.manifest.get("examined_s", 0.0)
    return round(total, 1)
