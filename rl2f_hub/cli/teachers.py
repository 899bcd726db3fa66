"""`rl2f teachers audit`: how many leaks the guard's detectors find, and how much innocent feedback they stop."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rl2f_hub.cli.shared import JsonOpt, print_table
from rl2f_hub.errors import UsageError

if TYPE_CHECKING:
    from rl2f_hub.teachers.guard import Judge

app = typer.Typer(no_args_is_help=True, help="Teachers: what the guard lets through to the student.")

BEGIN, END = "<!-- audit: begin -->", "<!-- audit: end -->"


@app.callback()
def teachers() -> None:
    """Teachers: what the guard lets through to the student."""


@app.command("audit")
def teachers_audit(
    file: Annotated[
        Optional[Path],
        typer.Option(
            help="JSON Lines of {question, reference, student, feedback, leak}.", show_default="a generated set"
        ),
    ] = None,
    dataset: Annotated[
        Optional[str],
        typer.Option(
            help="A published data set (owner/name) with `dialogues` and `tasks`: its feedback is checked anew."
        ),
    ] = None,
    judge_url: Annotated[
        Optional[str], typer.Option(help="An OpenAI-style server (with /v1) whose model judges every row as well.")
    ] = None,
    judge_model: Annotated[Optional[str], typer.Option(help="The model's name at that server.")] = None,
    leaking: Annotated[int, typer.Option(help="Leaking feedbacks to generate, in each half.", min=1)] = 800,
    clean: Annotated[int, typer.Option(help="Innocent feedbacks to generate, in each half.", min=1)] = 800,
    seed: Annotated[
        Optional[int], typer.Option(help="Seed of the generated set.", show_default="the frozen one")
    ] = None,
    min_recall: Annotated[float, typer.Option(help="Smallest share of leaks found.", min=0, max=1)] = 0.98,
    max_false_positives: Annotated[
        float, typer.Option(help="Largest share of innocent feedback stopped.", min=0, max=1)
    ] = 0.02,
    show: Annotated[int, typer.Option(help="Print that many rows of each form that were judged wrong.", min=0)] = 0,
    table: Annotated[
        Optional[Path], typer.Option(help="Also write the table into this Markdown file, between its audit marks.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Measure how many leaks the guard finds, by form.

    Recall and false positives of its string detectors.

    Exit code 1 when a bound is missed. Without a file the set is generated: half of its sentences and spellings were held
    out from the detectors' author, and both halves are shown.
    """
    from rl2f_hub.teachers import audit as audits
    from rl2f_hub.teachers.audit import make

    if dataset is not None:
        if file is not None:
            raise UsageError("--dataset: give it or --file, not both")
        _check_dataset(dataset, show, as_json)
        return
    judge = _judge(judge_url, judge_model)
    chosen = make.SEED if seed is None else seed
    rows = audits.read_rows(file) if file else make.rows(leaking, clean, chosen)
    if table is not None:
        _check_table(table)
    result = audits.audit(rows, judge)
    ok = _within(result.recall, min_recall, 1) and _within(result.false_positive_rate, max_false_positives, -1)
    source = file.name if file else f"seed {chosen}"
    lines = audits.table(result, source)
    if table is not None:
        _write_table(table, lines)
    judged = {"judge": result.judge_row()} if judge is not None else {}
    if as_json:
        bounds = {"min_recall": min_recall, "max_false_positives": max_false_positives}
        typer.echo(json.dumps({"ok": ok, "source": source, "bounds": bounds, **result.to_row(), **judged}, indent=1))
    else:
        _print(lines)
        shown: Counter[tuple[bool, str]] = Counter()
        for row in sorted(result.wrong, key=lambda row: (not row["leak"], row.get("form", "unnamed"))):
            key = (row["leak"], row.get("form", "unnamed"))
            shown[key] += 1
            if shown[key] <= show:
                said = "leak missed" if row["leak"] else f"stopped as {', '.join(row['found'])}"
                reference = _clean(row["reference"] or row.get("solution", ""))
                typer.echo(f"  {key[1]}: {said}: {_clean(row['feedback'])!r} (reference {reference!r})")
        for name, share in judged.get("judge", {}).items():
            low, high = share["interval_95"]
            typer.echo(f"judge: {name} {share['share']} [{low}, {high}], n = {share['n']}")
        typer.echo(
            f"recall {_percent(result.recall)} (bound {min_recall:.1%}), "
            f"false positives {_percent(result.false_positive_rate)} (bound {max_false_positives:.1%}): "
            f"{'within bounds' if ok else 'out of bounds'}"
        )
    if not ok:
        raise typer.Exit(1)


def _judge(url: str | None, model: str | None) -> Judge | None:
    if url is None and model is None:
        return None
    if url is None or model is None:
        raise UsageError("--judge-url: give it together with --judge-model")
    from pydantic import ValidationError

    from rl2f_hub.recipe.teacher_sections import EndpointSpec, GuardSpec, TeacherSpec
    from rl2f_hub.teachers.judging import build_judge

    try:
        endpoint = EndpointSpec(url=url, model=model, timeout_s=300)
    except ValidationError:
        raise UsageError(f"--judge-url: {url!r} is no URL of a server; write http://<host>:<port>/v1") from None
    return build_judge(
        TeacherSpec(guard=GuardSpec(judge="endpoint", judge_endpoint=endpoint, judge_without_verdict="pass"))
    )


def _check_dataset(repo: str, show: int, as_json: bool) -> None:
    """Look at every feedback of a published data set with the detectors of today; exit code 1 where one leaks."""
    from datasets import load_dataset

    from rl2f_hub.teachers import audit as audits
    from rl2f_hub.teachers.guard import leaks_of

    try:
        tasks = {row["task_id"]: row for row in load_dataset(repo, "tasks", split="train")}
        dialogues = load_dataset(repo, "dialogues", split="train")
    except Exception as error:  # whatever the Hub, its files or their columns are like
        raise UsageError(
            f"--dataset: {repo!r} cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:160]}); "
            "name a data set with the configs `tasks` and `dialogues`"
        ) from None
    forms: Counter[str] = Counter()
    checked, leaking = 0, []
    for name, request, feedback in audits.rows_of_dialogues(dialogues, tasks):
        checked += 1
        if found := leaks_of(feedback.text, request, feedback.kind):
            forms.update(found)
            leaking.append(
                {"dialogue": name, "turn": len(request.attempts), "found": list(found), "feedback": feedback.text}
            )
    if as_json:
        said = {"dataset": repo, "feedbacks": checked, "leaking": len(leaking), "forms": dict(sorted(forms.items()))}
        typer.echo(json.dumps(said | {"rows": leaking[:show]}, indent=1))
    else:
        for row in leaking[:show]:
            typer.echo(
                f"  {row['dialogue']}, turn {row['turn']}: {', '.join(row['found'])}: {_clean(row['feedback'])!r}"
            )
        by_form = "".join(f", {form} {n}" for form, n in sorted(forms.items()))
        typer.echo(f"{repo}: {checked} feedbacks, {len(leaking)} give the answer away{by_form}")
    if leaking:
        raise typer.Exit(1)


def _within(value: float, bound: float, sign: int) -> bool:
    """A share that no row speaks of is within any bound."""
    return math.isnan(value) or sign * value >= sign * bound


def _percent(value: float) -> str:
    return "without rows" if math.isnan(value) else f"{value:.2%}"


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c == "\n")[:160]


def _check_table(path: Path) -> None:
    if path.exists() and not re.search(f"{BEGIN}.*{END}", _read(path), re.DOTALL):
        raise UsageError(
            f"--table: {str(path)!r} has no place for it; add a line {BEGIN} and a line {END}, or name a new file"
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--table: {str(path)!r} cannot be read ({type(error).__name__}); name a Markdown file"
        ) from None


def _write_table(path: Path, lines: list[list[str]]) -> None:
    from rl2f_hub.runs import write_atomic

    head, *rows = lines
    cells = [head, ["---"] * len(head), *rows]
    text = "".join(f"| {' | '.join(c.replace('|', '/') for c in row)} |\n" for row in cells)
    block = f"{BEGIN}\n\n{text}\n{END}"
    before = _read(path) if path.exists() else f"{BEGIN}{END}\n"
    start, end = before.index(BEGIN), before.index(END) + len(END)
    write_atomic(path, before[:start] + block + before[end:])


def _print(lines: list[list[str]]) -> None:
    head, *rows = lines
    print_table(head, [[cell.replace("**", "") for cell in row] for row in rows])
