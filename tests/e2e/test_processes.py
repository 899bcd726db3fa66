"""One recipe on two processes of accelerate (gloo, CPU) gives what one process gives, weights sharded or not, and a killed
one ends it cleanly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from . import shrunken

CONFIGS = Path(__file__).parents[2] / "recipes" / "accelerate"
ON_CPU = Path(__file__).parents[1] / "scale" / "sharded_on_cpu.py"
CHANGES: dict[str, object] = {
    "evaluate.suites": "[teacher, shuffled]",
    "train.steps": 6,
    "train.save_steps": 1,
    "train.resample_rounds": 1,
    "tasks.ood": "[]",
}


def launched(out: Path, *more: str, config: str = "ddp") -> list[str]:
    small = {k: v for k, v in shrunken.SMALLER.items() if not k.startswith("tasks.ood")}
    sets = [f"--set={key}={value}" for key, value in {**small, **CHANGES}.items()]
    start = ["accelerate.commands.launch", "--config_file", str(CONFIGS / f"{config}.yaml"), "--num_processes", "2"]
    program = [str(ON_CPU)] if config == "fsdp" else ["-m", "rl2f_hub"]
    return [sys.executable, "-m", *start, *program, "run", str(shrunken.RECIPE), "--out", str(out), *sets, *more]


def launch(out: Path, *more: str, config: str = "ddp") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        launched(out, *more, config=config),
        capture_output=True,
        text=True,
        env=shrunken.environment(),
        timeout=900,
        cwd=out.parent,
        check=False,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on one process. Its base is what both start from, so that pre-training is paid for once."""
    out = tmp_path_factory.mktemp("alone") / "run"
    small = {k: v for k, v in shrunken.SMALLER.items() if not k.startswith("tasks.ood")}
    sets = [f"--set={key}={value}" for key, value in {**small, **CHANGES}.items()]
    command = [sys.executable, "-m", "rl2f_hub", "run", str(shrunken.RECIPE), "--out", str(out), *sets]
    done = subprocess.run(
        command, capture_output=True, text=True, env=shrunken.environment(), timeout=900, cwd=out.parent, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def _base_of(alone: Path, folder: Path) -> Path:
    """A run folder that has `alone`'s base stage done, on a Hub of its own that holds it."""
    shutil.copytree(alone.parent / "hub", folder / "hub", ignore=shutil.ignore_patterns("server.*", "leases", "locks"))
    out = folder / "run"
    out.mkdir()
    shutil.copytree(alone / "tasks", out / "tasks")
    manifest = json.loads((alone / "manifest.json").read_text())
    manifest["stages"] = {"base": manifest["stages"]["base"]}
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


@pytest.fixture(scope="module")
def both(alone: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = _base_of(alone, tmp_path_factory.mktemp("both"))
    done = launch(out, "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout + done.stderr


def test_two_processes_generate_and_evaluate_the_same_dialogues(alone: Path, both: tuple[Path, str]) -> None:
    out, said = both
    for file in sorted((alone / "generate").glob("*.jsonl")):
        assert (out / "generate" / file.name).read_text() == file.read_text()
    played = sorted(p.name for p in (alone / "evaluation" / "dialogues").glob("base.*.jsonl"))
    assert played
    for name in played:  # of the students that learned, the last bit may differ: sums of two parts
        assert (out / "evaluation" / "dialogues" / name).read_text() == (
            alone / "evaluation" / "dialogues" / name
        ).read_text()
    lines = [line for line in said.splitlines() if line.startswith("generate: ")]
    assert sum(" dialogues in " in line for line in lines) == 1  # one bar, one writer
    assert sum(line.startswith("generate: none of ") for line in lines) <= 1  # and one who warns


def test_two_processes_learn_the_same_adapter(alone: Path, both: tuple[Path, str]) -> None:
    from safetensors.torch import load_file

    for name in ("warmup/adapter", "train/rl2f/adapter"):
        one, two = (load_file(str(run / name / "adapter_model.safetensors")) for run in (alone, both[0]))
        assert max(float((one[k] - two[k]).abs().max()) for k in one) < 2e-4, name
    results: list[dict[str, Any]] = [
        json.loads((run / "train" / "rl2f" / "result.json").read_text()) for run in (alone, both[0])
    ]
    assert results[0]["student_tokens"] == results[1]["student_tokens"]


def test_sharded_weights_learn_the_same_adapter_and_go_on_from_a_checkpoint(alone: Path, tmp_path: Path) -> None:
    """FSDP2, on the CPU; the second go does the last update again."""
    from safetensors.torch import load_file

    out = _base_of(alone, tmp_path)
    for attempt in range(2):
        done = launch(out, "--resume", "--only=generate,publish,warmup,train", config="fsdp")
        assert done.returncode == 0, done.stderr[-3000:]
        trained = out / "train" / "rl2f"
        checkpoints = sorted((trained / "trainer").glob("checkpoint-*"))
        assert all((folder / "pytorch_model_fsdp.bin").is_file() for folder in checkpoints)
        for name in ("warmup/adapter", "train/rl2f/adapter"):
            one, two = (load_file(str(run / name / "adapter_model.safetensors")) for run in (alone, out))
            assert one.keys() == two.keys()
            assert max(float((one[k] - two[k]).abs().max()) for k in one) < 2e-4, name
        if attempt == 0:
            shrunken.forget_last_update(out)


def test_a_job_makes_the_base_that_one_process_makes(alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = launch(out, "--only=base")
    assert done.returncode == 0, done.stderr[-3000:]
    files = [run / "base" / "model" / "model.safetensors" for run in (alone, out)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_killed_process_ends_the_job_with_a_word_and_a_checkpoint(alone: Path, tmp_path: Path) -> None:
    out = _base_of(alone, tmp_path)
    job = subprocess.Popen(
        launched(out, "--resume"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=shrunken.environment(),
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        checkpoints = out / "train" / "rl2f" / "trainer"
        until = time.monotonic() + 900
        while not list(checkpoints.glob("checkpoint-*/rl2f_complete")) and time.monotonic() < until:
            assert job.poll() is None, job.communicate()[1][-3000:]
            time.sleep(0.2)
        os.kill(_second(job.pid), signal.SIGKILL)
        said = job.communicate(timeout=900)[1]
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode != 0
    assert "another one was lost" in said or "another process was lost" in said
    assert "goes on from what is whole" in said
    from rl2f_hub.runs import latest_checkpoint

    assert latest_checkpoint(checkpoints) is not None


def _second(launcher: int) -> int:
    """The process of rank 1 below a launcher."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if b"RANK=1" in environment and parent == launcher:
            return int(folder.name)
    raise AssertionError("no process of rank 1")
