"""Every shipped recipe runs through all stages: `--set` swaps in a tiny student, offline tasks and two steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl2f_hub.recipe import load_recipe, recipe_files

from . import shrunken

pytestmark = pytest.mark.timeout(1500)  # about a minute and a half of one core; a busy machine takes far longer
NAMES = [file.parent.name for file in recipe_files()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All recipes in one process; (folder of the runs, results by name)."""
    folder = tmp_path_factory.mktemp("recipes")
    script = Path(__file__).with_name("all_recipes.py")
    environment = shrunken.environment() | {"TRACKIO_DIR": str(folder / "trackio")}
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=1400,
        cwd=folder,
        check=False,
    )
    lines = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr[-3000:]
    return folder, {row["name"]: row for row in map(json.loads, lines)}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_through_all_stages(name: str, runs: tuple[Path, dict[str, Any]]) -> None:
    folder, results = runs
    assert results[name]["code"] == 0, results[name]["said"]
    summary = json.loads((folder / name / "summary.json").read_text())
    assert summary["reload_check"]["identical"] == summary["reload_check"]["dialogues"] > 0
    recipe = load_recipe(name)
    # So small a student may give a baseline nothing to learn from: then it made no step, says why, and is left out.
    idle = {name for name in recipe.train.baselines if not summary["train"][name]["steps"]}
    assert all(summary["train"][name]["note"] for name in idle)
    assert set(summary["students"]) == {"base", "warmup", "rl2f", *recipe.train.baselines} - idle
    assert set(summary["students"]["rl2f"]) >= set(recipe.evaluate.suites)


def test_figures_of_training_are_in_trackio_without_any_network(runs: tuple[Path, dict[str, Any]]) -> None:
    """What `report_to: trackio` of a recipe leaves, read back by trackio's own command line."""
    folder, _ = runs
    environment = shrunken.environment() | {"TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1"}

    def trackio(*arguments: str) -> Any:
        command = [sys.executable, "-c", "from trackio.cli import main; main()", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=True)
        return json.loads(done.stdout)

    assert "puzzles" in json.dumps(trackio("list", "projects"))
    names = json.dumps(trackio("list", "runs", "--project", "puzzles"))
    assert "rl2f-" in names
    assert "single_turn_rl-" in names
    run = next(word for word in names.split('"') if word.startswith("rl2f-"))
    assert "reward" in json.dumps(trackio("list", "metrics", "--project", "puzzles", "--run", run))


@pytest.mark.parametrize("file", recipe_files(), ids=NAMES)
def test_every_recipe_has_a_readme_with_its_command_and_what_was_measured(file: Path) -> None:
    text = (file.parent / "README.md").read_text(encoding="utf-8")
    assert file.parent.name in text
    assert "rl2f run" in text or "rl2f generate" in text
    assert "easured" in text or "stimated" in text
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["description"]
