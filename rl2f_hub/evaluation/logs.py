"""The dialogues of an evaluation as rows that others can use: Parquet with fixed features, and a data set on the Hub.

One row a dialogue, with everything the figures were made from. The tasks' references are in it: a published log is a
published benchmark, so it is private unless somebody says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl2f_hub.records import Task
from rl2f_hub.runs import read_rows

TURN: dict[str, Any] = {
    "attempt": "string",
    "answer": "string",
    "correct": "bool",
    "score": "float64",
    "reason": "string",
    "feedback": "string",
    "feedback_kind": "string",
    "leaked": "bool",
    "cut": "bool",
    "student_tokens": "int32",
    "heard_tokens": "int32",
    "gold_logp": "float64",  # this and the next two: null where the suite does not ask
    "accepted": "bool",
    "confidence": "float64",
}
COLUMNS: dict[str, Any] = {
    "model": "string",
    "suite": "string",
    "decoding": "string",
    "seed": "int64",
    "dialogue_id": "string",
    "task_id": "string",
    "source": "string",
    "reference": "string",
    "messages": [{"role": "string", "content": "string"}],
    "turns": [TURN],
    "solved_at": "int32",
    "stop_reason": "string",
    "student": "string",
    "teacher": "string",
    "hint": "string",
    "sampling": "string",
}


def features() -> Any:
    """The fixed `datasets.Features` of a log."""
    from datasets import Features, List, Value

    def build(node: Any) -> Any:
        if isinstance(node, str):
            return Value(node)
        if isinstance(node, list):
            return List(build(node[0]))
        return {name: build(kind) for name, kind in node.items()}

    return Features(build(COLUMNS))


def log_row(row: dict[str, Any], model: str, suite: str, task: Task | None) -> dict[str, Any]:
    """A dialogue row with the columns of a log, no more and no fewer."""
    temperature = json.loads(row["sampling"]).get("temperature", 0)
    more = {
        "model": model,
        "suite": suite,
        "decoding": "sampled" if temperature else "greedy",
        "reference": task.privilege.reference if task else None,
    }
    whole = {**row, **more}
    turns = [{name: turn.get(name) for name in TURN} for turn in row["turns"]]
    return {name: whole.get(name) for name in COLUMNS} | {"turns": turns}


def write_log(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Log rows as one Parquet file, renamed into place when it is whole; returns how many there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = features().arrow_schema
    part = path.with_name(f".{path.name}.part")
    count, batch = 0, []
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for row in rows:
                batch.append(row)
                if len(batch) == 1024:
                    writer.write_table(pa.Table.from_pylist(batch, schema))
                    count, batch = count + len(batch), []
            writer.write_table(pa.Table.from_pylist(batch, schema))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count + len(batch)


def read_logs(folder: Path) -> list[tuple[str, str, Path]]:
    """(student, suite, file) of every file of dialogues below a folder: of `rl2f eval MODEL` or of a run's stage.

    The student is the name of the folder or the first part of the file's name.
    """
    out = []
    for root in (folder / "dialogues", folder / "evaluation" / "dialogues"):
        for file in sorted(root.rglob("*.jsonl")):
            parts = file.name.split(".")
            student, suite = (parts[0], parts[1]) if file.parent == root else (file.parent.name, parts[0])
            out.append((student, suite, file))
    return out


def each_row(files: Iterable[tuple[str, str, Path]]) -> Iterable[dict[str, Any]]:
    """Dialogue rows with `model` and `suite` filled in, one file in memory at a time."""
    for student, suite, file in files:
        for row in read_rows(file):
            yield row | {"model": row.get("student", student), "suite": suite}


def push_logs(out: Path, repo_id: str, result: dict[str, Any], private: bool) -> dict[str, Any]:
    """Push log, metrics, report and figures as one commit of a data set; returns {repo_id, revision, url}."""
    from huggingface_hub import CommitOperationAdd, DatasetCard, HfApi

    from rl2f_hub.runtime.hub_errors import hub_errors

    api = HfApi()
    files = {f.name: f for f in (*sorted(out.glob("*.png")), out / "metrics.json", out / "report.md")}
    files["data/train.parquet"] = out / "dialogues.parquet"
    operations = [CommitOperationAdd(path_in_repo=n, path_or_fileobj=str(f)) for n, f in files.items()]
    card = DatasetCard(_card(repo_id, result, (out / "report.md").read_text(encoding="utf-8")))
    operations.append(CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=str(card).encode()))
    with hub_errors(repo_id):
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        commit = api.create_commit(repo_id, operations, commit_message="Evaluation log", repo_type="dataset")
    return {"repo_id": repo_id, "revision": commit.oid, "url": str(url)}


def _card(repo_id: str, result: dict[str, Any], report: str) -> str:
    from rl2f_hub.tasks.catalogue import licence_of

    sources = sorted({s for suites in result["students"].values() for e in suites.values() for s in e["by_source"]})
    licences = ", ".join(f"{s}: {licence_of(s)}" for s in sources)
    head = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train.parquet\n"
        "tags:\n- rl2f\n- evaluation\n---\n\n"
    )
    use = f'```python\nfrom datasets import load_dataset\n\ndialogues = load_dataset("{repo_id}", split="train")\n```\n'
    return (
        f"{head}{use}\nOne row a dialogue, with the references of its tasks: do not train on it. Licences of the task "
        f"sources: {licences}.\n\n{report}"
    )
