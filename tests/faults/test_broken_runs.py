"""A part of `broken_runs.py` and `soak.py` that fits into CI: one stop by each signal, and that their eyes are open."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from broken_runs import SIGNALS, Stop, broken_files, broken_run, descendants, plans_of, still_there
from soak import verdict


def test_a_run_stopped_by_each_signal_loses_nothing(finished: Path, tmp_path: Path) -> None:
    """Every whole file is whole, no process stays, and the resumed run has the unbroken run's figures."""
    plans = plans_of("23", finished, tuple(SIGNALS), ("generate", "train", "evaluate"), stretch=(0.2,))
    made: list[Stop] = []
    # A moment measured on a machine that was busier then can come after the stage: what is missing is stopped where it begins.
    for stretch in (1, 0):
        missing = [plan for plan in plans if plan.signal not in {stop.signal for stop in made}]
        if missing:
            made += broken_run(
                tmp_path / "broken", finished, [replace(plan, after_s=plan.after_s * stretch) for plan in missing]
            )
    assert {stop.signal for stop in made} == set(SIGNALS)
    assert [stop for stop in made if stop.lost or stop.resumed_s <= 0] == []


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


def samples(**rise: float) -> list[dict[str, float]]:
    """Two hours of rounds, memory in a sawtooth as garbage collection makes it, and what rises with every round."""
    flat = {"rss_mib": 500.0, "files": 10.0, "threads": 3.0, "children": 1.0}
    return [
        {"hours": n / 100, **{name: value + n * rise.get(name, 0) for name, value in flat.items()}, "saw": n % 7}
        for n in range(200)
    ]


def test_what_grows_in_a_soak_is_seen() -> None:
    for saw in (0.0, 3.0):
        level = [{**s, "rss_mib": s["rss_mib"] + saw * s["saw"]} for s in samples()]
        assert verdict(level)["flat"]
    assert not verdict(samples(rss_mib=0.1))["flat"]
    assert not verdict(samples(files=0.02))["flat"]
    assert not verdict(samples(children=0.01))["flat"]
    with pytest.raises(ValueError, match="too few"):
        verdict(samples()[:9])
