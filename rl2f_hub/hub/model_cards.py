"""Cards of models: an adapter, a merged model, a base that a run made.

Numbers come from the manifest and the metrics file only; what was not measured says so. Every section stands between
invisible marks (card_merge.py), so that a card that its owner edits on the Hub keeps those edits.
"""

from __future__ import annotations

import json
from typing import Any

from rl2f_hub.hub.card_merge import sealed
from rl2f_hub.hub.card_text import PAPER, linked, render
from rl2f_hub.runs import Run
from rl2f_hub.tasks.catalogue import license_of_all


def base_card(run: Run, repo_id: str, parameters: int) -> str:
    """The sealed card of a base model that a run made or converted."""
    return sealed(render("base.md.jinja", repo_id=repo_id, recipe=run.recipe, parameters=parameters))


def read_metrics(run: Run) -> dict[str, Any]:
    return json.loads(run.path("evaluation", "metrics.json").read_text(encoding="utf-8"))


def main_results(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The trained student's accuracy at the last training turn, one entry a suite: {suite, turn, value, low, high, n}."""
    turn = metrics["train_max_turns"]
    return [
        {
            "suite": suite,
            "turn": turn,
            "value": entry["acc_at_turn"][turn - 1],
            "low": entry["ci95"][turn - 1][0],
            "high": entry["ci95"][turn - 1][1],
            "n": entry["n"],
            "decoding": entry.get("decoding", "greedy"),
        }
        for suite, entry in metrics["students"].get("rl2f", {}).items()
        if isinstance(entry, dict) and len(entry.get("acc_at_turn", ())) >= turn
    ]


def sycophancy(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """How often students held on to a right answer that was doubted: {student, suite, held, low, high, n}, measured ones only."""
    out = []
    for student, suites in metrics["students"].items():
        for suite, entry in suites.items():
            if isinstance(entry, dict) and entry.get("held_rate") is not None:
                low, high = entry.get("held_ci95") or (None, None)
                out.append({"student": student, "suite": suite, "held": entry["held_rate"], "low": low, "high": high})
                out[-1]["n"] = entry.get("doubted")
    return out


def model_card(
    run: Run, repo_id: str, *, base: dict[str, Any], endpoint: str, merged_from: tuple[str, str] | None = None
) -> str:
    """The sealed card of an adapter, or of a merged model: method, data, results with controls, limits, exact revisions.

    Args:
        base: {repo_id, revision} of the base model.
        merged_from: (repo_id, revision) of the adapter that a merged model came from.
    """
    from huggingface_hub import EvalResult, ModelCard

    from rl2f_hub.evaluation.report import comparison_rows, markdown_table, table_rows

    metrics = read_metrics(run)
    stages = run.manifest["stages"]
    dataset, generated = stages["publish"]["outputs"], stages["generate"]["outputs"]
    sources = sorted({report["source"] for report in run.manifest.get("tasks", ()) if report["split"] != "pretrain"})
    text = render(
        "model.md.jinja",
        repo_id=repo_id,
        recipe=run.recipe,
        recipe_fingerprint=run.manifest["fingerprint"],
        base=base,
        base_link=linked(endpoint, "model", base["repo_id"], base["revision"]),
        dataset=dataset,
        dataset_link=linked(endpoint, "dataset", dataset["repo_id"], dataset["revision"]),
        merged_from=merged_from and linked(endpoint, "model", *merged_from),
        results=markdown_table(table_rows(metrics)),
        comparisons=markdown_table(comparison_rows(metrics)),
        sycophancy=sycophancy(metrics),
        train=stages["train"]["outputs"],
        warmup=stages["warmup"]["outputs"],
        generated=generated,
        leak_rate=_share(generated["counts"].get("leaked_turns", 0), generated["counts"].get("feedback_turns", 0)),
        privilege=run.recipe.teacher.privilege,
        licences=license_of_all(sources)[1] if sources else [],
        wall_s={name: entry["wall_s"] for name, entry in stages.items() if entry["status"] == "done"},
        peak_rss_mib=max((e.get("peak_rss_mib", 0) for n, e in stages.items() if n != "push"), default=0) or None,
        hardware=run.manifest["hardware"],
        versions=run.manifest["versions"],
        co2_g=run.recipe.hub.co2_g,
        paper=PAPER,
    )
    card: Any = ModelCard(text)
    card.data.model_name = repo_id.split("/")[1]
    card.data.eval_results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=dataset["repo_id"],
            dataset_name=f"{dataset['repo_id'].split('/')[1]}, {result['suite']}",
            dataset_config="tasks",
            dataset_split="ood" if result["suite"].startswith("ood_") else "eval",
            dataset_revision=dataset["revision"],
            metric_type="accuracy",
            metric_name=f"solved by turn {result['turn']}, {result['suite']}, {result['decoding']}",
            metric_value=round(100 * result["value"], 2),
        )
        for result in main_results(metrics)
    ] or None
    return sealed(str(card))


def _share(k: int, n: int) -> float | None:
    return k / n if n else None
