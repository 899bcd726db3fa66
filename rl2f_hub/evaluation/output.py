"""What an evaluation of models leaves behind beside `metrics.json`: log, figures, report, forms for the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl2f_hub.evaluation import figures
from rl2f_hub.evaluation.hub_form import eval_entries, eval_results_yaml, model_index
from rl2f_hub.evaluation.logs import log_row, push_logs, write_log
from rl2f_hub.evaluation.models import Plan, rows_of, slug
from rl2f_hub.evaluation.written import report
from rl2f_hub.runs import write_atomic


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
    write_log(out / "dialogues.parquet", rows)
    decoding = f"sampled at {plan.settings.temperature:g}" if plan.settings.temperature else "greedy decoding"
    figures.draw_accuracy(result, f"{decoding}, 95 % bootstrap bands", out / "accuracy_by_turn.png")
    figures.draw_controls(result, out / "controls.png")
    figures.draw_plasticity(result, out / "plasticity.png")
    names = [n for n in ("accuracy_by_turn.png", "controls.png", "plasticity.png") if (out / n).is_file()]
    write_atomic(out / "report.md", report(result, rows, names))
    pushed = push_logs(out, push, result, private) if push else None
    _hub_forms(plan, out, result, pushed)
    return pushed


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
