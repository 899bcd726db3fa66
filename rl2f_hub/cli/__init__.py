"""The command line. Nothing heavy is imported until a command runs, and the Hub's environment is set before that.

Exit codes: 0 done, 1 failed, 2 bad usage or recipe, 130 stopped by the user, 143 by SIGTERM, 129 with its terminal.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import Annotated, Any, Optional

import typer

from rl2f_hub import __version__
from rl2f_hub.cli import doctor as doctor_cli
from rl2f_hub.cli.demo import register as register_demo
from rl2f_hub.cli.evaluate import app as eval_app
from rl2f_hub.cli.jobs import app as jobs_app
from rl2f_hub.cli.localhub import app as hub_app
from rl2f_hub.cli.publish import register as register_hub_stages
from rl2f_hub.cli.reproduce import register as register_reproduction
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
    output_console,
    print_result,
    with_bad_rows,
)
from rl2f_hub.cli.tasks import app as tasks_app
from rl2f_hub.cli.teachers import app as teachers_app
from rl2f_hub.errors import RL2FError, UsageError, not_installed, out_of_memory
from rl2f_hub.runtime import permits, processes, stopping
from rl2f_hub.runtime.loopback import direct, proxied

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to load than all the rest of `--help`, and swallows [brackets]
    help="Didactic dialogues: generate and publish them, train on them with RL2F, evaluate, push, try.",
)
recipes_app = typer.Typer(no_args_is_help=True, help="The recipes that come with rl2f_hub.")
app.add_typer(hub_app, name="hub", help="The embedded Hub: a Hugging Face Hub served from a folder.")
app.add_typer(jobs_app, name="jobs")
app.add_typer(recipes_app, name="recipes")
app.add_typer(eval_app, name="eval", help="Accuracy by turn with controls, of models or of a run.")
app.add_typer(tasks_app, name="tasks")
app.add_typer(teachers_app, name="teachers")


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rl2f_hub {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
    outside: Annotated[
        bool, typer.Option("--allow-outside-files", help="Let recipes take tasks from files outside their own folder.")
    ] = False,
) -> None:
    permits.allow(outside_files=outside)


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


_stage_command("generate", "generate", "Let the student attempt the training tasks with the teacher.")
_stage_command("warmup", "warmup", "SFT of the adapter on the published dialogues.")
_stage_command("train", "train", "RL over whole dialogues, and the baselines of the recipe.")
register_hub_stages(app)
register_reproduction(app)
doctor_cli.register(app)
register_demo(app)


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


FULL = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG)  # why nothing can be written
FREE_SPACE = "free space or choose another --out, then --resume"


def _refused(error: BaseException) -> str | None:
    """A full disk, a read-only folder or a lack of memory in words, however the libraries that met it have wrapped it."""
    at: BaseException | None = error
    while at is not None:
        said = " ".join(str(at).split())[:120]
        if isinstance(at, OSError) and at.errno in FULL:
            return f"{at.filename or 'output'}: cannot be written: {at.strerror}; {FREE_SPACE}"
        words = [os.strerror(number) for number in FULL if number != errno.EACCES]
        if "PytorchStreamWriter failed" in str(at) or any(word in str(at) for word in words):
            return f"output: cannot be written: {said}; {FREE_SPACE}"
        if isinstance(at, FileNotFoundError) and "No usable temporary directory" in str(at):
            return "TMPDIR: no folder for temporary files can be written; set TMPDIR to one that can"
        if out_of_memory(at):
            return f"memory: none left ({said or type(at).__name__}); free memory or use a smaller model, then --resume"
        at = at.__cause__ or at.__context__
    return None


INTERRUPTED = 130  # what typer makes of Ctrl-C
GOES_ON = "the same command goes on (`run` and `eval`: with --resume)"


def main() -> None:
    """Entry point: every expected failure becomes one line on standard error and an exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost a factor of ten on a busy machine
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    if proxied(os.environ):
        os.environ.update(direct(os.environ))
    stopping.listen()
    code = 0
    try:
        app()
    except stopping.Stopped as stopped:
        print(f"stopped by a signal; {GOES_ON}", file=sys.stderr)
        code = int(str(stopped.code))
    except RL2FError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except SystemExit as done:
        if done.code == INTERRUPTED:
            print(f"stopped; {GOES_ON}", file=sys.stderr)
        raise
    except Exception as error:
        refused = not_installed(error) or not_installed(error.__cause__) or _refused(error)
        if refused is None:
            raise  # a bug: keep its traceback
        print(f"error: {refused}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.exit(code)
