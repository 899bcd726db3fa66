"""The recorded dialogues of a run as Parquet shards on disk, with an index of what they hold. One pass, constant memory.

`index.json` is written last: with it everything is whole, and the stage goes on with sending. It keeps what the card
says about the data (counts, turn of the first right attempt, sources), so that no number of a card is computed anywhere
else. For an `append` the shards are numbered after those on the Hub, and rows that are there already are left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl2f_hub.generate import each_row
from rl2f_hub.publish.schema import COLUMNS, DERIVED, SPLITS
from rl2f_hub.publish.shards import Limits, ShardWriter
from rl2f_hub.records import fingerprint
from rl2f_hub.runs import Run, write_json
from rl2f_hub.runtime.progress import bar

EXAMPLE_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Existing:
    """What an append adds to: the index of the data set on the Hub, and the ids of its rows."""

    index: dict[str, Any] = field(default_factory=dict)
    dialogues: frozenset[tuple[str, str, str]] = frozenset()  # (dialogue_id, student without revision, teacher)
    ids: frozenset[str] = frozenset()
    tasks: Mapping[str, str] = field(default_factory=dict)  # task_id -> `prompt_digest`

    def shards(self, name: str) -> list[dict[str, Any]]:
        return list(self.index.get("shards", {}).get(name, []))


def configs_of(preferences: bool) -> tuple[str, ...]:
    return tuple(name for name in COLUMNS if preferences or name != "preferences")


def columns_digest(configs: tuple[str, ...]) -> str:
    """Equal for data sets whose shards may stand beside each other."""
    return fingerprint([name, COLUMNS[name]] for name in configs)[:16]


def build(run: Run, existing: Existing | None = None, limits: Limits | None = None) -> dict[str, Any]:
    """Writes the shards of a run below `publish/data`, or finds them there; returns their index.

    The index: {columns, fingerprint, shards: {"config/split": [Shard]}, stats, part}. Configs without rows have no
    entry: `datasets` could not load them.
    """
    existing = existing or Existing()
    folder, file = run.path("publish", "data"), run.path("publish", "index.json")
    configs = configs_of(run.recipe.hub.preferences)
    ground = fingerprint([existing.index.get("shards", {}), sorted(existing.ids)])[:16]
    made = {"columns": columns_digest(configs), "ground": ground}
    if file.is_file():
        index = json.loads(file.read_text(encoding="utf-8"))
        if {key: index[key] for key in made} == made:
            return index
    shutil.rmtree(folder, ignore_errors=True)
    file.unlink(missing_ok=True)
    writers = {
        f"{config}/{split}": ShardWriter(
            folder, config, split, len(existing.shards(f"{config}/{split}")), limits or Limits()
        )
        for config in configs
        for split in SPLITS.get(config, ("train",))
    }
    stats, part = Stats(), run.manifest["fingerprint"][:8]
    others: set[str] = set()  # ids of our tasks that are those of other tasks on the Hub
    try:
        for split in SPLITS["tasks"]:
            for row in task_rows(run, split):
                digest = prompt_digest(row["prompt"])
                if existing.tasks.get(row["task_id"], digest) != digest:
                    others.add(row["task_id"])
                    row["task_id"] = f"{row['task_id']}#{part}"
                if row["task_id"] not in existing.tasks:
                    row["source"] = public_source(row["source"])
                    writers[f"tasks/{split}"].add(row)
                    stats.task(row)
        with bar("publish: Parquet", run.outputs("generate")["counts"]["dialogues"], "dialogues") as advance:
            for row in each_row(run, run.outputs("generate")["shards"]):
                advance(1)
                if row["task_id"] in others:
                    row |= {"task_id": f"{row['task_id']}#{part}", "dialogue_id": f"{row['dialogue_id']}#{part}"}
                fresh = renamed(row, existing, part)
                if fresh is None:
                    stats.there += 1
                    continue
                stats.dialogue(fresh)
                writers["dialogues/train"].add(fresh)
                for config, derive in DERIVED.items():
                    if config in configs:
                        for derived in derive(fresh):
                            writers[f"{config}/train"].add(derived)
        shards = {name: writer.close() for name, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.abort()
    digests = [[name, w.digest] for name, w in writers.items() if not name.startswith("preferences/") and w.rows]
    index = {
        **made,
        "fingerprint": fingerprint(digests),
        "shards": {name: [shard.to_json() for shard in found] for name, found in shards.items() if found},
        "rows": {name: writer.rows for name, writer in writers.items() if writer.rows},
        "stats": stats.to_json(),
    }
    write_json(file, index)
    return index


def task_rows(run: Run, split: str) -> Iterator[dict[str, Any]]:
    """The task rows of a split, one at a time."""
    file = run.dir / "tasks" / f"{split}.jsonl"
    if not file.is_file():
        run.tasks(split)
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def prompt_digest(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def renamed(row: dict[str, Any], existing: Existing, part: str) -> dict[str, Any] | None:
    """A dialogue for an append: None if it is there already; with another id if its id belongs to somebody else's."""
    names = [row["dialogue_id"], f"{row['dialogue_id']}#{part}"]
    if any((name, row["student"].partition("@")[0], row["teacher"]) in existing.dialogues for name in names):
        return None
    return row | {"dialogue_id": names[1]} if names[0] in existing.ids else row


class Stats:
    """What the card says about the rows, counted as they pass."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.solved_at: Counter[int] = Counter()
        self.stops: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.privileges: Counter[str] = Counter()
        self.there = 0
        self.example: list[dict[str, str]] | None = None
        self._late = False

    def task(self, row: dict[str, Any]) -> None:
        self.sources[row["source"]] += 1
        self.privileges[row["privilege"]] += 1

    def dialogue(self, row: dict[str, Any]) -> None:
        self.counts["dialogues"] += 1
        self.counts["turns"] += len(row["turns"])
        self.solved_at[row["solved_at"]] += 1
        self.stops[row["stop_reason"]] += 1
        for turn in row["turns"]:
            self.counts["feedback_turns"] += turn["feedback"] is not None
            self.counts["leaked_turns"] += bool(turn["leaked"])
            self.counts["cut_turns"] += bool(turn.get("cut"))
        late = row["solved_at"] > 1
        short = sum(len(m["content"]) for m in row["messages"]) <= EXAMPLE_CHARACTERS
        if short and (self.example is None or (late and not self._late)):  # solved late if there is one
            self.example, self._late = row["messages"], late

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": {key: self.counts[key] for key in sorted(self.counts)},
            "solved_at": {str(turn): n for turn, n in sorted(self.solved_at.items())},
            "stop_reasons": dict(sorted(self.stops.items())),
            "sources": dict(sorted(self.sources.items())),
            "privileges": dict(sorted(self.privileges.items())),
            "already_there": self.there,
            "example": self.example,
        }


def public_source(source: str) -> str:
    """The name of a task's source without the folders of the machine that it was read on."""
    kind, colon, rest = source.partition(":")
    if not colon or kind not in ("jsonl", "csv", "tsv", "parquet", "python"):
        return source
    return f"{kind}:{Path(rest).name}"
