"""`rl2f run` and the stages that learn: `generate`, `warmup`, `train`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Optional

import typer

from rl2f_hub.cli.shared import (
    BadRowOpt,
    ForceOpt,
    JsonOpt,
    LocalOpt,
    OutOpt,
    RecipeArg,
    SetOpt,
    UnsafeOpt,
    open_run,
    print_result,
    with_bad_rows,
)
from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.runtime import permits, processes
from rl2f_hub.runtime.console import output_console

app = typer.Typer()


@app.command()
def run(
    recipe: RecipeArg,
    out: OutOpt = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in that folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away the run in that folder.")] = False,
    only: Annotated[Optional[str], typer.Option("--only", help="Stages to run, comma-separated.")] = None,
    start: Annotated[Optional[str], typer.Option("--from", help="Run this stage and all later ones again.")] = None,
    overrides: SetOpt = None,
    on_bad_row: BadRowOpt = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Run all stages of a recipe, from tasks to a pushed adapter.

    The stages: base, generate, publish, warmup, train, evaluate, push.
    """
    from rl2f_hub.pipeline import run_stages, write_summary
    from rl2f_hub.runs import STAGES

    chosen = tuple(s.strip() for s in only.split(",")) if only else STAGES
    for stage in (*chosen, *((start,) if start else ())):
        if stage not in STAGES:
            raise UsageError(f"stage: {stage!r} is unknown{did_you_mean(stage, STAGES)}")
    permits.allow(local_code=local_code, unsafe_code=unsafe)
    overrides = with_bad_rows(overrides, on_bad_row)
    opened = open_run(recipe, overrides, out, resume=resume or start is not None, overwrite=overwrite)
    if start:
        opened.forget_from(start)
    run_stages(opened, chosen)
    if not processes.is_main():
        return
    if all(opened.done(stage) for stage in STAGES):
        _show(write_summary(opened), opened, as_json)
    else:
        left = [stage for stage in STAGES if not opened.done(stage)]
        print_result({"done": [s for s in STAGES if s not in left], "left": left, "out": str(opened.dir)}, as_json)


def _stage_command(name: str, stage: str, text: str) -> None:
    def command(
        recipe: RecipeArg,
        out: OutOpt = None,
        force: ForceOpt = False,
        overrides: SetOpt = None,
        on_bad_row: BadRowOpt = None,
        local_code: LocalOpt = False,
        unsafe: UnsafeOpt = False,
        as_json: JsonOpt = False,
    ) -> None:
        from rl2f_hub.pipeline import run_stages

        permits.allow(local_code=local_code, unsafe_code=unsafe)
        overrides = with_bad_rows(overrides, on_bad_row)
        opened = open_run(recipe, overrides, out, resume=True)
        if force:
            opened.forget_from(stage)
        wanted = ("base", stage) if stage == "generate" else (stage,)
        run_stages(opened, wanted)
        if not processes.is_main():
            return
        print_result({"stage": stage, "out": str(opened.dir), **opened.outputs(stage)}, as_json)

    command.__doc__ = text
    app.command(name)(command)


_stage_command("generate", "generate", "Let the student attempt the training tasks with the teacher.")
_stage_command("warmup", "warmup", "SFT of the adapter on the published dialogues.")
_stage_command("train", "train", "RL over whole dialogues, and the baselines of the recipe.")


def _show(value: dict[str, Any], opened: Any, as_json: bool) -> None:
    """The end of a whole run: table, figure, addresses, what to do next."""
    if as_json:
        typer.echo(json.dumps(value, indent=1))
        return
    from rl2f_hub.evaluation.report import print_tables

    console = output_console()
    print_tables(value | {"max_turns": opened.recipe.evaluate.max_turns}, console)
    console.print(f"Figure   {opened.dir / 'evaluation' / 'accuracy_by_turn.png'}", soft_wrap=True)
    console.print(f"Summary  {opened.dir / 'summary.json'} and summary.md", soft_wrap=True)
    for name in ("dataset", "base", "adapter"):
        entry = value["hub"][name]
        console.print(
            f"{name.capitalize():<8} {entry['url'] or entry['repo_id']} at {str(entry['revision'])[:12]}",
            soft_wrap=True,
        )
    seconds = sum(value["wall_s"].values())
    console.print(f"Took     {seconds / 60:.1f} min, at most {value['peak_rss_mib']} MiB of memory")
    root, adapter = value["hub"]["root"], value["hub"]["adapter"]["repo_id"]
    at = f" --hub-root {root}" if root else ""
    if root:
        port = value["hub"]["endpoint"].rsplit(":", 1)[1]
        console.print(
            f"Cards    rl2f hub serve --root {root} --port {port}   (then open the addresses above)", soft_wrap=True
        )
    more = f"{adapter}{at} --recipe {opened.manifest['recipe_file']}"
    console.print(f"Demo     rl2f demo {more}", soft_wrap=True)
    console.print(f"Chat     rl2f chat {more}", soft_wrap=True)
