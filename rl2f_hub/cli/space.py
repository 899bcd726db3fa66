"""`rl2f space push | check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rl2f_hub.cli.shared import FeedbackOpt, HubRootOpt, JsonOpt, hub_of, print_result

app = typer.Typer(no_args_is_help=True, help="The demo as a Gradio Space on the Hub.")


@app.command("push")
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
    print_result(result, as_json)


@app.command("check")
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
    print_result(result, as_json)
