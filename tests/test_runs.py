"""The run folder: whole files or none, stages that are done once, checkpoints that are whole or gone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from rl2f_hub import pipeline, runs
from rl2f_hub.cli import _refused
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe import load_recipe
from rl2f_hub.runs import MARKER, Run, latest_checkpoint, write_atomic


def test_a_full_disk_leaves_the_old_file_and_one_line(tmp_path, monkeypatch):
    file = tmp_path / "figures.json"
    write_atomic(file, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # a disk cannot be filled up here
    with pytest.raises(RL2FError, match=r"figures\.json: cannot be written: No space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EROFS, "Read-only file system", "x"), "x: cannot be written: Read-only file system"),
        (OSError(errno.EFBIG, "File too large"), "output: cannot be written: File too large"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "output: cannot be written: I/O error"),
        (RuntimeError("Disk quota exceeded (os error 122)"), "output: cannot be written: Disk quota"),
        (MemoryError(), "memory: none left (MemoryError)"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory: none left ("),
        (
            RuntimeError("DefaultCPUAllocator: can't\nallocate"),
            "memory: none left (DefaultCPUAllocator: can't allocate)",
        ),
    ],
)
def test_a_lack_of_space_or_memory_is_recognised_also_within_a_librarys_error(error: Exception, words: str) -> None:
    assert str(_refused(error)).startswith(words)
    try:
        try:
            raise error
        except Exception as cause:
            raise ValueError("the library's words") from cause
    except ValueError as wrapped:
        assert str(_refused(wrapped)).startswith(words)
    assert "\n" not in str(_refused(error))
    no_folder = FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")
    assert str(_refused(no_folder)).startswith("TMPDIR: ")
    assert _refused(RuntimeError("something else")) is None


def test_half_written_checkpoints_are_thrown_away(tmp_path):
    for step, whole in ((2, True), (4, True), (10, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if whole:
            (folder / MARKER).write_text(str(step))
    assert latest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert not (tmp_path / "checkpoint-10").exists()
    assert latest_checkpoint(tmp_path / "nothing") is None


def test_a_stage_that_failed_is_not_done_and_keeps_its_time(tmp_path):
    run = Run.open(load_recipe("quickstart"), tmp_path / "r")
    with pytest.raises(ZeroDivisionError), run.stage("base"):
        raise ZeroDivisionError
    assert not run.done("base")
    with pytest.raises(UsageError, match="has not run"):
        run.outputs("base")
    with run.stage("base") as outputs:
        outputs["repo_id"] = "me/x"
    saved = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert saved["stages"]["base"]["status"] == "done"
    assert run.outputs("base") == {"repo_id": "me/x"}


def test_another_recipe_cannot_go_on_in_a_run_folder(tmp_path):
    with Run.open(load_recipe("quickstart"), tmp_path / "r").stage("base") as outputs:
        outputs["repo_id"] = "me/x"
    other = load_recipe("quickstart", ["seed=8"])
    with pytest.raises(UsageError, match="another recipe"):
        Run.open(other, tmp_path / "r", resume=True)
    with pytest.raises(UsageError, match="--resume"):
        Run.open(load_recipe("quickstart"), tmp_path / "r")
    assert Run.open(other, tmp_path / "r", overwrite=True).manifest["seed"] == 8


def test_a_run_that_was_refused_before_it_made_anything_starts_anew_with_the_mended_recipe(tmp_path):
    run = Run.open(load_recipe("quickstart"), tmp_path / "r")
    with pytest.raises(UsageError), run.stage("base"):
        run.path("tasks", "train.jsonl").write_text("{}")
        raise UsageError("tasks.train[0]: a column that is not there")
    mended = load_recipe("quickstart", ["seed=8"])
    assert Run.open(mended, tmp_path / "r").manifest["seed"] == 8  # with and without --resume
    assert not (tmp_path / "r" / "tasks").exists()
    run = Run.open(load_recipe("quickstart"), tmp_path / "r", resume=True)
    with pytest.raises(ZeroDivisionError), run.stage("generate"):
        run.path("generate", "shard.jsonl").write_text("{}")
        raise ZeroDivisionError
    with pytest.raises(UsageError, match="--overwrite"):  # here is something to lose
        Run.open(mended, tmp_path / "r", resume=True)


def test_forgetting_a_stage_forgets_the_later_ones(tmp_path):
    run = Run.open(load_recipe("quickstart"), tmp_path / "r")
    for stage in ("base", "generate", "publish", "evaluate"):
        with run.stage(stage):
            run.path("evaluation" if stage == "evaluate" else stage, "file").write_text("x")
    run.forget_from("publish")
    assert run.done("generate")
    assert not run.done("publish")
    assert not (tmp_path / "r" / "evaluation").exists()
    assert (tmp_path / "r" / "generate" / "file").exists()


def test_a_finished_checkpoint_is_loaded_and_not_trained_on(tmp_path, tokenizer, make_model):
    """Killed between its last checkpoint and its result, a training ends with the weights of that checkpoint."""
    import torch
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from rl2f_hub.training.callbacks import WholeCheckpoints, train_to_end

    rows = [{"input_ids": [5, 6, 7, i % 9 + 5], "labels": [5, 6, 7, i % 9 + 5]} for i in range(64)]

    def trainer() -> Trainer:
        args = TrainingArguments(
            output_dir=str(tmp_path), max_steps=4, save_steps=2, per_device_train_batch_size=4, use_cpu=True,
            bf16=False, report_to="none", disable_tqdm=True, learning_rate=1e-2,
        )  # fmt: skip
        return Trainer(
            model=make_model(), args=args, train_dataset=Dataset.from_list(rows),
            data_collator=DataCollatorForSeq2Seq(tokenizer), callbacks=[WholeCheckpoints()],
        )  # fmt: skip

    first = trainer()
    train_to_end(first, None, 4)
    again = trainer()
    train_to_end(again, latest_checkpoint(tmp_path), 4)
    assert again.state.global_step == 4
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_interrupt_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    write_atomic(file, "old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


HOLD = """
import sys, time
from pathlib import Path
from rl2f_hub.runs import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_processes_do_not_work_in_one_folder_and_a_dead_ones_lock_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LOCK_S", 0.2)
    recipe = load_recipe("quickstart")
    run = Run.open(recipe, tmp_path / "run")
    half = run.dir / "generate" / ".rows.jsonl.1.tmp"
    half.parent.mkdir()
    half.write_text("half")
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(run.dir)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        for work in (
            lambda: Run.open(recipe, run.dir, resume=True),  # would remove what the other is writing
            lambda: Run.open(recipe, run.dir, overwrite=True),
            lambda: run.forget_from("generate"),
            lambda: pipeline.run_stages(run, ("generate",)),
        ):
            with pytest.raises(UsageError, match="another rl2f works in"):
                work()
        assert half.is_file() and (run.dir / "manifest.json").is_file()
    finally:
        other.kill()
        other.wait()
    assert Run.open(recipe, run.dir, resume=True).manifest["stages"] == {}
    assert not half.exists()
    assert Run.open(recipe, run.dir, overwrite=True).dir.is_dir()
