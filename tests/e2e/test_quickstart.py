"""A shrunken quickstart through the real command line against the embedded Hub, and what must hold of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import shrunken


def test_summary_has_the_documented_figures(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary["students"]) == {"base", "warmup", "single_turn_rl", "rl2f"}
    for suites in summary["students"].values():
        for suite in ("teacher", "try_again", "ood_teacher", "ood_try_again"):
            entry = suites[suite]
            assert len(entry["acc_at_turn"]) == len(entry["ci95"]) == 6
            assert entry["acc_at_turn"] == sorted(entry["acc_at_turn"])  # cumulative
            assert all(low <= x <= high for x, (low, high) in zip(entry["acc_at_turn"], entry["ci95"], strict=True))
            assert entry["n"] == (24 if suite.startswith("ood") else 32)
    for name in ("dataset", "adapter", "base"):
        assert summary["hub"][name]["repo_id"].startswith("me/")
        assert len(summary["hub"][name]["revision"]) == 40
    assert set(summary["wall_s"]) == {"base", "generate", "publish", "warmup", "train", "evaluate", "push"}
    assert summary["peak_rss_mib"] > 100
    assert summary["seed"] == 7
    assert summary["reload_check"]["identical"] == summary["reload_check"]["dialogues"] > 0


def test_single_turn_baseline_sampled_as_many_tokens(finished):
    """Its prompts are counted by RL2F's mean attempt; a first attempt can be a little longer or shorter than that."""
    train = json.loads((finished / "summary.json").read_text())["train"]
    rl2f, single = train["rl2f"], train["single_turn_rl"]
    prompt = 6 * 4 * rl2f["tokens_per_attempt"]  # what one prompt more in each step adds
    assert 0 <= round(single["prompts_per_step"] * prompt - rl2f["student_tokens"], 6) < prompt
    assert abs(single["student_tokens"] - rl2f["student_tokens"]) <= 2 * prompt


def test_people_get_a_figure_and_tables(finished):
    assert (finished / "evaluation" / "accuracy_by_turn.png").stat().st_size > 10_000
    text = (finished / "summary.md").read_text()
    assert "RL2F" in text
    assert "turn 6" in text


@pytest.fixture(scope="module")
def served(finished):
    """The run's Hub served again by the command, and a new user of it."""
    root = finished.parent / "hub"
    server = subprocess.Popen(
        [sys.executable, "-m", "rl2f_hub", "hub", "serve", "--root", str(root), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=shrunken.environment(),
    )
    try:
        told: dict[str, str] = {}
        while "NO_PROXY" not in told:  # the last of what a shell behind a proxy needs
            line = server.stdout.readline()
            assert line or server.poll() is None, "the server ended"
            name, _, value = line.removeprefix("  export ").split("  ")[0].strip().partition("=")
            told |= {name: value} if line.startswith("  export ") else {}
        add = [sys.executable, "-m", "rl2f_hub", "hub", "user", "add", "visitor", "--root", str(root)]
        token = subprocess.run(
            add, capture_output=True, text=True, env=shrunken.environment(), timeout=900
        ).stdout.strip()
        yield {"HF_ENDPOINT": told["HF_ENDPOINT"], "HF_TOKEN": token, "NO_PROXY": told["NO_PROXY"]}
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def fresh(code: str, hub: dict[str, str], cwd: Path) -> str:
    """Runs Python code in a new process that knows the endpoint and a token and nothing else of ours."""
    env = shrunken.environment() | hub | {"HF_HOME": str(cwd / "hf-home")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=cwd, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_fresh_process_loads_every_config(served, tmp_path):
    code = """
from datasets import load_dataset
import json
print(json.dumps({c: load_dataset("me/rl2f-didactic-quickstart", c)["train"].num_rows
                  for c in ("tasks", "dialogues", "sft", "critiques")}))
row = load_dataset("me/rl2f-didactic-quickstart", split="train")[0]
print(json.dumps(sorted(row)))
"""
    counts, columns = map(json.loads, fresh(code, served, tmp_path).strip().splitlines())
    assert counts["tasks"] == counts["dialogues"] == 64
    assert counts["sft"] > counts["dialogues"]
    assert {"dialogue_id", "messages", "turns", "solved_at", "stop_reason"} <= set(columns)  # the default config


def test_cards_name_exact_revisions_and_load_as_printed(served, finished, tmp_path):
    summary = json.loads((finished / "summary.json").read_text())
    code = """
import re
from huggingface_hub import DatasetCard, ModelCard
model, data = ModelCard.load("me/rl2f-quickstart"), DatasetCard.load("me/rl2f-didactic-quickstart")
print(model.data.base_model); print(model.data.datasets[0]); print(model.content.replace(chr(10), " "))
for card in (model, data):
    exec(re.search(r"```python\\n(.*?)```", card.content, re.S).group(1))
print(type(globals()["model"]).__name__, dialogues.num_rows)
"""
    base, dataset, content, last = fresh(code, served, tmp_path).strip().splitlines()
    assert base == summary["hub"]["base"]["repo_id"]
    assert dataset == summary["hub"]["dataset"]["repo_id"]
    assert summary["hub"]["base"]["revision"] in content
    assert summary["hub"]["dataset"]["revision"] in content
    assert last == "PeftModelForCausalLM 64"


def test_same_seed_gives_the_same_summary_even_when_killed_in_every_stage(finished, tmp_path):
    """kill -9 somewhere in each stage, then --resume: the figures equal those of the unbroken run."""
    out = tmp_path / "quickstart"
    killed = set()
    for attempt in range(40):
        process = subprocess.Popen(
            shrunken.command(out, *(["--resume"] if attempt else [])),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=shrunken.environment(),
            cwd=tmp_path,
        )
        stage = _kill_in_new_stage(process, out, killed)
        if stage is None:
            assert process.returncode == 0, process.stderr.read()[-3000:]
            break
        killed.add(stage)
    assert {"base", "generate", "warmup", "train", "evaluate"} <= killed
    assert shrunken.figures(out) == shrunken.figures(finished)


# How long a stage is left to work before it is killed, in seconds.
DEPTH_S = {"train": 2.0, "base": 1.5, "warmup": 1.5}


def _running(out: Path) -> str:
    """The stage that a run is in, or nothing."""
    try:
        stages = json.loads((out / "manifest.json").read_text())["stages"]
    except (FileNotFoundError, ValueError):
        return ""
    return next((name for name, entry in stages.items() if entry["status"] == "running"), "")


def _kill_in_new_stage(process: subprocess.Popen, out: Path, killed: set[str]) -> str | None:
    """Kills the process soon after it enters a stage not killed in yet; None if it ends by itself.

    On a machine on which the stage is over before that, it is killed where the next one begins.
    """
    while process.poll() is None:
        time.sleep(0.02)
        stage = _running(out)
        if stage and stage not in killed:
            until = time.monotonic() + DEPTH_S.get(stage, 0.15)
            while process.poll() is None and time.monotonic() < until and _running(out) == stage:
                time.sleep(0.02)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                return stage
    process.wait()
    return None


def test_bad_requests_are_one_line_with_the_right_exit_code(finished, tmp_path):
    cases = [
        (["--set=trian.steps=3"], 2, "did you mean 'train'"),
        (["--set=train.steps=many"], 2, "train.steps"),
        (["--set=tasks.train.0.source=reasoning_gym:chain_sun"], 2, "did you mean 'chain_sum'"),
        (["--set=hub.endpoint=http://127.0.0.1:9"], 1, "cannot be reached"),
        (["--set=train.grpo={lerning_rate: 1}"], 2, "lerning_rate"),
        (["--only=tarin"], 2, "did you mean 'train'"),
        (["--set=model.scratch=null", "--set=model.id=nobody/nothing"], 1, "with `hub.endpoint: local` models"),
        (["--set=model.scratch=null", "--set=model.id=.", "--only=generate,push"], 2, "is a folder of this machine"),
        (["--only=push"], 2, "stage 'publish' has not run"),
    ]
    for number, (more, code, text) in enumerate(cases):
        only = [] if any("only" in m for m in more) else ["--only=base,generate,publish,warmup,train"]
        done = shrunken.run(tmp_path / str(number) / "run", *more, *only)
        assert done.returncode == code, (more, done.stderr[-500:])
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, (more, done.stderr[-1500:])
        assert text in errors[0]
        assert "Traceback" not in done.stderr


def test_publishing_needs_no_torch(finished, tmp_path):
    out = tmp_path / "quickstart"
    shutil.copytree(finished, out)
    arguments = [*shrunken.command(out)[3:]]  # after `python -m rl2f_hub`
    arguments[0] = "publish"
    code = f"""
import sys
from importlib.machinery import PathFinder
absent, find = ("torch", "transformers", "trl", "peft", "accelerate", "gradio"), PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, *a: None if name.partition(".")[0] in absent else find(name, *a))
sys.argv = ["rl2f", *{arguments!r}, "--force", "--json"]
from rl2f_hub.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=shrunken.environment(),
        timeout=900,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before = json.loads((finished / "summary.json").read_text())
    assert json.loads(done.stdout)["fingerprint"] == before["dataset_fingerprint"]


def test_a_wrong_token_is_named_as_such(served, tmp_path):
    sets = [f"--set=hub.endpoint={served['HF_ENDPOINT']}", "--set=hub.namespace=visitor", "--only=base"]
    env = shrunken.environment() | {"HF_TOKEN": "hf_wrong", "HF_HOME": str(tmp_path / "home")}
    command = shrunken.command(tmp_path / "run", *sets)
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=900, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "token is wrong" in done.stderr
    assert "hf_wrong" not in done.stderr


def test_a_folder_that_cannot_be_written_is_named():
    done = subprocess.run(
        shrunken.command(Path("/proc/rl2f/run")),
        capture_output=True,
        text=True,
        env=shrunken.environment(),
        timeout=900,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: /proc/rl2f/run")
    assert len(done.stderr.splitlines()) == 1


def test_running_twice_needs_a_word_and_resume_is_instant(finished):
    again = shrunken.run(finished)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    before = (finished / "summary.json").read_text()
    done = shrunken.run(finished, "--resume")
    assert done.returncode == 0
    assert (finished / "summary.json").read_text() == before


def test_an_edited_recipe_keeps_what_is_still_valid_and_taken_back_costs_nothing(finished, tmp_path):
    """The edit of `warmup.rows` cannot work, as no dialogue of this student was solved: the run says so, and is not lost."""
    shutil.copytree(
        finished.parent / "hub", tmp_path / "hub", ignore=shutil.ignore_patterns("server.*", "leases", "locks")
    )
    out, recipe = tmp_path / "run", tmp_path / "recipe.yaml"
    shutil.copytree(finished, out)
    values = json.loads((out / "manifest.json").read_text())["recipe"]

    def edited(*more: str, **warmup: object) -> subprocess.CompletedProcess[str]:
        recipe.write_text(json.dumps(values | {"warmup": values["warmup"] | warmup}))
        command = [sys.executable, "-m", "rl2f_hub", "run", str(recipe), "--out", str(out), "--resume", *more]
        env = shrunken.environment()
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=900, cwd=tmp_path)

    def made(*folders: str) -> dict[str, tuple[bytes, int]]:
        files = [file for folder in folders for file in (out / folder).rglob("*") if file.is_file()]
        return {str(file.relative_to(out)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}

    kept, again = made("tasks", "generate"), made("warmup", "train")
    assert kept and again
    done = edited(rows="solved")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert 'the recipe has changed (warmup.rows was "all", is "solved")' in said
    assert "valid as it is: base, generate, publish; done again: warmup, train, evaluate, push (" in said
    assert done.stderr.splitlines()[-1].startswith("error: warmup.rows: solved leaves no row")
    assert made("tasks", "generate") == kept
    assert not (out / "train").exists()
    done = edited("--only=warmup", steps=7)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((out / "manifest.json").read_text())["stages"]["warmup"]["outputs"]["steps"] == 7
    done = edited()
    assert done.returncode == 0, done.stderr[-2000:]
    assert made("tasks", "generate") == kept
    assert made("warmup", "train") == again
    assert shrunken.figures(out) == shrunken.figures(finished)
