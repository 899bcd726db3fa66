"""Rows on their way to Parquet: whole files with fixed types, however few rows are in memory at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from rl2f_hub.publish import build_configs, features, write_parquet
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


def test_a_config_without_rows_is_left_out_since_it_could_not_be_loaded() -> None:
    turn = {"attempt": "5", "correct": False, "feedback": None, "feedback_kind": None}
    row = {"dialogue_id": "d", "messages": [{"role": "user", "content": "Q"}], "turns": [turn], "solved_at": 0}
    configs = build_configs({"train": [], "eval": []}, [row])
    assert set(configs) == {"dialogues", "sft"}
