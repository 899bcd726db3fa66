"""The first rows of a dataset's Parquet files, as a table for people. pyarrow is imported when a table is asked for."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from .history import Repo
from .names import PATH_BYTES
from .page import Html, fill, join
from .tree import Entry, Tree

ROWS, COLUMNS, CELL, TURNS = 20, 25, 400, 6
MOST_LOOKS = 200_000  # patterns of a card times files, for one page: the configurations after that are not shown
# One row group is read at once; a bigger one would cost too much memory for a look.
GROUP_BYTES = 256 * 1024 * 1024


def _patterns(data_files: Any) -> list[str]:
    """Every spelling of `data_files` in a card: a path, a list of paths, or a list of {split, path}."""
    items = data_files if isinstance(data_files, list) else [data_files]
    found: list[str] = []
    for item in items:
        value = item.get("path") if isinstance(item, dict) else item
        found += [str(v) for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
    return found


def configs(tree: Tree, data: dict[str, Any]) -> dict[str, list[str]]:
    """Configuration -> its Parquet files: as the card says, else one configuration per folder."""
    files = [path for path in tree if path.endswith(".parquet")]
    found: dict[str, list[str]] = {}
    said, looks = data.get("configs"), 0
    for config in said if isinstance(said, list) else []:
        if isinstance(config, dict) and isinstance(config.get("config_name"), str):
            patterns = [p.replace("**", "*") for p in _patterns(config.get("data_files")) if len(p) <= PATH_BYTES]
            looks += len(patterns) * len(files)
            if looks > MOST_LOOKS:
                break
            if matching := [path for p in patterns for path in files if fnmatchcase(path, p)]:
                found[config["config_name"]] = list(dict.fromkeys(matching))
    if not found:
        for path in sorted(files):
            found.setdefault(path.rpartition("/")[0] or "default", []).append(path)
    return found


def _cut(text: str, most: int = CELL) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _is_dialogue(value: Any) -> bool:
    return (
        bool(value)
        and isinstance(value, list)
        and all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in value)
    )


def cell(value: Any) -> Html:
    """One value, short. Messages of a conversation are shown turn by turn."""
    if value is None:
        return Html('<span class="dim">null</span>')
    if _is_dialogue(value):
        turns = [
            fill(
                '<div class="turn"><b>{role}</b> {text}</div>',
                role=_cut(str(t["role"]), 20),
                text=_cut(str(t["content"])),
            )
            for t in value[:TURNS]
        ]
        more = [fill('<div class="dim">{n} more turns</div>', n=len(value) - TURNS)] if len(value) > TURNS else []
        return join([*turns, *more])
    if isinstance(value, bytes):
        return fill('<span class="dim">{n} bytes</span>', n=len(value))
    if isinstance(value, str):
        return fill("{text}", text=_cut(value))
    if isinstance(value, (dict, list)):
        return fill("<code>{text}</code>", text=_cut(json.dumps(value, default=repr, ensure_ascii=False)))
    return fill("{text}", text=_cut(str(value)))


def table(repo: Repo, entry: Entry, path: str) -> Html:
    """The first rows of one Parquet file, or a line that says why there are none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(repo.blobs.path(entry.sha256)) as file:
            total, names = file.metadata.num_rows, file.schema_arrow.names[:COLUMNS]
            if file.metadata.num_row_groups and file.metadata.row_group(0).total_byte_size > GROUP_BYTES:
                return Html('<p class="note">The rows of this file come in groups too large for a preview.</p>')
            batch = next(file.iter_batches(batch_size=ROWS, columns=names), None)
            rows = batch.to_pylist() if batch is not None else []
            types = {field.name: str(field.type) for field in file.schema_arrow}
    except (pa.ArrowException, OSError, ValueError) as error:
        return fill('<p class="note">This file cannot be shown: {error}</p>', error=_cut(str(error), 200))
    head = [fill("<th>{name}<small>{type}</small></th>", name=_cut(n, 60), type=_cut(types[n], 40)) for n in names]
    body = [fill("<tr>{cells}</tr>", cells=join(fill("<td>{c}</td>", c=cell(row[n])) for n in names)) for row in rows]
    more = len(types) - len(names)
    hidden = f", {more} more columns" if more > 0 else ""
    return fill(
        '<div class="scroll"><table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        '<p class="dim small">First {shown} of {total} rows of {path}{hidden}</p>',
        head=join(head), body=join(body), shown=len(rows), total=f"{total:,}", hidden=hidden,
        path=path,
    )  # fmt: skip
