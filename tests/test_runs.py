"""The run folder: whole files or none, stages that are done once, checkpoints that are whole or gone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl2f_hub import pipeline, runs
from rl2f_hub.cli import _refused
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe import load_recipe
from rl2f_hub.recipe.stages import FREE, NEEDS, change_of, stage_fingerprints
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


def all_done(folder: Path, *sets: str) -> Run:
    """A run of the quickstart every stage of which is done and has left a file."""
    run = Run.open(load_recipe("quickstart", sets), folder)
    run.path("tasks", "train.jsonl").write_text("")
    for stage in runs.STAGES:
        with run.stage(stage) as outputs:
            run.path("evaluation" if stage == "evaluate" else stage, "file").write_text(stage)
            outputs["of"] = stage
    for student in run.recipe.students:
        run.path("evaluation", "dialogues", f"{student}.teacher.greedy.jsonl").write_text(student)
    return run


def gone_on(folder: Path, *sets: str) -> Run:
    run = Run.open(load_recipe("quickstart", sets), folder, resume=True)
    run.go_on()
    return run


def test_a_run_goes_on_with_a_changed_recipe_from_what_is_still_valid(tmp_path, caplog):
    all_done(tmp_path / "r")
    run = Run.open(load_recipe("quickstart", ["warmup.rows=all"]), tmp_path / "r", resume=True)
    assert [stage for stage in runs.STAGES if run.done(stage)] == ["base", "generate", "publish"]
    with pytest.raises(
        UsageError, match=r"'warmup' was run .* with another recipe \(warmup.rows was \"solved\", is \"all\"\)"
    ):
        run.outputs("warmup")
    assert run.path("train", "file").is_file()  # looking changes nothing
    run.go_on()
    (said,) = caplog.messages
    assert "valid as it is: base, generate, publish; done again: warmup, train, evaluate, push (" in said
    assert run.path("generate", "file").read_text() == "generate"
    assert not (run.dir / "train").exists()
    again = Run.open(load_recipe("quickstart", ["warmup.rows=all"]), tmp_path / "r", resume=True)
    assert (again.change.keys, again.done("publish"), again.done("warmup")) == ({}, True, False)
    with again.stage("warmup") as outputs:
        again.path("warmup", "file").write_text("of all rows")
        outputs["of"] = "all rows"
    back = gone_on(tmp_path / "r")  # changed back: nothing has to be done twice
    assert back.outputs("warmup") == {"of": "warmup"}
    assert back.path("train", "file").read_text() == "train"
    assert back.outputs("evaluate") == {"of": "evaluate"}
    assert gone_on(tmp_path / "r", "warmup.rows=all").outputs("warmup") == {"of": "all rows"}


@pytest.mark.parametrize(
    ("change", "invalid", "opened"),
    [
        ("generate.temperature=0.5", "generate publish warmup train evaluate push", ""),
        ("dialogue.discount=0.5", "train evaluate push", ""),
        ("model.lora.r=3", "warmup train evaluate push", ""),
        ("train.steps=3", "train evaluate push", ""),
        ("evaluate.max_turns=9", "evaluate push", ""),
        ("train.baselines=[sft]", "", "train evaluate push"),
        ("evaluate.suites=[teacher]", "", "evaluate push"),
        ("engine.cache_tokens=512", "", ""),
        ("train.save_steps=3", "", ""),
        ("hub.preferences=true", "", ""),
    ],
)
def test_a_key_concerns_the_stages_that_depend_on_it(change: str, invalid: str, opened: str) -> None:
    before, after = (load_recipe("quickstart", sets).model_dump(mode="json") for sets in ([], [change]))
    found = change_of(before, after)
    assert found.invalid == set(invalid.split())
    assert found.open == set(opened.split())
    same = stage_fingerprints(before), stage_fingerprints(after)
    assert {stage for stage in NEEDS if same[0][stage] != same[1][stage]} == found.invalid


def test_a_key_that_no_stage_names_concerns_all_of_them() -> None:
    recipe = load_recipe("quickstart").model_dump(mode="json")
    assert change_of(recipe, recipe | {"novelty": 1}).invalid == set(NEEDS)
    named = [*FREE, *(key for needs in NEEDS.values() for key in needs.keys)]
    for section, value in recipe.items():
        for key in value if isinstance(value, dict) else [""]:
            at = f"{section}.{key}".rstrip(".")
            below = [name for name in named if at == name or at.startswith(f"{name}.") or name.startswith(f"{at}.")]
            assert below, f"recipe/stages.py: which stages depend on {at}?"


def test_what_only_adds_work_leaves_what_was_made(tmp_path):
    all_done(tmp_path / "r")
    run = gone_on(tmp_path / "r", "train.baselines=[single_turn_rl,sft]")
    assert [stage for stage in runs.STAGES if run.done(stage)] == ["base", "generate", "publish", "warmup"]
    assert run.path("train", "file").is_file()
    assert run.path("evaluation", "dialogues", "rl2f.teacher.greedy.jsonl").is_file()
    with run.stage("train") as outputs:
        run.path("train", "sft", "result.json").write_text("{}")
        run.path("train", "rejection_sft", "dialogues.jsonl").write_text("")
        outputs["of"] = "more"
    run.path("evaluation", "dialogues", "sft.teacher.greedy.jsonl").write_text("")
    run = gone_on(tmp_path / "r", "train.baselines=[single_turn_rl,sft]", "train.offline.steps=2")
    assert not run.done("train")
    assert not (run.dir / "train" / "sft" / "result.json").exists()
    assert (run.dir / "train" / "rejection_sft" / "dialogues.jsonl").exists()
    assert {p.name.split(".")[0] for p in (run.dir / "evaluation" / "dialogues").iterdir()} == {
        *("base", "warmup", "rl2f", "single_turn_rl")
    }


def test_another_training_keeps_the_dialogues_and_the_evaluation_of_the_students_before_it(tmp_path):
    all_done(tmp_path / "r")
    run = gone_on(tmp_path / "r", "train.steps=3")
    assert {p.name.split(".")[0] for p in (run.dir / "evaluation" / "dialogues").iterdir()} == {"base", "warmup"}
    run = gone_on(tmp_path / "r", "train.steps=3", "generate.temperature=0.5")
    assert not (run.dir / "generate").exists()
    assert len(list((run.dir / "old").glob("generate-*/file"))) == 1  # nobody's dialogues are thrown away


def test_a_run_folder_of_an_older_version_goes_on(tmp_path):
    run = all_done(tmp_path / "r")
    for entry in run.manifest["stages"].values():
        del entry["fingerprint"]
    del run.manifest["recipe"]["warmup"]["batch_size"]  # a key that came later, and is left at its default
    recipe = load_recipe("quickstart", ["warmup.batch_size=32"])
    assert run.manifest["recipe"]["warmup"]["rows"] == recipe.warmup.rows
    run.manifest["fingerprint"] = "as it was computed then"
    run.save()
    found = Run.open(recipe, run.dir, resume=True)
    assert found.change.keys == {}
    assert found.done("generate")
    run.manifest = {"fingerprint": load_recipe("quickstart").fingerprint, "stages": run.manifest["stages"]}
    run.save()
    assert Run.open(load_recipe("quickstart"), run.dir, resume=True).done("push")
    with pytest.raises(UsageError, match="another recipe"):
        Run.open(recipe.model_copy(update={"seed": 99}), run.dir, resume=True)


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
