"""`rl2f jobs run | status | logs | cancel`: a recipe on rented hardware of the Hub."""

from __future__ import annotations

import json
from typing import Annotated, Any, Optional

import typer

from rl2f_hub.cli.shared import JsonOpt

app = typer.Typer(no_args_is_help=True, help="Recipes on rented hardware (HF Jobs): submit, watch, cancel.")

JobArg = Annotated[str, typer.Argument(help="The job's id.")]
NamespaceOpt = Annotated[Optional[str], typer.Option(help="Who runs and pays it.", show_default="you")]


@app.command("run")
def jobs_run(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    flavor: Annotated[str, typer.Option(help="Hardware, as `hf jobs hardware` names it.")] = "a10g-small",
    timeout: Annotated[str, typer.Option(help="When the Hub stops the job: 90m, 6h, 1.5d.")] = "6h",
    overrides: Annotated[
        Optional[list[str]], typer.Option("--set", help="Override a recipe key: a.b=value. Repeatable.")
    ] = None,
    secret: Annotated[
        Optional[list[str]], typer.Option(help="Name of an environment variable to send as a secret. Repeatable.")
    ] = None,
    namespace: NamespaceOpt = None,
    keep: Annotated[
        Optional[str], typer.Option(help="A bucket (owner/name) that keeps the run's folder, to go on after a timeout.")
    ] = None,
    package: Annotated[
        Optional[str], typer.Option(help="What uv installs.", show_default="the package with qlora and trackio")
    ] = None,
    image: Annotated[Optional[str], typer.Option(help="Docker image with uv in it.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once instead of showing the log.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent and what it may cost.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Submit a recipe. It must push somewhere: the job's disk goes with it. HF_TOKEN is sent as a secret.

    Exit code 1 if the job does not end with COMPLETED (0 with --detach).
    """
    from huggingface_hub import HfApi

    from rl2f_hub.hub import jobs
    from rl2f_hub.recipe import load_recipe

    plan = jobs.Plan(
        load_recipe(recipe, overrides or []),
        flavor,
        jobs.hours_of(timeout),
        namespace,
        tuple(secret or ()),
        keep,
        package or jobs.PACKAGE,
        image or jobs.IMAGE,
    )
    names = sorted(jobs.secret_values(plan.secrets, plan.recipe))
    listed: list[Any] = []
    try:
        listed = HfApi().list_jobs_hardware()
    except Exception as error:  # a price is an estimate: the table says how old it is
        typer.echo(f"the Hub's price list could not be read ({type(error).__name__})", err=True)
    price, source = jobs.price_of(flavor, listed)
    told = {
        "recipe": plan.recipe.name,
        "flavor": flavor,
        "gpus": plan.gpus,
        "timeout_h": plan.hours,
        "cost_at_most_usd": round(price * plan.hours, 2),
        "price_usd_per_hour": price,
        "price_source": source,
        "secrets": names,
        "image": plan.image,
        "command": plan.command(),
    }
    if not as_json or dry_run:
        _tell(told, as_json)
    if dry_run:
        return
    job = jobs.submit(plan)
    if not as_json:
        typer.echo(f"job {job.id}  {job.url}")
    if not detach:
        for line in jobs.follow(job.id, namespace):
            typer.echo(line, err=as_json)
    state = jobs.status(job.id, namespace)
    if as_json:
        typer.echo(json.dumps(told | {"job": state}, indent=1))
    elif not detach:
        typer.echo(f"{state['stage']}  {state['message'] or ''}".rstrip())
    raise typer.Exit(0 if detach or state["stage"] == "COMPLETED" else 1)


@app.command("status")
def jobs_status(job: JobArg, namespace: NamespaceOpt = None, as_json: JsonOpt = False) -> None:
    """Where a job stands."""
    from rl2f_hub.hub import jobs

    _tell(jobs.status(job, namespace), as_json)


@app.command("logs")
def jobs_logs(
    job: JobArg,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends.")] = False,
    namespace: NamespaceOpt = None,
) -> None:
    """What a job has printed."""
    from rl2f_hub.hub import jobs

    for line in jobs.follow(job, namespace, wait=follow):
        typer.echo(line)


@app.command("cancel")
def jobs_cancel(job: JobArg, namespace: NamespaceOpt = None, as_json: JsonOpt = False) -> None:
    """Stop a job, and its cost."""
    from rl2f_hub.hub import jobs

    jobs.cancel(job, namespace)
    _tell(jobs.status(job, namespace), as_json)


def _tell(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values, indent=1))
        return
    for key, value in values.items():
        shown = " ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"{key.replace('_', ' '):<20} {shown if shown is not None else ''}")
