"""Tasks from files on this machine: `csv:<path>`, `jsonl:<path>` (JSON Lines) or `parquet:<path>`, by column names.

Without a mapping the columns `prompt` and `reference` are read, and `task_id`, `solution` and `domain` where the first
row has them. `verifier` may also be a column. A CSV file is UTF-8 with a line of names; its separator is the comma,
semicolon or tab that this line has most of. Every value of it is text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Task
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.columns import rows_to_tasks

OPTIONAL = {"id": "task_id", "solution": "solution", "domain": "domain"}


def tasks(request: Request) -> Iterator[Task]:
    """The file's tasks in file order.

    Raises:
        UsageError: no such file, not of its kind, or a bad row.
    """
    rows = file_rows(request)
    spec = request.spec
    mapping = {"prompt": spec.prompt or "prompt"}
    mapping |= {field: column for field, column in OPTIONAL.items() if getattr(spec, field) is None}
    if spec.reference is None and spec.tests is None:
        mapping["reference"] = "reference"
    request.spec = spec.model_copy(update=mapping)
    unit = "row" if spec.source.startswith("parquet:") else "line"
    yield from rows_to_tasks(rows, request, unit=unit, prefix=Path(request.name).stem, convert=_own_verifier)


def file_rows(request: Request) -> Iterator[tuple[int, Any]]:
    """(number, row) of a file as its rows are; in place of a line the error that reading it gave.

    Raises:
        UsageError: no such file, or not of its kind.
    """
    file = Path(request.name)
    if not file.is_file():
        raise UsageError(f"{request.at}.source: no file {request.name!r}; give the path of a file")
    kind = request.spec.source.partition(":")[0]
    return _json_file(file) if kind == "jsonl" else _csv_file(file) if kind == "csv" else _parquet(file, request)


def _own_verifier(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "_verifier": row["verifier"]} if "verifier" in row else row


def json_lines(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """(line number, value) of every line that is not blank; in place of a value the error that reading it gave."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, error
            except RecursionError:
                yield number, ValueError("nested too deeply")


def _json_file(file: Path) -> Iterator[tuple[int, Any]]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        yield from json_lines(lines)


def _csv_file(file: Path) -> Iterator[tuple[int, Any]]:
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        head = lines.readline()
        lines.seek(0)
        reader = csv.DictReader(lines, delimiter=max(",;\t", key=head.count), strict=True)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                yield reader.reader.line_num, ValueError(f"not CSV ({error})")
                continue
            if row is None:
                return
            if None in row:
                yield (
                    reader.reader.line_num,
                    ValueError(f"has more values than the {len(reader.fieldnames or ())} columns named"),
                )
            else:
                yield reader.reader.line_num, row


def _parquet(file: Path, request: Request) -> Iterator[tuple[int, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=1024):
            for row in _rows_of(batch):
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{request.at}.source: {request.name!r} is no readable Parquet file: {reason}") from None


def _rows_of(batch: Any) -> list[Any]:
    """The rows of an Arrow batch; in place of one that Python has no values for the error that reading it gave."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):  # no UTF-8, or a date before the year 1: find the row
        pass
    rows: list[Any] = []
    for at in range(batch.num_rows):
        try:
            rows += batch.slice(at, 1).to_pylist()
        except (ValueError, OverflowError) as error:
            rows.append(ValueError(f"a value cannot be read ({error})"))
    return rows
