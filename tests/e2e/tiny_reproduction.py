"""The reproduction made small enough for a test: every part, stage, suite and claim, a toy student and two steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from . import shrunken

SUMS = '[{source: "reasoning_gym:chain_sum", count: %d, verifier: integer, config: {min_terms: 2, max_terms: 2}}]'
FAMILIES = (
    '[{source: "reasoning_gym:products", count: 3, verifier: integer, config: {max_terms: 2}},'
    ' {source: "reasoning_gym:lcm", count: 3, verifier: integer}]'
)
SMALLER: dict[str, object] = {
    "model.scratch.hidden": 16,
    "model.scratch.layers": 1,
    "model.scratch.heads": 2,
    "model.scratch.intermediate": 16,
    "model.scratch.steps": 6,
    "model.scratch.tasks": SUMS % 20,
    "tasks.train": SUMS % 6,
    "tasks.eval": SUMS % 5,
    "tasks.ood": FAMILIES,
    "dialogue.max_turns": 2,
    "dialogue.turn_tokens": 3,
    "warmup.rows": "all",
    "warmup.steps": 2,
    "warmup.batch_size": 2,
    "train.steps": 2,
    "train.prompts_per_step": 2,
    "train.num_generations": 2,
    "evaluate.max_turns": 3,
    "evaluate.sampled": "false",
    "evaluate.critique_tokens": 4,
    "threads": 1,
}


def command(out: Path, *more: str) -> list[str]:
    sets = [f"--set={key}={value}" for key, value in SMALLER.items()]
    given = [f"--out={out}", "--seeds=1", "--jobs=1", *sets, *more]
    return [sys.executable, "-m", "rl2f_hub", "reproduce", *given]


def run(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(out, *more),
        capture_output=True,
        text=True,
        env=shrunken.environment(),
        timeout=900,
        cwd=out.parent,
        check=False,
    )
