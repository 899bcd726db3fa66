"""What the commands share: options of the same name and meaning, opening a run, printing a result.

Imported by every module with commands, so it imports nothing that takes time.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rl2f_hub.errors import UsageError

if TYPE_CHECKING:
    from rl2f_hub.runs import Run

RecipeArg = Annotated[str, typer.Argument(help="A recipe file, or the name of a folder under recipes/.")]
OutOpt = Annotated[Optional[Path], typer.Option("--out", help="The run's folder.", show_default="runs/<recipe name>")]
SetOpt = Annotated[Optional[list[str]], typer.Option("--set", help="Override a recipe key: a.b=value. Repeatable.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
BadRowOpt = Annotated[
    Optional[str], typer.Option("--on-bad-row", help="Bad rows of a task source: skip (and count) or fail.")
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Do the stage again, and forget the later ones.")]
LocalOpt = Annotated[
    bool, typer.Option("--allow-local-code", help="Let `python:` parts of a recipe run code from your own files.")
]
UnsafeOpt = Annotated[
    bool, typer.Option("--unsafe-code-execution", help="Run model-written code without the sandbox. Dangerous.")
]
FeedbackOpt = Annotated[
    Optional[str],
    typer.Option("--feedback-dataset", help="Let visitors contribute dialogues, with consent, to this Hub dataset."),
]
HubRootOpt = Annotated[Optional[Path], typer.Option("--hub-root", help="Use the embedded Hub in this folder.")]


def open_run(recipe: str, overrides: list[str] | None, out: Path | None, **how: bool) -> Run:
    """The run of a recipe in its folder; `how` as in `Run.open`."""
    from rl2f_hub.recipe import load_recipe
    from rl2f_hub.runs import Run

    loaded = load_recipe(recipe, overrides or [])
    opened = Run.open(loaded, out or Path("runs") / loaded.name, **how)
    opened.manifest["recipe_file"] = recipe
    return opened


def with_bad_rows(overrides: list[str] | None, rule: str | None) -> list[str]:
    """The overrides and what `--on-bad-row` adds to them."""
    return [*(overrides or []), *([f"tasks.on_bad_row={rule}"] if rule is not None else [])]


def print_result(value: dict[str, Any], as_json: bool) -> None:
    """The outcome of a command, one line a key, or as JSON."""
    if as_json:
        typer.echo(json.dumps(value, indent=1))
    else:
        for key, item in value.items():
            typer.echo(f"{key}: {json.dumps(item) if isinstance(item, dict | list) else item}")


def output_console(width: int = 160) -> Any:
    """rich's console on standard output; `width` where that is no terminal. What it prints is never read as markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else width)


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """A table of texts, whatever stands in them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    output_console(180).print(table)


@contextmanager
def hub_of(root: Path | None) -> Iterator[None]:
    """The environment of the embedded Hub in `root`, or nothing.

    Raises:
        UsageError: no such folder.
    """
    if root is None:
        yield
        return
    if not root.is_dir():
        raise UsageError(f"--hub-root: no folder {str(root)!r}; `make quickstart` makes runs/hub")
    from rl2f_hub.localhub import LocalHub

    with LocalHub.start(root) as hub:
        os.environ.update(hub.env())
        yield
