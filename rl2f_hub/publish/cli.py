"""`rl2f publish` and `rl2f push`: the two stages that write to the Hub, and what they would do (`--dry-run`).

Registered into the command line by `register`. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rl2f_hub import permits
from rl2f_hub.tasks.cli import LocalOpt, UnsafeOpt

RecipeArg = Annotated[str, typer.Argument(help="A recipe file, or the name of a folder under recipes/.")]
OutOpt = Annotated[Optional[Path], typer.Option("--out", help="The run's folder [default: runs/<recipe name>].")]
SetOpt = Annotated[Optional[list[str]], typer.Option("--set", help="Override a recipe key: a.b=value. Repeatable.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
ForceOpt = Annotated[bool, typer.Option("--force", help="Do the stage again, and forget the later ones.")]
DryOpt = Annotated[
    bool, typer.Option("--dry-run", help="Print operations, sizes, visibility and card; change nothing on the Hub.")
]


def register(app: typer.Typer) -> None:
    """Adds the two commands."""
    app.command("publish")(publish)
    app.command("push")(push)


def publish(
    recipe: RecipeArg,
    out: OutOpt = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add this run's rows to those on the Hub, whose files stay as they are.")
    ] = False,
    dry_run: DryOpt = False,
    force: ForceOpt = False,
    overrides: SetOpt = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Push the recorded dialogues as a Hub dataset with a card, in one commit."""
    from rl2f_hub import publish as stage
    from rl2f_hub.cli import _open, _print_result
    from rl2f_hub.pipeline import hub_ready, run_stages

    permits.allow(local_code=local_code, unsafe_code=unsafe)
    opened = _open(recipe, overrides, out, resume=True)
    opened.outputs("generate")
    if dry_run:
        with hub_ready(opened) as namespace:
            show_plan(stage.dry_run(opened, namespace, append=append), as_json)
        return
    if force:
        opened.forget_from("publish")
    if append:
        with hub_ready(opened) as namespace, opened.stage("publish") as outputs:
            outputs |= stage.publish(opened, namespace, append=True)
    else:
        run_stages(opened, ("publish",))
    _print_result({"stage": "publish", "out": str(opened.dir), **opened.outputs("publish")}, as_json)


def push(
    recipe: RecipeArg,
    out: OutOpt = None,
    tag: Annotated[
        Optional[str], typer.Option("--tag", help="Tag of the commit [default: the next of v1, v2, ...].")
    ] = None,
    merged: Annotated[
        Optional[str], typer.Option("--merged", help="Also push the adapter merged into its base, to this repository.")
    ] = None,
    dry_run: DryOpt = False,
    force: ForceOpt = False,
    overrides: SetOpt = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Push the adapter with its card in one tagged commit, and check it by loading it back."""
    from rl2f_hub import adapters
    from rl2f_hub.cli import _open, _print_result
    from rl2f_hub.pipeline import hub_ready, run_stages

    permits.allow(local_code=local_code, unsafe_code=unsafe)
    given = [f"hub.{key}={value}" for key, value in (("tag", tag), ("merged", merged)) if value is not None]
    opened = _open(recipe, [*(overrides or []), *given], out, resume=True)
    if dry_run:
        with hub_ready(opened) as namespace:
            show_plan(adapters.dry_run(opened, namespace), as_json)
        return
    if force or given:
        opened.forget_from("push")
    run_stages(opened, ("push",))
    _print_result({"stage": "push", "out": str(opened.dir), **opened.outputs("push")}, as_json)


def show_plan(plan: dict[str, Any], as_json: bool) -> None:
    """What a dry run prints."""
    import json

    if as_json:
        typer.echo(json.dumps(plan, indent=1))
        return
    verb = "would be created" if plan["creates"] else "exists"
    typer.echo(f"{plan['repo_type']} {plan['repo_id']}: {verb}, {plan['visibility']}")
    for operation in plan["operations"]:
        typer.echo(f"  {operation['do']:<7} {operation['path']}  {operation['bytes']:,} bytes")
    typer.echo(f"upload: {plan['upload_bytes']:,} bytes at most, one commit; nothing was changed")
    if plan["card_kept_by_hand"]:
        typer.echo(f"card: edited by hand and kept: {', '.join(plan['card_kept_by_hand'])}")
    if plan["card"]:
        typer.echo(f"\nREADME.md:\n\n{plan['card']}")
