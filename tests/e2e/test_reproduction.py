"""`rl2f reproduce` from end to end, shrunken: it goes on where it was killed, judges every claim and writes its page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.reproduction.page import RESULTS, read_results, readme

from . import shrunken, tiny_reproduction
from .left_over import descendants, still_there

pytestmark = pytest.mark.timeout(1500)  # less than a minute on a quiet machine


@pytest.fixture(scope="module")
def halted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(folder, what the second process said): the first one was killed in the middle of a variant's training."""
    out = tmp_path_factory.mktemp("reproduction") / "r"
    command = tiny_reproduction.command(out)
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=shrunken.environment(),
        cwd=out.parent,
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if "no-critique" in line:
                first.send_signal(signal.SIGKILL)
    done = tiny_reproduction.run(out, "--record", str(out.parent / "recorded"))
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stderr


@pytest.fixture(scope="module")
def results(halted: tuple[Path, str]) -> dict[str, Any]:
    return json.loads((halted[0] / RESULTS["scratch"]).read_text())


def test_it_goes_on_where_it_was_killed(halted: tuple[Path, str]) -> None:
    out, said = halted
    assert "/main" not in said and "no-critique" in said and "leaked" in said
    again = tiny_reproduction.run(out)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "part" not in again.stderr


def test_parts_side_by_side_end_as_one_after_the_other(results: dict[str, Any], tmp_path: Path) -> None:
    """Also where the command was killed, whose processes end with it."""
    out = tmp_path / "r"
    log = out / "seed-1" / "0.1M" / "main.log"
    command = tiny_reproduction.command(out, "--jobs", "2")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=shrunken.environment(), cwd=tmp_path) as first:
        while first.poll() is None and not (log.is_file() and "base (pre-training)" in log.read_text()):
            time.sleep(0.05)
        processes = descendants(first.pid)
        assert len(processes) > 2
        first.kill()
    assert still_there(processes, patience=120.0) == []
    manifest = json.loads((out / "seed-1" / "0.1M" / "main" / "manifest.json").read_text())
    assert "whole" not in manifest, "they ended with the command, and not when they were done"
    done = tiny_reproduction.run(out, "--jobs", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "base (pre-training)" not in done.stderr
    assert json.loads((out / RESULTS["scratch"]).read_text())["claims"] == results["claims"]


def test_ctrl_c_is_one_line_that_says_how_to_go_on(tmp_path: Path) -> None:
    command = tiny_reproduction.command(tmp_path / "r")
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=shrunken.environment(),
        cwd=tmp_path,
        start_new_session=True,
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if "base (pre-training)" in line:
                os.killpg(first.pid, signal.SIGINT)  # as a terminal does, to all processes
                break
        rest = first.stderr.read()
    assert first.returncode == 130
    assert "Traceback" not in rest
    assert "stopped; the same command goes on" in rest


def test_every_claim_has_a_table_tests_with_intervals_and_a_verdict(results: dict[str, Any]) -> None:
    assert list(results["claims"]) == list("123456789")
    for claim in results["claims"].values():
        assert claim["statement"] and claim["seeds"] == [1] and claim["table"]["rows"] and claim["tests"]
        assert all(len(row) == len(claim["table"]["columns"]) for row in claim["table"]["rows"])
        assert claim["holds"] is False  # on so few tasks nothing is shown
    assert results["hardware"]["cores"] and results["wall_s"] > 0


def test_variants_start_from_the_same_base_and_warm_up(halted: tuple[Path, str]) -> None:
    manifests = [json.loads(f.read_text()) for f in sorted((halted[0] / "seed-1" / "0.1M").glob("*/manifest.json"))]
    assert len(manifests) == 6
    assert len({json.dumps(m["stages"]["base"]["outputs"]) for m in manifests}) == 1
    adapters = {
        f.read_bytes() for f in (halted[0] / "seed-1" / "0.1M").glob("*/warmup/adapter/adapter_model.safetensors")
    }
    assert len(adapters) == 1


def test_the_guard_lets_a_leak_through_only_where_it_is_off(halted: tuple[Path, str]) -> None:
    """The same careless teacher, with and without the guard; and one who always states the answer."""
    guards = {
        name: json.loads((halted[0] / "seed-1/0.1M" / name / "train/rl2f/result.json").read_text())["guard"]
        for name in ("guarded", "unguarded", "leaked")
    }
    assert guards["guarded"].get("unguarded", 0) == 0
    assert guards["leaked"]["unguarded"] > 0 and guards["leaked"].get("passed", 0) == 0


def test_the_page_and_figures_come_from_the_results_alone(halted: tuple[Path, str]) -> None:
    out, _ = halted
    for folder in (out, out.parent / "recorded"):
        assert (folder / "README.md").read_text() == readme(read_results(folder))
        assert len(list((folder / "figures").glob("claim-*.png"))) == 9
