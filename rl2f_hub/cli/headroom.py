"""`rl2f headroom RECIPE`: what RL would have to reinforce. Nothing heavy is imported before it runs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from rl2f_hub.cli.shared import JsonOpt, LocalOpt, OutOpt, RecipeArg, SetOpt, open_run
from rl2f_hub.runtime import permits
from rl2f_hub.runtime.console import output_console, print_table

app = typer.Typer()


@app.command()
def headroom(
    recipe: RecipeArg,
    tasks: Annotated[int, typer.Option(help="Training tasks to play.", min=2)] = 64,
    group: Annotated[int, typer.Option(help="Sampled dialogues per task.", min=2)] = 4,
    out: OutOpt = None,
    overrides: SetOpt = None,
    local_code: LocalOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Say in minutes whether RL would have anything to learn from.

    It plays some training tasks with the warm-up if the run has one, else with the base (which is made first): solved by
    turn with the teacher and under controls, and how many groups of sampled dialogues have unequal returns.
    """
    from rl2f_hub.pipeline import run_headroom

    permits.allow(local_code=local_code)
    opened = open_run(recipe, overrides, out, resume=True)
    student, found = run_headroom(opened, tasks, group)
    value = {"student": student, **found.to_dict()}
    if as_json:
        typer.echo(json.dumps(value, indent=1))
        return
    _print(value, opened.dir / "headroom.json")


def _print(value: dict[str, Any], file: Any) -> None:
    turns = len(value["greedy"]["teacher"])
    rows = [
        [suite, decoding, *(f"{share:.1%}" for share in value[decoding][suite])]
        for suite in value["greedy"]
        for decoding in ("greedy", "sampled")
    ]
    print_table([f"solved by turn ({value['student']})", "decoding", *map(str, range(1, turns + 1))], rows)
    said = output_console().print
    said(
        f"Groups of {value['group']} with unequal returns: {value['unequal']:.0%} (at turn 1: {value['unequal_first']:.0%})"
    )
    said(f"Attempts repeated word for word: {value['repeats']:.0%}")
    gold = {suite: x for suite, x in value["gold"].items() if x is not None}
    if gold:
        said("log p(reference) over an exchange: " + ", ".join(f"{suite} {x:+.2f} nats" for suite, x in gold.items()))
    said(f"Verdict: {value['verdict']}: {value['because']}.")
    said(f"To change: {value['change']}", soft_wrap=True)
    said(f"Figures  {file}", soft_wrap=True)
