"""The command line. Nothing heavy is imported until a command runs, and the Hub's environment is set before that.

Exit codes: 0 done, 1 failed, 2 bad usage or recipe, 130 stopped by the user, 143 by SIGTERM, 129 with its terminal.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from typing import Annotated, Any, Optional

import typer

from rl2f_hub import permits, processes
from rl2f_hub.cli_shared import (
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
from rl2f_hub.demo.cli import register as register_demo
from rl2f_hub.doctor import cli as doctor_cli
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.evaluation.cli import app as eval_app
from rl2f_hub.jobs_cli import app as jobs_app
from rl2f_hub.localhub.cli import app as hub_app
from rl2f_hub.publish_cli import register as register_hub_stages
from rl2f_hub.reproduction.cli import register as register_reproduction
from rl2f_hub.tasks.cli import app as tasks_app
from rl2f_hub.teachers.cli import app as teachers_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to load than all the rest of `--help`, and swallows [brackets]
    help="Didactic dialogues: generate and publish them, train on them with RL2F, evaluate, push, try.",
)
recipes_app = typer.Typer(no_args_is_help=True, help="The recipes that come with rl2f_hub.")
app.add_typer(hub_app, name="hub", help="The embedded Hub.")
app.add_typer(jobs_app, name="jobs")
app.add_typer(recipes_app, name="recipes")
app.add_typer(eval_app, name="eval", help="Accuracy by turn with controls, of models or of a recipe's students.")
app.add_typer(tasks_app, name="tasks")
app.add_typer(teachers_app, name="teachers")
doctor_cli.register(app)
register_demo(app)


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
    """Run all stages of a recipe: base, generate, publish, warmup, train, evaluate, push."""
    from rl2f_hub.pipeline import run_stages, write_summary
    from rl2f_hub.runs import STAGES

    chosen = tuple(s.strip() for s in only.split(",")) if only else STAGES
    for stage in (*chosen, *((start,) if start else ())):
        if stage not in STAGES:
            from rl2f_hub.errors import did_you_mean

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


_stage_command("generate", "generate", "Let the student attempt the training tasks with the teacher, and record it.")
_stage_command("warmup", "warmup", "SFT of the adapter on the published dialogues.")
_stage_command("train", "train", "RL over whole dialogues, and the single-turn baseline.")
register_hub_stages(app)
register_reproduction(app)


@recipes_app.command("list")
def recipes_list(as_json: JsonOpt = False) -> None:
    """Names and descriptions."""
    from rl2f_hub.recipe import load_recipe, recipe_files

    rows = [{"name": file.parent.name, "description": load_recipe(file).description} for file in recipe_files()]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        for row in rows:
            typer.echo(f"{row['name']:<24} {row['description']}")


@recipes_app.command("show")
def recipes_show(recipe: RecipeArg, overrides: SetOpt = None) -> None:
    """The recipe with all defaults filled in, as YAML."""
    import yaml

    from rl2f_hub.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    typer.echo(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False).rstrip())
    typer.echo(f"# fingerprint: {loaded.fingerprint}")


def _show(value: dict[str, Any], opened: Any, as_json: bool) -> None:
    """The end of a whole run: table, figure, addresses, what to do next."""
    if as_json:
        typer.echo(json.dumps(value, indent=1))
        return
    from rich.console import Console

    from rl2f_hub.evaluation.report import print_tables

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
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


def _refused_write(error: Exception) -> str | None:
    """A full disk or read-only folder in words, however the library that met it has wrapped it."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
        return f"{error.filename or 'output'}: cannot be written: {error.strerror}"
    if "No space left on device" in str(error) or "PytorchStreamWriter failed" in str(error):
        return f"output: cannot be written: {' '.join(str(error).split())[:120]}"
    return None


class _Stopped(SystemExit):
    """SIGTERM or SIGHUP. An exception, so that what is open is closed and a half-written file removed, as on Ctrl-C."""


def _stop(number: int, frame: Any) -> None:
    raise _Stopped(128 + number)


def main() -> None:
    """Entry point: every expected failure becomes one line on standard error and an exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost a factor of ten on a busy machine
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, _stop)
    code = 0
    try:
        app()
    except _Stopped as stopped:
        print("stopped by a signal; the same command with --resume goes on", file=sys.stderr)
        code = int(str(stopped.code))
    except RL2FError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on", file=sys.stderr)
        code = 130
    except Exception as error:
        refused = _refused_write(error)
        if refused is None:
            raise  # a bug: keep its traceback
        print(f"error: {refused}; free space or choose another --out, then --resume", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.exit(code)
