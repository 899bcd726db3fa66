"""`rl2f chat` and `rl2f demo`."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from rl2f_hub.cli.shared import FeedbackOpt, HubRootOpt, LocalOpt, UnsafeOpt, hub_of
from rl2f_hub.runtime import permits

ModelArg = Annotated[
    Optional[str],
    typer.Argument(
        help="An adapter or model: Hub id or path.", show_default="the tiny student that comes with rl2f_hub"
    ),
]
RevisionOpt = Annotated[Optional[str], typer.Option(help="Branch, tag or commit on the Hub.")]
TasksFromOpt = Annotated[Optional[str], typer.Option("--recipe", help="Take tasks from this recipe's held-out split.")]

app = typer.Typer()


@app.command()
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
        from rl2f_hub.runtime.quiet import quiet_libraries

        quiet_libraries()
        talk(model, revision=revision, tasks=recipe_tasks(recipe))


@app.command()
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
        from rl2f_hub.runtime.quiet import quiet_libraries

        quiet_libraries()
        serve_demo(
            model,
            revision=revision,
            port=port,
            host=host,
            tasks=recipe_tasks(recipe),
            feedback_dataset=feedback_dataset,
        )


def recipe_tasks(recipe: str | None) -> list[Any]:
    """Held-out tasks of a recipe."""
    if recipe is None:
        return []
    from rl2f_hub.recipe import load_recipe
    from rl2f_hub.tasks import recipe_tasks as load

    loaded = load(load_recipe(recipe))
    return [*loaded["eval"][:200], *loaded["ood"][:100]]
