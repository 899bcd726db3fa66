"""`rl2f jobs` against the embedded Hub's job endpoints, through the real command line and huggingface_hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.jobs import PRICES, PRICES_AS_OF, Plan, hours_of, price_of
from rl2f_hub.localhub import LocalHub
from rl2f_hub.recipe import load_recipe

Cli = Callable[..., subprocess.CompletedProcess[str]]
TO_HUB = ["--set", "hub.endpoint=hf"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub.start(tmp_path_factory.mktemp("jobs") / "hub") as started:
        yield started


@pytest.fixture
def cli(hub: LocalHub, tmp_path: Path) -> Cli:
    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **hub.env(), **more}
        command = [sys.executable, "-m", "rl2f_hub", "jobs", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=900, cwd=tmp_path, check=False
        )

    return call


def test_a_recipe_is_submitted_watched_and_cancelled_and_no_secret_is_shown(cli: Cli, hub: LocalHub) -> None:
    secrets = {"MY_KEY": "the-value-of-my-key"}
    done = cli(
        "run", "quickstart", *TO_HUB, "--flavor", "a10g-small", "--timeout", "90m", "--secret", "MY_KEY", **secrets
    )
    assert done.returncode == 1, done.stderr  # the embedded Hub records jobs and says CANCELED: not completed
    assert "recorded, not run" in done.stdout  # its log was streamed
    assert "1.5" in done.stdout  # dollars for an hour and a half
    assert PRICES_AS_OF in done.stdout
    job_id = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("job "))
    (file,) = hub.root.rglob(f"{job_id}.json")
    sent = json.loads(file.read_text())
    assert sent["flavor"] == "a10g-small"
    assert sent["timeoutSeconds"] == 90 * 60
    assert set(sent["secrets"]) == {"HF_TOKEN", "MY_KEY"}
    recipe = yaml.safe_load(sent["environment"]["RL2F_RECIPE"])
    assert recipe == load_recipe("quickstart", ["hub.endpoint=hf"]).model_dump(mode="json")
    for text in (done.stdout, done.stderr, file.read_text()):
        assert "the-value-of-my-key" not in text
        assert hub.token not in text
    for arguments in (["status", job_id, "--json"], ["cancel", job_id, "--json"]):
        state = json.loads(cli(*arguments).stdout)
        assert (state["id"], state["stage"], state["recipe"]) == (job_id, "CANCELED", "quickstart")
    assert "recorded, not run" in cli("logs", job_id).stdout


def test_what_cannot_work_is_refused_before_anything_is_sent(cli: Cli, hub: LocalHub) -> None:
    before = len(list(hub.root.glob("jobs/*/*.json")))
    refused = {
        ("run", "quickstart"): "hub.endpoint",
        ("run", "quickstart", *TO_HUB, "--timeout", "soon"): "--timeout",
        ("run", "quickstart", *TO_HUB, "--flavor", "a10g-smal"): "did you mean 'a10g-small'",
        ("run", "quickstart", *TO_HUB, "--secret", "NOT_SET_ANYWHERE"): "NOT_SET_ANYWHERE",
        ("run", "quickstart", *TO_HUB, "--secret", "KEY=hunter2"): "NAME",
        ("run", "quickstart", *TO_HUB, "--set", 'tasks.eval=[{source: "jsonl:x", count: 1}]'): "tasks",
        ("run", "quickstart", *TO_HUB, "--set", "hub.namespace=somebody"): "hub.namespace",
    }
    for arguments, named in refused.items():
        done = cli(*arguments)
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode in (1, 2), arguments
        assert last.startswith("error: "), done.stderr
        assert named in last
        assert "hunter2" not in done.stdout + done.stderr
    done = cli("status", "0" * 24)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(list(hub.root.glob("jobs/*/*.json"))) == before


def test_a_dry_run_sends_nothing(cli: Cli, hub: LocalHub) -> None:
    before = len(list(hub.root.glob("jobs/*/*.json")))
    done = cli("run", "quickstart", *TO_HUB, "--flavor", "a100x4", "--timeout", "2h", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["cost_at_most_usd"] == 2 * PRICES["a100x4"]
    assert told["gpus"] == 4
    assert "accelerate" in told["command"]
    assert len(list(hub.root.glob("jobs/*/*.json"))) == before


def test_lengths_of_time_and_prices() -> None:
    assert [hours_of(t) for t in ("90m", "6h", "1.5d", "7200s", "3600")] == [1.5, 6, 36, 2, 1]
    with pytest.raises(UsageError, match="--timeout"):
        hours_of("0h")

    class Listed:
        name, unit_label, unit_cost_usd = "l4x1", "minute", 0.02

    assert price_of("l4x1", [Listed()])[0] == pytest.approx(1.2)  # what the Hub says now beats the table
    assert price_of("l4x1") == (PRICES["l4x1"], price_of("l4x1")[1])


def test_the_jobs_shell_text_runs_the_recipe_it_was_given(tmp_path: Path) -> None:
    """The command as it stands, in a shell, with a stand-in for uv: nothing of a recipe is read as shell."""
    evil = 'a "$(touch stolen)" `touch stolen` \'; touch stolen;'
    plan = Plan(load_recipe("quickstart", ["hub.endpoint=hf", "description=" + json.dumps(evil)]), "t4-small", 1.0)
    (tmp_path / "uv").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > asked\n')
    (tmp_path / "uv").chmod(0o755)
    shell = shutil.which("bash")
    assert shell is not None
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **plan.environment()}
    subprocess.run([shell, *plan.command()[1:]], env=environment, cwd=tmp_path, check=True, timeout=900)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        "run",
        "--no-project",
        "--with",
        "rl2f-hub[qlora,trackio]",
        "rl2f",
        "run",
        "recipe.yaml",
        "--out",
        "run",
        "--resume",
    ]
    assert load_recipe(tmp_path / "recipe.yaml").description == evil
    assert not (tmp_path / "stolen").exists()
