"""The tutorial, done as it is written, with a student from scratch in place of the small model and fewer steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blocks import ROOT, Block, blocks_of, commands_of

# What makes it fit into a test: another model and smaller numbers; data, commands and order stay the page's.
SOURCE = {
    "source": "csv:questions.csv",
    "prompt": "question",
    "reference": "answer",
    "verifier": "integer",
    "count": 12,
}
TINY = {"hidden": 32, "layers": 2, "heads": 2, "intermediate": 64, "steps": 10, "tasks": [SOURCE]}
SMALLER = {
    "model": {"scratch": TINY},
    "tasks.train.0.count": 12,
    "tasks.eval.0.count": 6,
    "dialogue.turn_tokens": 6,
    "warmup": {"steps": 2, "rows": "all", "batch_size": 4},
    "train.steps": 2,
    "evaluate.bootstrap": 50,
    "threads": 1,
}
SETS = [f"--set={key}={json.dumps(value)}" for key, value in SMALLER.items()]
# Not followed to the end here: they serve until stopped, talk to a person, or need the network.
ELSEWHERE = ("chat", "demo", "hub serve")
PAGE = ROOT / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def do(folder: Path) -> Callable[..., str]:
    def run(*command: str, **more: str) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        env = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home"), **more}
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=env, timeout=900
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


def test_the_tutorial_leads_from_a_table_to_an_adapter_that_answers(folder: Path, do: Callable[..., str]) -> None:
    table, load = [b for b in blocks_of(PAGE) if b.language == "python"]
    for block in blocks_of(PAGE):
        if block is table or block == table:
            do("-c", block.text)
        elif block.language == "yaml":
            (folder / "mine.yaml").write_text(block.text, encoding="utf-8")
        elif block.language == "bash":
            follow(block, do)
    assert (folder / "questions.csv").stat().st_size > 1000
    summary = json.loads((folder / "runs" / "sums" / "summary.json").read_text())
    assert set(summary["students"]) == {"base", "warmup", "rl2f"}
    from rl2f_hub.localhub import LocalHub

    with LocalHub.start(folder / "runs" / "hub", user="me") as hub:
        do("-c", load.text, **hub.env())
    rows = (folder / "runs" / "sums" / "tasks" / "train.jsonl").read_text().splitlines()
    assert {json.loads(row)["source"] for row in rows} == {"csv:questions.csv"}


def follow(block: Block, do: Callable[..., str]) -> None:
    """Does the block's commands of ours that end by themselves and stay on this machine."""
    for words in commands_of(block.text):
        if words[0] != "rl2f" or " ".join(words[1:]).startswith(ELSEWHERE) or "hub.endpoint=hf" in words:
            continue
        assert do("-m", "rl2f_hub", *words[1:], *(SETS if "mine.yaml" in words and words[1] != "tasks" else [])), words
