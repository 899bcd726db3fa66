"""`rl2f tasks list | show | validate`: what there is to learn from, and whether its verifiers are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rl2f_hub.cli.shared import JsonOpt, LocalOpt, UnsafeOpt, print_table
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.runtime import permits

if TYPE_CHECKING:
    from rl2f_hub.recipe import SourceSpec

app = typer.Typer(no_args_is_help=True, help="Task sources: what there is, and is the verifier right.")


@app.command("list")
def tasks_list(
    kind: Annotated[Optional[str], typer.Argument(help="reasoning_gym or textarena: all of its members.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Every source that a recipe can name. Domain, size, licence, and what the teacher may see."""
    from rl2f_hub.tasks.catalogue import catalogue, members

    rows = members(kind) if kind else catalogue()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    print_table(
        ["source", "domain", "size", "licence", "verifier", "the teacher sees"],
        [list(row.values())[:6] for row in rows],
    )


@app.command("show")
def tasks_show(
    source: Annotated[str, typer.Argument(help="A preset, `reasoning_gym:<data set>`, `textarena:<environment>`, ...")],
    seed: Annotated[int, typer.Option(help="Seed of the task that is shown.")] = 0,
    local_code: LocalOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """One source and its first task, as student and teacher see it."""
    from rl2f_hub.recipe.task_sections import SourceSpec
    from rl2f_hub.tasks import request_for, stream
    from rl2f_hub.tasks.catalogue import describe

    permits.allow(local_code=local_code)
    known = describe(source)
    try:
        task = next(stream(request_for(SourceSpec(source=source, count=1), "source", seed)), None)
        missing = "the source has no tasks" if task is None else ""
    except RL2FError as error:
        if not known:
            raise
        task, missing = None, str(error)
    if as_json:
        typer.echo(json.dumps({**known, "task": task.to_row() if task else None, "problem": missing}, indent=1))
        return
    for key, value in known.items():
        if value:
            typer.echo(f"{key:<16} {value}")
    if task is None:
        typer.echo(f"{'no task':<16} {missing}")
        return
    typer.echo(f"\nThe student sees\n{_indented(task.prompt)}")
    seen = {"reference": task.privilege.reference, "solution": task.privilege.solution, "tests": task.privilege.tests}
    for name, text in seen.items():
        if text:
            typer.echo(f"\nThe teacher also sees the {name}\n{_indented(text[:2000])}")
    typer.echo(f"\nJudged by        {task.verifier}")


@app.command("validate")
def tasks_validate(
    source: Annotated[
        str, typer.Argument(help="A recipe file, a source or preset, or `reasoning_gym` for all of its data sets.")
    ],
    prompt: Annotated[
        Optional[str], typer.Option(help="Column of the questions, or a template of columns in braces.")
    ] = None,
    reference: Annotated[Optional[str], typer.Option(help="Column of the right answers.")] = None,
    verifier: Annotated[Optional[str], typer.Option(help="Who judges.", show_default="the source's own")] = None,
    choices: Annotated[Optional[str], typer.Option(help="Column of the options of a multiple choice.")] = None,
    subset: Annotated[Optional[str], typer.Option(help="Of a data set on the Hub.")] = None,
    split: Annotated[Optional[str], typer.Option(help="Of a data set on the Hub.")] = None,
    count: Annotated[
        Optional[int], typer.Option(help="Tasks a source.", show_default="20; all of human_eval", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of tasks and perturbations.")] = 0,
    max_false_rejects: Annotated[float, typer.Option(help="Largest share of right attempts refused.")] = 0.0,
    max_false_accepts: Annotated[float, typer.Option(help="Largest share of wrong attempts accepted.")] = 0.05,
    on_bad_row: Annotated[Optional[str], typer.Option(help="skip or fail.")] = None,
    table: Annotated[Optional[Path], typer.Option(help="Also write the table to this Markdown file.")] = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Check verifiers without a model.

    References must pass, bare and in some 40 usual wrappings; nothing, quotes, perturbed and others' answers must fail.
    A file or a data set on the Hub needs no recipe: name its columns.

    Exit code 1 when a source exceeds a bound or cannot be validated.
    """
    from rl2f_hub.runtime.progress import bar
    from rl2f_hub.tasks.validate import HEADER, SourceReport, summary_rows, validate

    permits.allow(local_code=local_code, unsafe_code=unsafe)
    if on_bad_row not in (None, "skip", "fail"):
        raise UsageError(f"--on-bad-row: {on_bad_row!r} is refused; use skip or fail")
    columns = {"prompt": prompt, "reference": reference, "verifier": verifier, "choices": choices}
    columns |= {"subset": subset, "split": split}
    specs = _specs(source, count, on_bad_row, {name: value for name, value in columns.items() if value is not None})
    reports: list[SourceReport] = []
    with bar("validate", len(specs), "sources") as advance:
        for spec in specs:
            reports.append(validate(spec, seed))
            advance(1)
    if len(specs) == 1 and reports[0].note and not as_json:
        raise UsageError(reports[0].note)
    bad = [
        r
        for r in reports
        if r.note
        or r.errors
        or r.unmutated
        or r.false_rejects > max_false_rejects
        or r.false_accepts > max_false_accepts
    ]
    if table is not None:
        from rl2f_hub.runs import write_atomic

        rows = [HEADER, ["---"] * len(HEADER), *summary_rows(reports)]
        write_atomic(table, "".join(f"| {' | '.join(c.replace('|', '/') for c in row)} |\n" for row in rows))
    if as_json:
        bounds = {"max_false_rejects": max_false_rejects, "max_false_accepts": max_false_accepts}
        found = [{**r.to_row(), "ok": r not in bad} for r in reports]
        typer.echo(json.dumps({"ok": not bad, "bounds": bounds, "sources": found}, indent=1))
    else:
        print_table(HEADER, summary_rows(reports))
        for report in bad:
            for example in report.examples:
                typer.echo(f"  {example}")
        total = sum(sum(r.tried.values()) for r in reports)
        typer.echo(f"{len(reports) - len(bad)} of {len(reports)} sources within bounds, {total} verdicts")
    if bad:
        raise typer.Exit(1)


def _specs(source: str, count: int | None, on_bad_row: str | None, columns: dict[str, str]) -> list[SourceSpec]:
    """The sources behind the argument, each with the number of tasks to probe.

    Args:
        columns: fields of a source that the command line sets.
    Raises:
        UsageError: an unknown verifier, or columns of a source that has none to name.
    """
    from rl2f_hub.kinds import VERIFIERS, find_part
    from rl2f_hub.recipe import load_recipe, recipe_files
    from rl2f_hub.recipe.task_sections import SourceSpec

    if (verifier := columns.get("verifier")) is not None:
        find_part(VERIFIERS, verifier, "--verifier")  # raises where there is none of this name
    shipped = {file.parent.name for file in recipe_files()}
    in_recipe = (
        Path(source).suffix in (".yaml", ".yml") or (Path(source) / "recipe.yaml").is_file() or source in shipped
    )
    generated = source.partition(":")[0] in ("reasoning_gym", "textarena", "python", "human_eval")
    for name in columns:
        if in_recipe or (generated and name != "verifier"):
            why = "a recipe says so itself" if in_recipe else "its rows have no columns"
            raise UsageError(f"--{name}: {source} does not take it, {why}; leave it out")
    if in_recipe:
        tasks = load_recipe(source).tasks
        found = {
            s.model_copy(update={"count": 1}).model_dump_json(): s for s in (*tasks.train, *tasks.eval, *tasks.ood)
        }
        rule = on_bad_row or tasks.on_bad_row
        return [
            s.model_copy(update={"count": min(s.count, count or 20), "on_bad_row": s.on_bad_row or rule})
            for s in found.values()
        ]
    if source == "reasoning_gym":
        from reasoning_gym.factory import DATASETS

        names = [f"reasoning_gym:{name}" for name in sorted(DATASETS)]
    else:
        names = [source]
    everything = 164 if source.startswith("human_eval") else 20
    return [
        SourceSpec.model_validate({"source": name, "count": count or everything, "on_bad_row": on_bad_row, **columns})
        for name in names
    ]


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in "".join(c for c in text if c.isprintable() or c == "\n").splitlines())
