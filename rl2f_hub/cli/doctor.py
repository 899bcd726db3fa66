"""`rl2f doctor [RECIPE]`: one line a check, then the memory of every stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rl2f_hub.cli.shared import JsonOpt, LocalOpt, OutOpt, SetOpt

MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


app = typer.Typer()


@app.command()
def doctor(
    recipe: Annotated[Optional[str], typer.Argument(help="A recipe file, or the name of a shipped one.")] = None,
    out: OutOpt = None,
    overrides: SetOpt = None,
    gpu_gib: Annotated[
        Optional[float], typer.Option(help="Judge for a GPU of this much memory instead of this machine.", min=1)
    ] = None,
    model_config: Annotated[
        Optional[Path], typer.Option(help="The model's config.json, where the Hub is out of reach or the model gated.")
    ] = None,
    prompt_tokens: Annotated[
        Optional[int], typer.Option(help="Tokens of the longest task with its template.", show_default="256", min=1)
    ] = None,
    feedback_tokens: Annotated[
        Optional[int], typer.Option(help="Tokens of one feedback.", show_default="64; a model's: its max_tokens", min=1)
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes that share the work (accelerate).", min=1)] = 1,
    local_code: LocalOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Say before a long run whether it can work, and what it takes.

    It looks at libraries, device, Hub, disk, tasks, template and memory.

    Exit code 1 if a run would fail. Memory is estimated from the model's configuration; no weights are loaded.
    """
    from rl2f_hub.doctor import Asked, examine
    from rl2f_hub.recipe import load_recipe
    from rl2f_hub.runtime import permits

    permits.allow(local_code=local_code)
    loaded = load_recipe(recipe, overrides or []) if recipe else None
    folder = out or (Path("runs") / loaded.name if loaded else Path("runs"))
    report = examine(loaded, Asked(folder, gpu_gib, model_config, prompt_tokens, feedback_tokens, processes))
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=1))
    else:
        for check in report.checks:
            typer.echo(
                f"{MARKS[check.status]}  {check.name:<13} {check.found}" + (f"; {check.fix}" if check.fix else "")
            )
        _memory(report.memory)
    raise typer.Exit(0 if report.ok else 1)


def _memory(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    parts = [key for key in dict.fromkeys(k for row in rows for k in row) if key.endswith("_mib")]
    titles = [p.removesuffix("_mib").replace("_", " ") for p in parts]
    typer.echo("\nEstimated peak of every stage, MiB; each dialogue at its full length\n")
    typer.echo(f"{'stage':<16} " + " ".join(f"{t:>{max(7, len(t))}}" for t in titles))
    for row in rows:
        cells = [f"{row.get(p, 0) or '':>{max(7, len(t))}}" for p, t in zip(parts, titles, strict=True)]
        typer.echo(f"{row['stage']:<16} " + " ".join(cells))
