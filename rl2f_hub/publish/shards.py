"""Rows become numbered Parquet shards with fixed types, however many rows there are: one row group is in memory at a time.

`<config>/<split>-00000.parquet`, `-00001`, ... Equal rows give equal files. The name of a shard does not say how many
there are, so that more can be added later without touching those that are there. Row groups are small and pages are
indexed: the Hub's viewer reads a page of rows without the rest, and streaming starts at once. A shard has its name
only when it is whole. Nothing here knows of Hubs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl2f_hub.publish.schema import features


@dataclass(frozen=True, slots=True)
class Limits:
    """When a row group and a shard end: at so many rows, or at about so many bytes of text."""

    group_rows: int = 1_000
    group_bytes: int = 16 * 2**20
    shard_rows: int = 100_000
    shard_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Shard:
    """`path` in the repository; `bytes` on disk; `arrow_bytes` in memory, once loaded."""

    path: str
    rows: int
    bytes: int
    arrow_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def shard_name(config: str, split: str, number: int) -> str:
    return f"{config}/{split}-{number:05d}.parquet"


class ShardWriter:
    """One split of one config. `add` rows, then `close`; `digest` is a fingerprint of all rows in order."""

    def __init__(self, folder: Path, config: str, split: str, first: int = 0, limits: Limits | None = None) -> None:
        self.folder, self.config, self.split, self.number = folder, config, split, first
        self.limits = limits or Limits()
        self.schema = features(config).arrow_schema
        self.shards: list[Shard] = []
        self.rows = 0
        self._hash = hashlib.sha256()
        self._group: list[dict[str, Any]] = []
        self._group_bytes = self._shard_bytes = self._shard_rows = self._arrow_bytes = 0
        self._writer: Any = None

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, row: dict[str, Any]) -> None:
        line = json.dumps(_timeless(row), sort_keys=True, ensure_ascii=False).encode()
        self._hash.update(line + b"\n")
        self._group.append(row)
        self._group_bytes += len(line)
        self.rows += 1
        if len(self._group) >= self.limits.group_rows or self._group_bytes >= self.limits.group_bytes:
            self._flush()
            if self._shard_rows >= self.limits.shard_rows or self._shard_bytes >= self.limits.shard_bytes:
                self._finish()

    def close(self) -> list[Shard]:
        """Writes what is left; the shards in order, none without rows."""
        self._flush()
        self._finish()
        return self.shards

    def abort(self) -> None:
        """Removes what is not whole. Harmless after `close`."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._part.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.folder / shard_name(self.config, self.split, self.number)

    @property
    def _part(self) -> Path:
        return self._path.with_name(f".{self._path.name}.part")

    def _flush(self) -> None:
        if not self._group:
            return
        import pyarrow as pa

        table = pa.Table.from_pylist(self._group, self.schema)
        if self._writer is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet_writer(self._part, self.schema)
        self._writer.write_table(table)
        self._shard_rows += len(self._group)
        self._shard_bytes += self._group_bytes
        self._arrow_bytes += table.nbytes
        self._group, self._group_bytes = [], 0

    def _finish(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self._part.replace(self._path)
        name = shard_name(self.config, self.split, self.number)
        self.shards.append(Shard(name, self._shard_rows, self._path.stat().st_size, self._arrow_bytes))
        self.number += 1
        self._shard_rows = self._shard_bytes = self._arrow_bytes = 0


def parquet_writer(path: Path, schema: Any) -> Any:
    """A Parquet writer with a page index, cut into pages by content, so that equal stretches of files are stored once."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema, write_page_index=True, use_content_defined_chunking=True)


def write_parquet(path: Path, config: str, rows: Iterable[dict[str, Any]], group: int = 1_000) -> int:
    """All `rows` of a `config` in the file `path`, also when there are none, `group` of them at a time; returns how many.

    The file is renamed into place when it is whole.
    """
    import pyarrow as pa

    schema = features(config).arrow_schema
    part = path.with_name(f".{path.name}.part")
    count, batch = 0, []
    try:
        with parquet_writer(part, schema) as writer:
            for row in rows:
                batch.append(row)
                if len(batch) == group:
                    writer.write_table(pa.Table.from_pylist(batch, schema))
                    count, batch = count + len(batch), []
            if batch:
                writer.write_table(pa.Table.from_pylist(batch, schema))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count + len(batch)


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the student's revision: a commit's name depends on when it was pushed, its weights do not."""
    return row | {"student": row["student"].partition("@")[0]} if row.get("student") else row
