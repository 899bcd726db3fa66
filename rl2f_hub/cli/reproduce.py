"""`rl2f reproduce`: the whole reproduction as one command. Nothing heavy is imported before it runs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Optional, cast

import typer

from rl2f_hub.cli.shared import JsonOpt
from rl2f_hub.errors import UsageError

app = typer.Typer()


@app.command()
def reproduce(
    students: Annotated[
        str, typer.Option(help="scratch (three sizes, all claims) or smollm2 (claims 1, 2, 7, 8 in short form).")
    ] = "scratch",
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, fewer steps and tasks; the results say so.")
    ] = False,
    seeds: Annotated[
        Optional[str], typer.Option(help="Comma-separated [default: 1,2,3; with --quick or smollm2: 1].")
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option(help="Folder [default: runs/reproduction, with -quick or -smollm2 behind it].")
    ] = None,
    jobs: Annotated[
        Optional[int], typer.Option(min=1, help="Parts at a time, a process each [default: cores].")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away the reproduction in that folder.")] = False,
    record: Annotated[
        Optional[Path], typer.Option(help="Also put results, page and figures here, as recipes/reproduction.")
    ] = None,
    note: Annotated[
        Optional[str], typer.Option(help="A sentence on the circumstances, for results and page: a busy machine, ...")
    ] = None,
    overrides: Annotated[
        Optional[list[str]],
        typer.Option("--set", help="Override a key of all recipes; the results say so. Repeatable."),
    ] = None,
    show_plan: Annotated[bool, typer.Option("--plan", help="Only list the parts.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Repeat the paper's claims in small, on a CPU.

    It writes results.json, README.md and figures. The same command goes on after an interruption.
    """
    from rl2f_hub.reproduction.page import verdict
    from rl2f_hub.reproduction.plan import Family, make_plan

    if students not in ("scratch", "smollm2"):
        raise UsageError(f"--students: {students!r} is unknown; choose scratch or smollm2")
    name = "reproduction" + ("" if students == "scratch" else f"-{students}") + ("-quick" if quick else "")
    folder = out or Path("runs") / name
    plan = make_plan(folder, cast(Family, students), quick=quick, seeds=_seeds(seeds), overrides=overrides or [])
    if show_plan:
        for part in plan.parts:
            typer.echo(f"{part.name:<28} {' '.join(part.stages)}")
        return
    results = _run(plan, folder, jobs or _jobs(plan), overwrite, note)
    if record is not None:
        _record(folder, record, students)
    if as_json:
        typer.echo(json.dumps(results, indent=1))
        return
    for number, claim in results["claims"].items():
        typer.echo(f"claim {number}: {verdict(claim)}: {claim['statement']}")
    typer.echo(f"out: {folder}")


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds: {text!r} is not a list of whole numbers; write 1,2,3") from None


def _jobs(plan: Any) -> int:
    """A process for each core of the machine, as far as the recipe leaves cores and the plan has parts."""
    cores = (os.cpu_count() or 1) // (plan.parts[0].recipe.threads or os.cpu_count() or 1)
    return max(1, min(cores, len(plan.parts)))


def _run(plan: Any, folder: Path, jobs: int, overwrite: bool, note: str | None) -> dict[str, Any]:
    from rl2f_hub.reproduction.book import Book
    from rl2f_hub.reproduction.claims import judge
    from rl2f_hub.reproduction.page import RESULTS, SCHEMA, write_page
    from rl2f_hub.reproduction.work import do, prepare, wall_seconds, work_seconds
    from rl2f_hub.runs import write_json

    prepare(plan, folder, overwrite)
    runs = do(plan, folder, jobs, lambda text: print(text, file=sys.stderr, flush=True))
    first = next(iter(runs.values())).manifest
    commits = {run.manifest["commit"] for run in runs.values()}
    results = {
        "schema": SCHEMA,
        "claims": judge(Book(plan, runs)),
        "hardware": first["hardware"],
        "versions": first["versions"],
        "commit": ", ".join(sorted(filter(None, commits))) or None,
        "work_s": work_seconds(runs),
        "wall_s": wall_seconds(folder),
        "note": note,
        "plan": plan.record(),
    }
    write_json(folder / RESULTS[plan.family], results)
    write_page(folder)
    return results


def _record(folder: Path, record: Path, students: str) -> None:
    from rl2f_hub.reproduction.page import RESULTS, write_page

    record.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / RESULTS[students], record / RESULTS[students])
    write_page(record)
