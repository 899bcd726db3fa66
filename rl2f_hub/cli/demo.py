"""`rl2f demo`, `rl2f chat`, and `rl2f space push | check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rl2f_hub.cli.shared import HubRootOpt, JsonOpt, LocalOpt, UnsafeOpt, hub_of
from rl2f_hub.runtime import permits

space_app = typer.Typer(no_args_is_help=True, help="The demo as a Gradio Space on the Hub.")

ModelArg = Annotated[
    Optional[str],
    typer.Argument(
        help="An adapter or model: Hub id or path.", show_default="the tiny student that comes with rl2f_hub"
    ),
]
RevisionOpt = Annotated[Optional[str], typer.Option(help="Branch, tag or commit on the Hub.")]
TasksFromOpt = Annotated[Optional[str], typer.Option("--recipe", help="Take tasks from this recipe's held-out split.")]
FeedbackOpt = Annotated[
    Optional[str],
    typer.Option("--feedback-dataset", help="Let visitors contribute dialogues, with consent, to this Hub dataset."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(chat)
    app.command()(demo)
    app.add_typer(space_app, name="space")


def chat(
    model: ModelArg = None,
    revision: RevisionOpt = None,
    root: HubRootOpt = None,
    recipe: TasksFromOpt = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
) -> None:
    """Talk to a model in the terminal: pose a task, correct it. Base and adapter react side by side."""
    permits.allow(local_code=local_code, unsafe_code=unsafe)
    with hub_of(root):
        from rl2f_hub.demo.terminal import chat as talk
        from rl2f_hub.pipeline import quiet_libraries

        quiet_libraries()
        talk(model, revision=revision, tasks=recipe_tasks(recipe))


def demo(
    model: ModelArg = None,
    revision: RevisionOpt = None,
    root: HubRootOpt = None,
    recipe: TasksFromOpt = None,
    feedback_dataset: FeedbackOpt = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    port: Annotated[
        Optional[int], typer.Option(help="Port of the page.", show_default="the first free one from 7860")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open the Gradio page, to correct base and RL2F in words."""
    permits.allow(local_code=local_code, unsafe_code=unsafe)
    with hub_of(root):
        from rl2f_hub.demo import serve_demo
        from rl2f_hub.pipeline import quiet_libraries

        quiet_libraries()
        serve_demo(
            model,
            revision=revision,
            port=port,
            host=host,
            tasks=recipe_tasks(recipe),
            feedback_dataset=feedback_dataset,
        )


@space_app.command("push")
def space_push(
    repo_id: Annotated[str, typer.Argument(help="The Space, as owner/name.")],
    adapter: Annotated[str, typer.Option("--adapter", help="The adapter (or model) on the Hub that it shows.")],
    revision: Annotated[Optional[str], typer.Option(help="Its revision.", show_default="its newest commit")] = None,
    feedback_dataset: FeedbackOpt = None,
    secret: Annotated[
        Optional[list[str]],
        typer.Option(help="Name of an environment variable whose value becomes a secret of that name. Repeatable."),
    ] = None,
    hardware: Annotated[Optional[str], typer.Option(help="For example cpu-basic or zero-a10g; else as it is.")] = None,
    wheel: Annotated[
        Optional[Path],
        typer.Option(help="A wheel of rl2f_hub to ship along.", show_default="install it from the index"),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new Space public; a new one is private else.")
    ] = False,
    root: HubRootOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Create or update the Space. Files in one commit, variables and secrets."""
    with hub_of(root):
        from rl2f_hub.demo.space import push_space

        result = push_space(
            repo_id,
            adapter,
            revision=revision,
            feedback_dataset=feedback_dataset,
            secrets=secret or [],
            hardware=hardware,
            wheel=wheel,
            private=not public,
        )
    _print(result, as_json)


@space_app.command("check")
def space_check(
    folder: Annotated[
        Optional[Path], typer.Argument(help="A Space's folder.", show_default="the one that `push` would upload")
    ] = None,
    adapter: Annotated[
        Optional[str], typer.Option("--adapter", help="What it shows.", show_default="the tiny student")
    ] = None,
    wheel: Annotated[
        Optional[Path], typer.Option(help="A wheel of rl2f_hub to use.", show_default="from the package index")
    ] = None,
    keep: Annotated[
        Optional[Path], typer.Option("--keep", help="Keep the virtual environment here, or use the one there.")
    ] = None,
    root: HubRootOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Boot the Space in a clean virtual environment, and probe it. What is installed is what its own requirements name."""
    with hub_of(root):
        from rl2f_hub.demo.check import check_space

        result = check_space(folder, adapter=adapter, wheel=wheel, keep=keep)
    _print(result, as_json)


def recipe_tasks(recipe: str | None) -> list[Any]:
    """Held-out tasks of a recipe."""
    if recipe is None:
        return []
    from rl2f_hub.recipe import load_recipe
    from rl2f_hub.tasks import recipe_tasks as load

    loaded = load(load_recipe(recipe))
    return [*loaded["eval"][:200], *loaded["ood"][:100]]


def _print(value: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(value, indent=1))
        return
    for key, item in value.items():
        typer.echo(f"{key}: {json.dumps(item) if isinstance(item, dict | list) else item}")
