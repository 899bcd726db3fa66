"""`rl2f eval` as people run it: two small models on disk, an endpoint, the embedded Hub; interruption, bad input, logs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hub_client
import pytest
from typer.testing import CliRunner

from rl2f_hub.cli import app
from rl2f_hub.cli.evaluate import _seeds
from rl2f_hub.errors import UsageError
from rl2f_hub.evaluation.hub_form import eval_entries, eval_results_yaml, model_index
from rl2f_hub.evaluation.models import slug
from rl2f_hub.evaluation.suites import Settings, play
from rl2f_hub.evaluation.written import as_markdown, sample
from rl2f_hub.localhub import LocalHub

ARGS = [
    "--tasks",
    "reasoning_gym:chain_sum",
    "--limit",
    "5",
    "--turn-tokens",
    "8",
    "--max-turns",
    "3",
    "--bootstrap",
    "200",
]
MORE = ["--suite", "teacher", "--suite", "resample", "--suite", "autodidact", "--seeds", "0,1", "--wave", "3"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Any], tokenizer: Any) -> list[str]:
    """Two models on disk with different weights."""
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp(f"model{seed}")
        make_model(seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders.append(str(folder))
    return folders


def run(*args: str) -> Any:
    return CliRunner().invoke(app, ["eval", *args])


@pytest.fixture(scope="module")
def finished(models: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation") / "e"
    done = run(*models, *ARGS, *MORE, "--out", str(out))
    assert done.exit_code == 0, (done.output, done.exception)
    for words in ("Cumulative accuracy", "Between models", "Without a teacher", "rl2f eval show"):
        assert words in done.stdout
    return out


def test_everything_that_is_promised_is_written(finished: Path, models: list[str]) -> None:
    result = json.loads((finished / "metrics.json").read_text())
    assert result["schema"] == 2
    assert list(result["students"]) == models
    for suites in result["students"].values():
        assert list(suites) == ["teacher", "resample", "autodidact"]
        assert suites["teacher"]["n"] == 5
        assert suites["teacher"]["dialogues"] == 10
        assert set(suites["teacher"]["by_seed"]) == {"0", "1"}
        assert "final_accuracy" in suites["teacher"]["figures"]
        assert "plasticity" in suites["teacher"]
    assert set(result["versus"][f"{models[1]}_minus_{models[0]}"]) == {"teacher", "resample", "autodidact"}
    assert "over_resample" in result["gains"][models[0]]
    for name in ("accuracy_by_turn.png", "controls.png", "plasticity.png"):
        assert (finished / name).stat().st_size > 5000
    text = (finished / "report.md").read_text()
    assert text.count("\n### ") == 10
    assert "seeds 0, 1" in text


def test_the_log_loads_with_its_fixed_features(finished: Path, models: list[str]) -> None:
    from datasets import Dataset

    from rl2f_hub.evaluation.logs import features

    log = Dataset.from_parquet(str(finished / "dialogues.parquet"))
    assert log.features == features()
    assert len(log) == 2 * 3 * 2 * 5
    assert set(log["model"]) == set(models)
    assert all(turn["attempt"] is not None for turn in log[0]["turns"])


def test_interrupted_and_resumed_it_ends_with_the_same_figures(
    finished: Path, models: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "e"
    shutil.copytree(finished, out)
    (out / "metrics.json").unlink()
    lost = sorted((out / "dialogues").rglob("*.jsonl"))[1::4]
    for file in lost:
        file.unlink()
    done = run(*models, *ARGS, *MORE, "--out", str(out), "--resume", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    again, before = json.loads(done.stdout), json.loads((finished / "metrics.json").read_text())
    assert again["students"] == before["students"]
    assert again["versus"] == before["versus"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--suite", "shufled"], "did you mean 'shuffled'"),
        (["--seeds", "0,x"], "--seeds"),
        (["--dtype", "float8"], "--dtype"),
        (["--critique", "role-play"], "--critique"),
        (["--set", "a.b=1"], "--set"),
    ],
)
def test_typing_errors_are_one_line_and_cost_nothing(
    models: list[str], args: list[str], says: str, tmp_path: Path
) -> None:
    done = run(models[0], *ARGS, *args, "--out", str(tmp_path / "e"))
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "e").exists()


def test_a_folder_is_neither_overwritten_nor_mixed(finished: Path, models: list[str]) -> None:
    for args, says in (
        ([*ARGS, *MORE], "holds an evaluation already"),
        ([*ARGS, *MORE, "--resume", "--max-turns", "2"], "other max_turns"),
        ([*ARGS, *MORE, "--resume", "--limit", "4"], "other tasks"),
    ):
        done = run(*models, *args, "--out", str(finished))
        assert says in str(done.exception)
    assert (finished / "metrics.json").is_file()
    for args in ([models[0], models[0], *ARGS], [models[0], "--suite", "teacher"]):
        assert isinstance(run(*args).exception, UsageError)


def test_dialogues_can_be_browsed_and_cannot_write_to_the_terminal(finished: Path, tmp_path: Path) -> None:
    shown = run("show", str(finished), "--suite", "teacher", "-n", "2", "--failures")
    assert shown.exit_code == 0
    assert shown.stdout.count("attempt 1:") == 2
    assert "log p(reference) was" in shown.stdout
    rows = json.loads(run("show", str(finished), "--suite", "autodidact", "-n", "3", "--json").stdout)
    assert [row["suite"] for row in rows] == ["autodidact"] * 3
    assert isinstance(run("show", str(finished), "--suite", "no_such").exception, UsageError)
    assert isinstance(run("show", str(tmp_path)).exception, UsageError)
    file = next((finished / "dialogues").rglob("teacher*"))
    row = json.loads(file.read_text().splitlines()[0])
    row["turns"][0]["attempt"] = "\x1b[31m[bold]```\n<script>alert(1)</script>````"
    hostile = tmp_path / "h" / "dialogues" / "m"
    hostile.mkdir(parents=True)
    (hostile / "teacher.seed0.0000.jsonl").write_text(json.dumps(row) + "\n")
    printed = run("show", str(tmp_path / "h")).stdout
    assert "\x1b" not in printed and "[bold]```" in printed
    written = as_markdown(row | {"model": "<b>", "suite": "teacher"})
    assert "\x1b" not in written and "`````text" in written and "<b>" not in written


def test_the_ten_dialogues_are_chosen_by_rule() -> None:
    def row(i: int, *rights: bool) -> dict[str, Any]:
        solved = next((t for t, r in enumerate(rights, 1) if r), 0)
        return {"suite": "teacher", "i": i, "solved_at": solved, "turns": [{"correct": r} for r in rights]}

    rows = [row(i, True) for i in range(30)] + [row(100 + i, False, True) for i in range(30)]
    rows += [row(200 + i, True, False) for i in range(3)] + [row(300 + i, False, False) for i in range(5)]
    kinds = [r["i"] // 100 for r in sample(rows, 2)]
    assert kinds[:10] == [3, 3, 3, 3, 2, 2, 1, 1, 0, 0]
    assert len(sample(rows[:4], 2)) == 4
    assert [r["i"] for r in sample(rows, 2)] == [r["i"] for r in sample(rows, 2)]


def test_specs_never_share_a_folder() -> None:
    assert slug("a/b") != slug("a-b") != slug("a--b")
    assert "/" not in slug("../../etc") and not slug("../x").startswith(".")
    assert _seeds("3,1") == (3, 1)


def test_the_hubs_forms_say_how_a_number_came_about(finished: Path, models: list[str]) -> None:
    import yaml

    suites = json.loads((finished / "metrics.json").read_text())["students"][models[0]]
    entries = eval_entries(suites, "me/log", revision="a" * 40)
    loaded = yaml.safe_load(eval_results_yaml(entries))
    assert loaded[0]["dataset"] == {"id": "me/log", "task_id": "single_turn", "revision": "a" * 40}
    final = next(e for e in loaded if e["dataset"]["task_id"] == "teacher_final")
    assert "no oracle" in final["notes"]
    assert all("oracle stop" in e["notes"] for e in loaded if "_turn_" in e["dataset"]["task_id"])
    index = model_index("m", entries)
    assert index[0]["results"][0]["metrics"][0]["value"] == loaded[0]["value"]


def test_a_pushed_log_is_private_and_loads(models: list[str], tmp_path: Path) -> None:
    """In a process of its own, against the embedded Hub: evaluate, push, load with plain `datasets`."""
    with LocalHub.start(tmp_path / "hub") as hub:
        env = hub_client.env_of(hub, tmp_path / "home")
        command = [sys.executable, "-m", "rl2f_hub", "eval", models[0], *ARGS, "--suite", "teacher"]
        command += ["--out", str(tmp_path / "e"), "--push", "me/log", "--json"]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
        pushed = json.loads(done.stdout)["hub"]
        code = (
            "import json; from datasets import load_dataset; from huggingface_hub import HfApi, DatasetCard\n"
            "d = load_dataset('me/log', split='train')\n"
            "print(json.dumps([len(d), d[0]['suite'], HfApi().dataset_info('me/log').private, d[0]['model'],"
            " 'single_turn' in DatasetCard.load('me/log').content]))"
        )
        loaded = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=900)
        assert loaded.returncode == 0, loaded.stderr[-2000:]
        assert json.loads(loaded.stdout.splitlines()[-1])[:4] == [5, "teacher", True, Path(models[0]).name]
        for blob in (tmp_path / "hub" / "blobs").rglob("*"):  # where the model lay is nobody's business
            assert blob.is_dir() or str(Path(models[0]).parent).encode() not in blob.read_bytes()
    assert len(pushed["revision"]) == 40
    assert list((tmp_path / "e" / "eval_results").glob("*.yaml"))


def test_an_endpoint_plays_and_its_tokens_are_not_made_up(
    monkeypatch: pytest.MonkeyPatch, make_task: Callable[..., Any]
) -> None:
    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.dialogue.text_chat import TextChat
    from rl2f_hub.engines import Sampled
    from rl2f_hub.engines.endpoint import END, EndpointEngine, EndpointSession
    from rl2f_hub.evaluation.summary import entry_of, gains
    from rl2f_hub.recipe.teacher_sections import EndpointSpec

    def reply(self: Any, rows: list[int], new_ids: list[list[int]], turn: Any, on_token: Any = None) -> list[Any]:
        return [Sampled([*map(ord, "111"), END], [], True) for _ in rows]

    monkeypatch.setattr(EndpointSession, "generate", reply)  # the server's part is tested in test_endpoint_student.py
    student = Student(EndpointEngine(EndpointSpec(url="http://127.0.0.1:9/v1", model="m")), TextChat(), "m")
    settings = Settings(max_turns=2, turn_tokens=8, gold_tasks=5)
    rows = {
        s: play(s, [make_task(i) for i in range(3)], student, settings, 0)
        for s in ("teacher", "resample", "autodidact")
    }
    entry = entry_of("teacher", rows["teacher"], 2, True, 50, 0)
    assert "student_tokens" not in entry["figures"] and "plasticity" not in entry
    assert "over_resample_at_equal_tokens" not in gains(rows, 2, 50, 0)
    assert rows["autodidact"][0]["turns"][0]["accepted"] is False
    with pytest.raises(UsageError, match="asked"):
        play("autodidact", [make_task(0)], student, Settings(2, 8, critique="role"), 0)
