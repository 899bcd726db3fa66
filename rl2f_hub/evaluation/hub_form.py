"""Results in the forms that the Hub reads: `.eval_results/*.yaml` and, older, the model card's `model-index`.

Both name a data set on the Hub and one number. The number of a leaderboard is single-turn accuracy, so turn 1 comes
first; accuracy with feedback is another task of its own and its notes say so, the oracle's stop included.
"""

from __future__ import annotations

from typing import Any


def eval_entries(
    suites: dict[str, Any], dataset_id: str, *, revision: str | None = None, source_url: str | None = None
) -> list[Any]:
    """`huggingface_hub.EvalResultEntry` for one student's suites: turn 1, and each suite's last turn. Shares in percent.

    Args:
        suites: `students.<name>` of `metrics.json`.
        dataset_id: the data set that the tasks, or the published log, are in.
    """
    from huggingface_hub import EvalResultEntry

    def entry(task: str, value: float, notes: str) -> Any:
        return EvalResultEntry(
            dataset_id=dataset_id,
            task_id=task,
            value=round(100 * value, 2),
            dataset_revision=revision,
            source_url=source_url,
            notes=notes,
        )

    out = []
    first = next((suites[s] for s in ("teacher", "try_again", "resample") if s in suites), None)
    if first is not None:
        decoding = first.get("decoding", "greedy")
        out.append(entry("single_turn", first["acc_at_turn"][0], f"{decoding}, n = {first['n']}, no feedback"))
    for suite, found in suites.items():
        turns = len(found["acc_at_turn"])
        how = f"{found.get('decoding', 'greedy')}, n = {found['n']}, cumulative over {turns} turns, oracle stop"
        out.append(entry(f"{suite}_turn_{turns}", found["acc_at_turn"][-1], how))
        final = found.get("figures", {}).get("final_accuracy")
        if final is not None:
            how = f"{found.get('decoding', 'greedy')}, n = {found['n']}, answer standing after {turns} turns, no oracle"
            out.append(entry(f"{suite}_final", final["value"][-1], how))
    return out


def eval_results_yaml(entries: list[Any]) -> str:
    """The text of a `.eval_results/<name>.yaml` file."""
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)


def model_index(name: str, entries: list[Any]) -> list[dict[str, Any]]:
    """The `model-index` of a model card with the same numbers."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=entry.dataset_id,
            dataset_name=entry.dataset_id,
            dataset_revision=entry.dataset_revision,
            metric_type="accuracy",
            metric_name=f"{entry.task_id} ({entry.notes})",
            metric_value=entry.value,
        )
        for entry in entries
    ]
    return eval_results_to_model_index(name, results)
