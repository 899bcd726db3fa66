"""What an evaluation of models leaves behind beside `metrics.json`: log, figures, report, forms for the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl2f_hub.evaluation import figures
from rl2f_hub.evaluation.hub_form import eval_entries, eval_results_yaml, model_index
from rl2f_hub.evaluation.logs import log_row, push_logs, write_log
from rl2f_hub.evaluation.models import Plan, rows_of, slug
from rl2f_hub.evaluation.written import report
from rl2f_hub.runs import write_atomic, write_json
from rl2f_hub.tasks.catalogue import public_source


def write_output(
    plan: Plan, out: Path, result: dict[str, Any], push: str | None, private: bool
) -> dict[str, Any] | None:
    """Write every file; push the log if `push` names a data set, and return {repo_id, revision, url} then.

    The Hub's forms name a data set on the Hub: the pushed log, else the one that all tasks come from (`hub:`). Where
    there is neither they are not written.
    """
    tasks = {task.task_id: task for task in plan.all_tasks()}
    rows = [
        log_row(row, model, suite, tasks.get(row["task_id"]))
        for model in plan.models
        for suite in plan.suites
        for row in rows_of(plan, out, model, suite)
    ]
    _write(plan, out, result, rows)
    pushed = None
    if push and (names := public_names(plan)):
        shown = renamed(result, names)
        write_json(out / "push" / "metrics.json", shown)
        _write(plan, out / "push", shown, [renamed_row(row, names) for row in rows])
        pushed = push_logs(out / "push", push, shown, private)
    elif push:
        pushed = push_logs(out, push, result, private)
    _hub_forms(plan, out, result, pushed)
    return pushed


def _write(plan: Plan, out: Path, result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Log, figures and report of these figures and dialogues."""
    write_log(out / "dialogues.parquet", rows)
    decoding = f"sampled at {plan.settings.temperature:g}" if plan.settings.temperature else "greedy decoding"
    figures.draw_accuracy(result, f"{decoding}, 95 % bootstrap bands", out / "accuracy_by_turn.png")
    figures.draw_controls(result, out / "controls.png")
    figures.draw_plasticity(result, out / "plasticity.png")
    names = [n for n in ("accuracy_by_turn.png", "controls.png", "plasticity.png") if (out / n).is_file()]
    write_atomic(out / "report.md", report(result, rows, names))


def public_names(plan: Plan) -> dict[str, str]:
    """What models and task sources that lie on this machine are called elsewhere: without their folders.

    Two of one name are told apart by a number that follows from their paths.
    """
    names: dict[str, str] = {}
    for model in plan.models:
        if Path(model).expanduser().exists():
            name = Path(model).expanduser().resolve().name
            names[model] = name if name not in {*names.values(), *plan.models} else f"{name}-{slug(model)[-6:]}"
    names |= {task.source: public_source(task.source) for task in plan.all_tasks()}
    return {name: public for name, public in names.items() if name != public}


def renamed(value: Any, names: dict[str, str]) -> Any:
    """The same figures with other names of models and sources, wherever they stand alone, compared, or at a revision."""
    if isinstance(value, dict):
        return {renamed(key, names): renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [renamed(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    head, at, revision = value.rpartition("@")
    if at and head in names:
        return f"{names[head]}@{revision}"
    return "_minus_".join(names.get(part, part) for part in value.split("_minus_"))


def renamed_row(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A row of the log with other names; what was said in it stays."""
    return row | {key: renamed(row[key], names) for key in ("model", "source", "student", "teacher") if key in row}


def _hub_forms(plan: Plan, out: Path, result: dict[str, Any], pushed: dict[str, Any] | None) -> None:
    import yaml

    sources = {task.source for task in plan.all_tasks()}
    only = next(iter(sources)) if len(sources) == 1 else ""
    dataset = pushed["repo_id"] if pushed else (only.removeprefix("hub:") if only.startswith("hub:") else None)
    if dataset is None:
        return
    for model, suites in result["students"].items():
        entries = eval_entries(suites, dataset, revision=pushed["revision"] if pushed else None)
        write_atomic(out / "eval_results" / f"{slug(model)}.yaml", eval_results_yaml(entries))
        index = {"model-index": model_index(model, entries)}
        write_atomic(out / "eval_results" / f"{slug(model)}.model-index.yaml", yaml.safe_dump(index, sort_keys=False))
