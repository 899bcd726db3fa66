"""Stage `publish`: recorded dialogues become a Hub dataset of four configs with fixed features and a card.

`tasks` (problems with reference), `dialogues` (turn by turn), `sft` (TRL conversational prompt/completion, one row an
attempt) and `critiques` (public history -> the teacher's words). Every config is pushed by `DatasetDict.push_to_hub`;
nothing here knows which Hub answers. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from rl2f_hub.generate import generated_rows
from rl2f_hub.hub_errors import hub_errors
from rl2f_hub.progress import bar
from rl2f_hub.records import Task, fingerprint
from rl2f_hub.runs import Run

MESSAGE = {"role": "string", "content": "string"}
TURN = {
    "attempt": "string",
    "answer": "string",
    "correct": "bool",
    "score": "float64",
    "reason": "string",
    "feedback": "string",
    "feedback_kind": "string",
    "leaked": "bool",
    "cut": "bool",  # the attempt reached the token limit of a turn
    "feedback_prompt_tokens": "int32",  # this and the next two: null where no model was asked
    "feedback_tokens": "int32",
    "feedback_cost": "float64",
}
COLUMNS: dict[str, dict[str, Any]] = {
    "tasks": dict.fromkeys(
        (
            *("task_id", "source", "domain", "prompt", "privilege", "reference", "solution", "tests"),
            *("verifier", "config"),
        ),
        "string",
    )
    | {"seed": "int64", "split": "string"},
    "dialogues": {
        "dialogue_id": "string",
        "task_id": "string",
        "messages": [MESSAGE],
        "turns": [TURN],
        "solved_at": "int32",
        "stop_reason": "string",
        "student": "string",
        "teacher": "string",
        "privilege": "string",
        "teacher_tokens": "int64",
        "teacher_cost": "float64",
        "sampling": "string",
    },
    "sft": {
        "prompt": [MESSAGE],
        "completion": [MESSAGE],
        "dialogue_id": "string",
        "turn": "int32",
        "correct": "bool",
        "solved_at": "int32",
    },
    "critiques": {
        "prompt": [MESSAGE],
        "completion": [MESSAGE],
        "dialogue_id": "string",
        "turn": "int32",
        "kind": "string",
    },
}


def features(config: str) -> Any:
    """The fixed `datasets.Features` of a config: types never depend on the first row."""
    from datasets import Features, List, Value

    def build(node: Any) -> Any:
        if isinstance(node, str):
            return Value(node)
        if isinstance(node, list):
            return List(build(node[0]))
        return {name: build(kind) for name, kind in node.items()}

    return Features(build(COLUMNS[config]))


def write_parquet(path: Path, config: str, rows: Iterable[dict[str, Any]], group: int = 2048) -> int:
    """Write the rows of a config as Parquet, `group` rows in memory at a time; returns how many there were.

    The file is renamed into place when it is whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = features(config).arrow_schema
    part = path.with_name(f".{path.name}.part")
    count = 0
    rows = iter(rows)
    try:
        with pq.ParquetWriter(part, schema) as writer:
            while batch := list(islice(rows, group)):
                writer.write_table(pa.Table.from_pylist(batch, schema))
                count += len(batch)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def sft_rows(dialogue: dict[str, Any]) -> list[dict[str, Any]]:
    """One row an attempt: the public history as prompt, the attempt as completion."""
    rows = []
    for i, turn in enumerate(dialogue["turns"]):
        rows.append(
            {
                "prompt": dialogue["messages"][: 2 * i + 1],
                "completion": [{"role": "assistant", "content": turn["attempt"]}],
                "dialogue_id": dialogue["dialogue_id"],
                "turn": i + 1,
                "correct": turn["correct"],
                "solved_at": dialogue["solved_at"],
            }
        )
    return rows


def critique_rows(dialogue: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a piece of feedback: the history up to the wrong attempt, then what the teacher said. No privilege."""
    rows = []
    for i, turn in enumerate(dialogue["turns"]):
        if turn["feedback"] is None:
            continue
        rows.append(
            {
                "prompt": dialogue["messages"][: 2 * i + 2],
                "completion": [{"role": "user", "content": turn["feedback"]}],
                "dialogue_id": dialogue["dialogue_id"],
                "turn": i + 1,
                "kind": turn["feedback_kind"],
            }
        )
    return rows


def build_configs(tasks: dict[str, list[Task]], dialogues: list[dict[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    """Rows of every config and split that has any: `datasets` cannot load an empty one (`critiques` without feedback)."""
    every = {
        "dialogues": {"train": dialogues},
        "tasks": {split: [t.to_row() for t in rows] for split, rows in tasks.items()},
        "sft": {"train": [row for d in dialogues for row in sft_rows(d)]},
        "critiques": {"train": [row for d in dialogues for row in critique_rows(d)]},
    }
    kept = {name: {split: rows for split, rows in splits.items() if rows} for name, splits in every.items()}
    return {name: splits for name, splits in kept.items() if splits}


def dataset_fingerprint(configs: dict[str, dict[str, list[Any]]]) -> str:
    """Equal content, equal string, wherever and whenever it was made.

    The student's revision is left out: a commit's name depends on when it was pushed, its weights do not.
    """

    def timeless(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"student": row["student"].partition("@")[0]} if "student" in row else row

    parts = ((name, split, row) for name, splits in configs.items() for split, rows in splits.items() for row in rows)
    return fingerprint([name, split, timeless(row)] for name, split, row in parts)


def publish(run: Run, namespace: str) -> dict[str, Any]:
    """Pushes the dataset; returns {repo_id, revision, url, fingerprint, rows}."""
    from datasets import Dataset, DatasetDict
    from huggingface_hub import HfApi

    from rl2f_hub.cards import dataset_card

    recipe = run.recipe
    tasks = {split: run.tasks(split) for split in ("train", "eval", "ood")}
    configs = build_configs(tasks, generated_rows(run))
    repo_id = f"{namespace}/{recipe.hub.dataset}"
    api = HfApi()
    with hub_errors(repo_id), bar("publish", len(configs) + 1, "configs") as advance:
        url = api.create_repo(repo_id, repo_type="dataset", private=recipe.hub.private, exist_ok=True)
        for name, splits in configs.items():
            tables = {s: Dataset.from_list(rows, features=features(name)) for s, rows in splits.items()}
            DatasetDict(tables).push_to_hub(repo_id, config_name=name, commit_message=f"{name}: {recipe.name}")
            advance(1, note=name)
        card = dataset_card(run, repo_id, configs, dataset_fingerprint(configs))
        revision = card.push_to_hub(repo_id, repo_type="dataset", commit_message="Dataset card").oid
        advance(1, note="card")
    return {
        "repo_id": repo_id,
        "revision": revision,
        "url": str(url),
        "fingerprint": dataset_fingerprint(configs),
        "rows": {f"{name}/{split}": len(rows) for name, s in configs.items() for split, rows in s.items()},
    }
