"""A part of `broken_runs.py` that fits into CI: one stop by each signal, and that its eyes are open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from broken_runs import SIGNALS, broken_files, descendants, still_there, stops


def test_a_run_stopped_by_each_signal_loses_nothing(finished: Path, tmp_path: Path) -> None:
    """Every whole file is whole, no process stays, and the resumed run has the unbroken run's figures."""
    made = list(stops(tmp_path, finished, 3, seed=23, hows=tuple(SIGNALS)))
    assert {stop.signal for stop in made} == set(SIGNALS)
    assert [stop.lost for stop in made] == [[], [], []]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b'{"stages": {'),
        ("generate/dialogues-00000.jsonl", b'{"a": 1}\n{"a"'),
        ("generate/dialogues-00000.jsonl", b'{"a": 1}'),  # the end of a line is missing: more may be
        ("warmup/adapter/adapter_model.safetensors", b"\x08\0\0\0\0\0\0\0{}"),
    ],
)
def test_a_half_file_is_seen(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    assert [line.partition(":")[0] for line in broken_files(tmp_path)] == [name]


def test_what_a_resumed_run_removes_does_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "checkpoint-4"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{")  # no marker: not a checkpoint yet
    (tmp_path / ".manifest.json.17.tmp").write_text("{")
    (tmp_path / "manifest.json").write_text(json.dumps({}))
    assert broken_files(tmp_path) == []
    (folder / "rl2f_complete").touch()
    assert len(broken_files(tmp_path)) == 1


def test_a_process_that_stays_is_seen() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        family = descendants(sleeper.pid)
        assert len(still_there(family, patience=0.1)) == 1
    finally:
        sleeper.kill()
        sleeper.wait()
    assert still_there(family) == []
