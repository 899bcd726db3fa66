"""Tasks from a local JSON Lines file: `source: "jsonl:<path>"`, one object a line with `prompt` and `reference`.

Optional fields: `task_id`, `domain`, `solution`, `verifier`. A bad row stops the load with its line number, or is
skipped and counted when the recipe says `on_bad_row: skip`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Privilege, Task
from rl2f_hub.verify import VERIFIERS

log = logging.getLogger(__name__)


def jsonl_tasks(path: str, where: str, seed: int, split: str, verifier: str, on_bad_row: str) -> Iterator[Task]:
    """The file's tasks in file order."""
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{where}.source: no file {path!r}; give the path of a JSON Lines file")
    skipped = 0
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _task(json.loads(line), file, number, seed, split, verifier)
            except ValueError as error:
                if on_bad_row == "fail":
                    raise UsageError(
                        f"{path}, line {number}: {error}; mend the row or set `on_bad_row: skip`"
                    ) from None
                skipped += 1
    if skipped:
        log.warning("%s: %d bad rows skipped", path, skipped)


def _task(row: object, file: Path, number: int, seed: int, split: str, verifier: str) -> Task:
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    for name in ("prompt", "reference"):
        if not isinstance(row.get(name), str | int | float) or isinstance(row.get(name), bool):
            raise ValueError(f"field {name!r} is {row.get(name)!r}, a text or number is needed")
    chosen = row.get("verifier", verifier)
    if chosen not in VERIFIERS or chosen == "reasoning_gym":
        raise ValueError(f"verifier {chosen!r} is unknown")
    return Task(
        task_id=str(row.get("task_id", f"{file.stem}-{number}")),
        source=f"jsonl:{file.name}",
        domain=str(row.get("domain", "text")),
        prompt=str(row["prompt"]).strip(),
        privilege=Privilege("answer", str(row["reference"]), str(row.get("solution", ""))),
        verifier=chosen,
        config=json.dumps({"line": number}),
        seed=seed,
        split=split,
    )
