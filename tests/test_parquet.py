"""Rows on their way to Parquet: whole files with fixed types, however few rows are in memory at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from rl2f_hub.publish import features, write_parquet
from rl2f_hub.publish.schema import COLUMNS, DERIVED, critique_rows, preference_rows, sft_rows
from rl2f_hub.publish.shards import Limits, ShardWriter
from rl2f_hub.records import Dialogue, Feedback, StopReason, Turn, Verdict


def rows(count: int) -> list[dict[str, Any]]:
    out = []
    for n in range(count):
        wrong = Turn("5", Verdict(False, 0.0, "5", "another"), Feedback("Wrong.", "value"), cut=n % 2 == 0)
        turns = (wrong,) * (n % 3)
        out.append(Dialogue(f"d/{n}", "d", "ask", turns, StopReason.TURN_LIMIT, "s", "t", "answer").to_row())
    return out


@pytest.mark.parametrize("group", [1, 3, 100])
def test_what_is_written_is_read_back_with_fixed_types(tmp_path: Path, group: int) -> None:
    file, given = tmp_path / "dialogues.parquet", rows(7)
    assert write_parquet(file, "dialogues", iter(given), group) == 7
    assert pq.read_table(file).to_pylist() == given
    loaded = load_dataset("parquet", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == features("dialogues")
    assert pq.ParquetFile(file).num_row_groups == -(-7 // group)


def test_no_rows_are_a_file_with_the_same_types(tmp_path: Path) -> None:
    assert write_parquet(tmp_path / "none.parquet", "sft", []) == 0
    assert pq.read_schema(tmp_path / "none.parquet").names == list(features("sft"))


def test_a_row_that_cannot_be_written_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    bad = rows(2)
    bad[1]["solved_at"] = "never"
    with pytest.raises(Exception, match=r"never|int"):
        write_parquet(tmp_path / "d.parquet", "dialogues", bad, group=1)
    assert list(tmp_path.iterdir()) == []
    writer = ShardWriter(tmp_path, "dialogues", "train", limits=Limits(group_rows=1))
    with pytest.raises(Exception, match=r"never|int"):
        for row in bad:
            writer.add(row)
    writer.abort()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "limits",
    [
        Limits(group_rows=2, shard_rows=4),
        Limits(group_rows=3, shard_rows=3),
        Limits(group_bytes=1, shard_bytes=1),
        Limits(),
    ],
)
def test_shards_hold_all_rows_in_order_within_their_limits(tmp_path: Path, limits: Limits) -> None:
    given = rows(11)
    writer = ShardWriter(tmp_path, "dialogues", "train", limits=limits)
    for row in given:
        writer.add(row)
    shards = writer.close()
    assert [s.path for s in shards] == [f"dialogues/train-{n:05d}.parquet" for n in range(len(shards))]
    assert [row for s in shards for row in pq.read_table(tmp_path / s.path).to_pylist()] == given
    for shard in shards:
        file = pq.ParquetFile(tmp_path / shard.path)
        assert shard.rows == file.metadata.num_rows <= limits.shard_rows
        assert shard.bytes == (tmp_path / shard.path).stat().st_size
        assert all(file.metadata.row_group(g).num_rows <= limits.group_rows for g in range(file.num_row_groups))
        assert all(
            file.metadata.row_group(g).column(c).has_offset_index  # the page index that the Hub's viewer asks for
            for g in range(file.num_row_groups)
            for c in range(file.metadata.num_columns)
        )
    assert [p.name for p in tmp_path.rglob(".*")] == []


def test_equal_rows_give_equal_files_and_numbers_go_on(tmp_path: Path) -> None:
    made = []
    for folder, first in ((tmp_path / "a", 0), (tmp_path / "b", 5)):
        writer = ShardWriter(folder, "dialogues", "train", first, Limits(group_rows=2, shard_rows=4))
        for row in rows(10):
            writer.add(row)
        made.append(([(folder / s.path).read_bytes() for s in writer.close()], writer.digest))
    assert made[0] == made[1]
    assert sorted(p.name for p in (tmp_path / "b" / "dialogues").iterdir())[0] == "train-00005.parquet"


def test_the_digest_follows_the_rows_but_not_the_revision_of_the_student(tmp_path: Path) -> None:
    def digest(**changes: Any) -> str:
        writer = ShardWriter(tmp_path, "dialogues", "train")
        writer.add(rows(1)[0] | changes)
        return writer.digest

    assert digest(student="m@1") == digest(student="m@2") != digest(student="n@1")
    assert digest(teacher="a") != digest(teacher="b")


def solved_late() -> dict[str, Any]:
    wrong = [Turn(a, Verdict(False, 0.0, a, "no"), Feedback(f"not {a}", "value")) for a in ("1", "2")]
    turns = (*wrong, Turn("3", Verdict(True, 1.0, "3", "yes")))
    return Dialogue("d/0", "d", "ask", turns, StopReason.SOLVED, "s", "t", "answer").to_row()


def test_derived_rows_hold_the_public_history_and_nothing_later() -> None:
    row = solved_late()
    said = [m["content"] for m in row["messages"]]
    assert said == ["ask", "1", "not 1", "2", "not 2", "3"]
    for made, last in ((sft_rows, "completion"), (critique_rows, "completion"), (preference_rows, "rejected")):
        for derived in made(row):
            before = [m["content"] for m in derived["prompt"]]
            assert said[: len(before) + 1] == [*before, derived[last][0]["content"]]
    assert [r["chosen"][0]["content"] for r in preference_rows(row)] == ["3", "3"]
    assert [len(make(row)) for make in DERIVED.values()] == [3, 2, 2]


def test_an_unsolved_dialogue_prefers_nothing() -> None:
    row = rows(3)[2]
    assert row["turns"]
    assert preference_rows(row) == []


@pytest.mark.parametrize("config", list(DERIVED))
def test_derived_rows_have_the_columns_that_are_declared(config: str) -> None:
    for row in DERIVED[config](solved_late()):
        assert list(row) == list(COLUMNS[config])
