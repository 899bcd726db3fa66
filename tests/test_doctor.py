"""`rl2f doctor`: its estimate against measured peaks, and that it finds what would break a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import measured_peak
import pytest

from rl2f_hub.doctor import Asked, Report, machine, plan
from rl2f_hub.doctor.memory import Device, estimate
from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import Recipe, load_recipe

HERE = Path(__file__).parent
WITHIN = 1 / 5  # the largest error of an estimate


def _recipe(rows: int = 4, **changes: Any) -> Recipe:
    source = [{"source": "reasoning_gym:chain_sum", "count": rows * measured_peak.GENERATED}]
    values: dict[str, Any] = {
        "name": "x",
        "hub": {"dataset": "d", "adapter": "a"},
        "model": {"id": "someone/model"},
        "tasks": {"train": source, "eval": source},
        "dialogue": {"max_turns": measured_peak.TURNS, "turn_tokens": measured_peak.TURN_TOKENS},
        "warmup": {"steps": 0},
        "train": {"prompts_per_step": rows // 4, "num_generations": 4},
    }
    return Recipe.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """Peaks of real runs, in MiB, by size and stage."""
    if sys.platform != "linux":
        pytest.skip("resident memory is read from /proc")
    environment = {
        **os.environ,
        "OUT": str(tmp_path_factory.mktemp("trainer")),
        "MALLOC_MMAP_THRESHOLD_": "524288",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(HERE / "measured_peak.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    assert len(rows) == 2 * len(measured_peak.SIZES), done.stderr[-2000:]
    return {(row["size"], row["stage"]): row for row in rows}


@pytest.mark.parametrize("size", measured_peak.SIZES)
def test_an_estimate_is_within_a_fifth_of_the_measured_peak(size: str, measured: Any) -> None:
    rows = measured_peak.SIZES[size]["rows"]
    told = measured_peak.TURNS * measured_peak.TURN_TOKENS + (measured_peak.TURNS - 1) * measured_peak.FEEDBACK
    prompt = measured[size, "generate"]["tokens"] - told
    host = Device(cuda=False, memory=2**35)
    stages = estimate(_recipe(rows), measured_peak.config(size), host, prompt, measured_peak.FEEDBACK)
    totals = {stage.name: stage.total / 2**20 for stage in stages}
    trained = max(totals["train, rollouts"], totals["train, updates"])
    for guess, truth in ((totals["generate"], measured[size, "generate"]), (trained, measured[size, "train"])):
        assert abs(guess / truth["peak"] - 1) < WITHIN, (size, guess, truth)


def test_what_is_turned_up_costs_more_and_four_bits_cost_less() -> None:
    config = measured_peak.config("deep")

    def peaks(**changes: Any) -> dict[str, int]:
        stages = estimate(_recipe(**changes), config, Device(cuda=True, memory=2**35), 64, 16)
        return {s.name: s.total for s in stages} | {"weights": stages[0].parts["weights"]}

    plain = peaks()
    train = {"prompts_per_step": 1, "num_generations": 4}
    assert peaks(train={**train, "num_generations": 8})["train, updates"] > plain["train, updates"]
    assert peaks(train={**train, "accumulation": 4})["train, updates"] < plain["train, updates"]
    assert peaks(train={**train, "first_turn_kl": 0.1})["train, updates"] > plain["train, updates"]
    assert peaks(model={"id": "x/y", "quantization": "nf4"})["weights"] < plain["weights"] / 2


def _checks(checks: Any, recipe: Recipe, **asked: Any) -> list[tuple[str, str]]:
    return [(c.status, f"{c.found}; {c.fix}") for c in checks(recipe, Asked(Path("runs"), **asked), Report())]


def test_what_a_run_would_refuse_is_found() -> None:
    def found(processes: int = 1, **changes: Any) -> tuple[str, str]:
        return _checks(plan.stages, _recipe(**changes), processes=processes)[0]

    assert found(train={"prompts_per_step": 2, "num_generations": 4})[0] == "ok"
    for wrong, words in (
        (
            {"train": {"prompts_per_step": 3, "num_generations": 4, "accumulation": 5}},
            "5 does not divide the 12 dialogues",
        ),
        ({"train": {"prompts_per_step": 2, "num_generations": 4}, "processes": 3}, "1 on 3 processes does not divide"),
        ({"train": {"prompts_per_step": 500, "num_generations": 4}}, "500 tasks per step, and there are"),
        ({"dialogue": {"thinking": "strip"}}, "dialogue.thinking: strip is for generation and evaluation only"),
        ({"model": {"id": str(HERE)}}, "is a folder of this machine"),
    ):
        status, text = found(**wrong)
        assert status == "fail"
        assert words in text


def test_tasks_are_loaded_as_the_run_loads_them(tmp_path: Path) -> None:
    rows = [{"prompt": f"Ask {n}?", "reference": str(n)} for n in range(40)]
    lines = [*map(json.dumps, rows), "not JSON"]
    (tmp_path / "own.jsonl").write_text("\n".join([lines[-1], *lines[:-1]]))

    def found(count: int, **tasks: Any) -> tuple[str, str]:
        own = [{"source": f"jsonl:{tmp_path}/own.jsonl", "count": count}]
        held = [{"source": "reasoning_gym:chain_sum", "count": 4}]
        return _checks(plan.tasks, _recipe(tasks={"train": own, "eval": held, **tasks}))[0]

    assert found(40, on_bad_row="skip") == ("ok", "44 tasks of 2 sources, 1 bad rows skipped; ")
    status, text = found(40)
    assert (status, "line 1: " in text, "on_bad_row: skip" in text) == ("fail", True, True)
    with pytest.raises(UsageError, match=r"train\[0\]\.count: .* has only 40 tasks .*, 120 were asked for"):
        found(120, on_bad_row="skip")


def test_a_field_that_the_installed_grpo_does_not_have_is_found() -> None:
    with pytest.raises(ValueError, match="did you mean 'max_grad_norm'"):
        _recipe(train={"grpo": {"max_grad_nrom": 1.0}})
    recipe = _recipe()
    recipe.train.grpo["max_grad_nrom"] = 1.0  # as a field that recipes may set and this release of TRL does not know
    status, text = _checks(plan.trainer_keys, recipe)[0]
    assert status == "fail"
    assert "max_grad_norm" in text


def test_a_tracker_that_is_not_installed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine.TRACKERS, "trackio", "a_package_that_nobody_has")
    assert _checks(machine.tracker, _recipe(train={"grpo": {"report_to": "trackio"}}))[0][0] == "fail"
    assert _checks(machine.tracker, _recipe(train={"grpo": {"report_to": "none"}})) == []


def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_DISK", 2**60)
    assert _checks(machine.disk, _recipe())[0][0] == "fail"


def test_a_library_of_another_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.version
    monkeypatch.setattr(machine, "version", lambda name: "0.0.1" if name == "trl" else real(name))
    assert any(s == "fail" and "trl 0.0.1" in text for s, text in _checks(machine.versions, _recipe()))


def test_too_little_memory_names_what_to_turn(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(measured_peak.config("wide").to_dict()))
    report = Report()
    recipe = _recipe(train={"prompts_per_step": 40, "num_generations": 8})
    found = plan.memory(recipe, Asked(tmp_path, gpu_gib=1.0, model_config=file), report)
    assert {row["stage"] for row in report.memory} == {"generate", "train, rollouts", "train, updates", "evaluate"}
    updates = next(c for c in found if c.found.startswith("train, updates"))
    assert updates.status == "fail"
    assert "train.accumulation" in updates.fix


def _doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rl2f_hub", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_the_shipped_quickstart_is_well_and_json_says_so(tmp_path: Path) -> None:
    done = _doctor("quickstart", "--json", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert {c["name"] for c in report["checks"]} >= {"versions", "device", "disk", "template", "tasks", "memory"}
    assert not (tmp_path / "run").exists()  # looking leaves nothing behind


def test_a_recipe_that_cannot_run_ends_with_one_and_every_line_has_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a recipe takes files of its own folder only
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "name: broken\n"
        f"hub: {{endpoint: local, dataset: d, adapter: a, root: {tmp_path / 'hub'}}}\n"
        "model: {id: nobody/nothing, quantization: nf4}\n"
        "tasks: {train: [{source: 'jsonl:missing.jsonl', count: 4}], eval: [{source: 'reasoning_gym:lcm', count: 4}]}\n"
        "train: {prompts_per_step: 1, accumulation: 3}\n"
    )
    assert load_recipe(file).name == "broken"
    done = _doctor(str(file), "--out", str(tmp_path / "run"))
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert {line.split()[1] for line in failed} == {"stages", "template", "tasks", "memory"}
    assert all("; " in line for line in failed)
    assert "Traceback" not in done.stderr
