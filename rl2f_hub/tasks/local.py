"""Tasks from files on this machine: `csv:<path>`, `tsv:<path>`, `jsonl:<path>` (JSON Lines) or `parquet:<path>`, by column names.

Without a mapping the columns `prompt` and `reference` are read, and `task_id`, `solution` and `domain` where the first
row has them. `verifier` may also be a column. Text is UTF-8, with or without a byte-order mark, or UTF-16; a line in
another encoding is a bad row. A CSV file begins with a line of names; its separator is the comma, semicolon or tab that
splits this line into most names, or the one that a spreadsheet's first line `sep=;` names. Every value of it is text.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Task
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.columns import rows_to_tasks

OPTIONAL = {"id": "task_id", "solution": "solution", "domain": "domain"}
SEPARATORS = (",", ";", "\t")
NO_UTF8 = "not UTF-8 text; save the file as UTF-8"


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
    return _parquet(file, request) if kind == "parquet" else _text_rows(file, kind, f"{request.at}: {request.name!r}")


def _text_rows(file: Path, kind: str, at: str) -> Iterator[tuple[int, Any]]:
    with file.open("rb") as raw:
        if kind == "jsonl":
            yield from json_lines(text_lines(raw, at))
        else:
            yield from csv_rows(text_lines(raw, at), at, "\t" if kind == "tsv" else None)


def _own_verifier(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "_verifier": row["verifier"]} if "verifier" in row else row


def text_lines(raw: BinaryIO, at: str) -> Iterator[str]:
    """The lines of a file with their ends; bytes that are not UTF-8 stay as lone surrogates, for `check_text`.

    Raises:
        UsageError: UTF-16 or UTF-32 that breaks off. `at` names the file.
    """
    encoding = json.detect_encoding(raw.read(4))
    raw.seek(0)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    try:
        yield from io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="")
    except UnicodeDecodeError:
        raise UsageError(f"{at}: begins as {encoding.upper()} and is {NO_UTF8}") from None


def check_text(text: str) -> None:
    """
    Raises:
        ValueError: `text` holds bytes that `text_lines` could not decode.
    """
    if not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text):
        raise ValueError(NO_UTF8)


def json_lines(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """(line number, value) of every line that is not blank; in place of a value the error that reading it gave."""
    for number, line in enumerate(lines, 1):
        line = line.lstrip("\ufeff")  # also where files with a mark were joined
        if line.strip():
            try:
                check_text(line)
                yield number, json.loads(line)
            except ValueError as error:
                yield number, error
            except RecursionError:
                yield number, ValueError("nested too deeply")


def csv_rows(lines: Iterator[str], at: str, separator: str | None = None) -> Iterator[tuple[int, Any]]:
    """(number of its last line, row) of a table, every value a text; in place of a row the error that reading it gave.

    Rows without any value are no rows. White space around the names of columns is not part of them.

    Args:
        separator: None to find it in the line of names.
    Raises:
        UsageError: names that cannot be read or come twice, a quote that is never closed. `at` names the file.
    """
    csv.field_size_limit(2**31 - 1)  # the library's own is 131,072 characters
    before = 0  # lines above the names
    head = ""
    for head in lines:
        if head[:4].casefold() == "sep=" and len(head.rstrip("\r\n")) == 5 and not before:
            separator = separator or head[4]
        elif head.strip():
            break
        before += 1
    separator = separator or max(SEPARATORS, key=lambda s: len(next(csv.reader([head], delimiter=s), ())))
    reader = csv.reader(itertools.chain([head], lines), delimiter=separator, strict=True)
    try:
        names = [name.strip() for name in next(reader, ())]
        check_text("".join(names))
    except (csv.Error, ValueError) as error:
        raise UsageError(f"{at}, line {before + 1}: no names of columns: {error}") from None
    if twice := [name for i, name in enumerate(names) if name and name in names[:i]]:
        raise UsageError(f"{at}: two columns are named {twice[0]!r}; give each its own name")
    while True:
        first = before + reader.line_num + 1
        try:
            values = next(reader, None)
            if values is None:
                return
            check_text("".join(values))
            if any(value.strip() for value in values[len(names) :]):
                raise ValueError(f"has more values than the {len(names)} columns named")
        except csv.Error as error:
            if "unexpected end of data" in str(error):  # all that follows is lost: no single bad row
                raise UsageError(
                    f"{at}, line {first}: not CSV (a quote is never closed, up to the end of the file); close it"
                ) from None
            yield before + reader.line_num, ValueError(f"not CSV ({error})")
        except ValueError as error:
            yield before + reader.line_num, error
        else:
            if any(value.strip() for value in values):
                padded = itertools.zip_longest(names, values[: len(names)])
                yield before + reader.line_num, dict(padded)


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
