"""`rl2f publish` and `rl2f push`, the stages that write to the Hub, and what they would do (`--dry-run`); import, traces.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import re
from pathlib import Path
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
from rl2f_hub.runtime import permits

DryOpt = Annotated[
    bool, typer.Option("--dry-run", help="Print operations, sizes, visibility and card; change nothing on the Hub.")
]


app = typer.Typer()


@app.command()
def publish(
    recipe: RecipeArg,
    out: OutOpt = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add this run's rows to those on the Hub, whose files stay as they are.")
    ] = False,
    dry_run: DryOpt = False,
    force: ForceOpt = False,
    overrides: SetOpt = None,
    on_bad_row: BadRowOpt = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Push the recorded dialogues with a card, in one commit."""
    from rl2f_hub import publish as stage
    from rl2f_hub.pipeline import hub_ready, run_stages
    from rl2f_hub.runs import alone_in

    permits.allow(local_code=local_code, unsafe_code=unsafe)
    opened = open_run(recipe, with_bad_rows(overrides, on_bad_row), out, resume=True)
    opened.outputs("generate")
    if dry_run:
        with hub_ready(opened) as namespace:
            show_plan(stage.dry_run(opened, namespace, append=append), as_json)
        return
    if force:
        opened.forget_from("publish")
    if append:
        with alone_in(opened.dir), hub_ready(opened) as namespace:
            opened.go_on()
            with opened.stage("publish") as outputs:
                outputs |= stage.publish(opened, namespace, append=True)
    else:
        run_stages(opened, ("publish",))
    print_result({"stage": "publish", "out": str(opened.dir), **opened.outputs("publish")}, as_json)


@app.command()
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
    on_bad_row: BadRowOpt = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Push the adapter with its card, and load it back as a check.

    It is one tagged commit.
    """
    from rl2f_hub.hub import adapters
    from rl2f_hub.pipeline import hub_ready, run_stages

    permits.allow(local_code=local_code, unsafe_code=unsafe)
    given = [f"hub.{key}={value}" for key, value in (("tag", tag), ("merged", merged)) if value is not None]
    opened = open_run(recipe, [*with_bad_rows(overrides, on_bad_row), *given], out, resume=True)
    if dry_run:
        with hub_ready(opened) as namespace:
            show_plan(adapters.dry_run(opened, namespace), as_json)
        return
    if force or given:
        opened.forget_from("push")
    run_stages(opened, ("push",))
    print_result({"stage": "push", "out": str(opened.dir), **opened.outputs("push")}, as_json)


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="hub:<owner/name>, or jsonl:, csv:, tsv: or parquet:<path>.")],
    dataset: Annotated[str, typer.Argument(help="Name of the data set to make, without its owner.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the Parquet files.")] = Path("imported"),
    messages: Annotated[
        str, typer.Option(help="Column with the list of messages; `a.b` reaches into one.")
    ] = "messages",
    role: Annotated[str, typer.Option(help="Key of a message: who speaks.")] = "role",
    content: Annotated[str, typer.Option(help="Key of a message: what is said.")] = "content",
    id_: Annotated[Optional[str], typer.Option("--id", help="Column of ids [default: rows are numbered].")] = None,
    correct: Annotated[
        Optional[str],
        typer.Option(help="Column that says which attempts are right: a list, or one value for the last."),
    ] = None,
    subset: Annotated[Optional[str], typer.Option(help="Configuration of a Hub data set.")] = None,
    split: Annotated[Optional[str], typer.Option(help="Split of a Hub data set.")] = None,
    revision: Annotated[Optional[str], typer.Option(help="Commit, tag or branch of a Hub data set.")] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="Take so many conversations.")] = None,
    license_: Annotated[
        Optional[str], typer.Option("--license", help="The Hub's identifier of the source's licence, for the card.")
    ] = None,
    endpoint: Annotated[str, typer.Option(help="local (the embedded Hub), hf, or a URL.")] = "local",
    root: Annotated[
        Optional[Path], typer.Option("--hub-root", help="The embedded Hub's folder [default: OUT/hub].")
    ] = None,
    namespace: Annotated[Optional[str], typer.Option(help="Owner of the data set [default: the token's user].")] = None,
    public: Annotated[bool, typer.Option("--public", help="Make it public; private otherwise.")] = False,
    dry_run: DryOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Bring other people's conversations into our schema, and push."""
    from pydantic import ValidationError

    from rl2f_hub.errors import UsageError
    from rl2f_hub.hub.commit import plan, put
    from rl2f_hub.hub.errors import hub_errors
    from rl2f_hub.pipeline import namespace_of, open_hub_of, quiet_libraries
    from rl2f_hub.publish.build import public_source
    from rl2f_hub.publish.importing import Mapping, import_contents, source_rows, write_import
    from rl2f_hub.recipe import HubSpec

    where = {"endpoint": endpoint, "root": str(root) if root else None, "namespace": namespace, "private": not public}
    try:
        spec = HubSpec.model_validate({"dataset": dataset, "adapter": dataset, **where})
    except ValidationError as error:
        raise UsageError(str(error.errors()[0].get("ctx", {}).get("error", error.errors()[0]["msg"]))) from None
    if license_ is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license_):
        raise UsageError(f"--license: {license_!r} is no identifier such as mit, apache-2.0 or cc-by-4.0")
    mapping = Mapping(messages, role, content, id_, correct)
    with open_hub_of(spec, out / "hub"):
        quiet_libraries()
        repo_id = f"{namespace_of(spec)}/{dataset}"
        rows, report = source_rows(source, subset, split, revision)
        made = write_import(rows, mapping, out / "data", dataset, limit)
        about: dict[str, Any] = {
            "source": source,
            "mapping": mapping,
            "revision": report.get("revision"),
            "license": license_,
        }
        contents = import_contents(repo_id, made, out / "data", **about)
        from huggingface_hub import HfApi

        with hub_errors(repo_id):
            if dry_run:
                show_plan(plan(HfApi(), repo_id, "dataset", contents, private=spec.private), as_json)
                return
            message = f"Import of {public_source(source)}"
            done = put(HfApi(), repo_id, "dataset", contents, private=spec.private, message=message)
    told = {"repo_id": repo_id, "revision": done.revision, "url": done.url, "rows": made["rows"]}
    print_result(told | {"left_out": made["left_out"]}, as_json)


@app.command()
def traces(
    recipe: RecipeArg,
    to: Annotated[Path, typer.Option("--to", help="Folder for the files, one a dialogue.")],
    out: OutOpt = None,
    limit: Annotated[int, typer.Option(min=1, help="So many dialogues, from the first.")] = 100,
    overrides: SetOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Write a run's dialogues for the Hub's viewer of session traces."""
    from rl2f_hub.generate import each_row
    from rl2f_hub.publish.traces import write_traces

    opened = open_run(recipe, overrides, out, resume=True)
    files = write_traces(each_row(opened, opened.outputs("generate")["shards"]), to, limit)
    print_result({"files": len(files), "folder": str(to)}, as_json)


def show_plan(plan: dict[str, Any], as_json: bool) -> None:
    """What a dry run prints."""
    import json

    from rl2f_hub.evaluation.written import clean  # the card's other half is somebody else's

    if as_json:
        typer.echo(json.dumps(plan, indent=1))
        return
    verb = "would be created" if plan["creates"] else "exists"
    typer.echo(f"{plan['repo_type']} {plan['repo_id']}: {verb}, {plan['visibility']}")
    for operation in plan["operations"]:
        typer.echo(clean(f"  {operation['do']:<7} {operation['path']}  {operation['bytes']:,} bytes"))
    typer.echo(f"upload: {plan['upload_bytes']:,} bytes at most, one commit; nothing was changed")
    if plan["card_kept_by_hand"]:
        typer.echo(f"card: edited by hand and kept: {', '.join(plan['card_kept_by_hand'])}")
    if plan["card"]:
        typer.echo(clean(f"\nREADME.md:\n\n{plan['card']}"))
