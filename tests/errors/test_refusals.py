"""Errors that nothing else in the tests meets: each is one line that names the field, the value and the fix.

A row of the table is a call and words of its message. `never_raised.py` finds what is missing here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_run import recipe, recorded
from refusing import refused
from typer.testing import CliRunner

from rl2f_hub.cli import app
from rl2f_hub.errors import RL2FError
from rl2f_hub.recipe import Recipe, load_recipe
from rl2f_hub.runtime import permits

SOURCE = "reasoning_gym:chain_sum"


# -- the command line --------------------------------------------------------------------------------------------------

COMMANDS = {
    "stage": (["run", "quickstart", "--only", "trian"], "stage: 'trian' is unknown; did you mean 'train'?"),
    "hub root": (["chat", "me/x", "--hub-root", "/nowhere"], "--hub-root: no folder '/nowhere'"),
    "mixed": (["eval", "quickstart", "me/x"], "MODEL: 'quickstart' is a recipe; evaluate it alone"),
    "two recipes": (["eval", "me/x", "--tasks", "quickstart", "--tasks", "code"], "is a second recipe"),
    "overrides": (["eval", "me/x", "--tasks", SOURCE, "--set", "a.b=1"], "--set: 'a.b=1' needs a recipe"),
    "bad rows": (
        ["tasks", "validate", SOURCE, "--on-bad-row", "keep"],
        "--on-bad-row: 'keep' is refused; use skip or fail",
    ),
    "members": (["tasks", "list", "hub"], "kind: 'hub' has no list of members"),
    "preset": (["tasks", "show", "gsm9k"], "no preset 'gsm9k'; did you mean"),
    "students": (["reproduce", "--students", "big"], "--students: 'big' is unknown; choose scratch or smollm2"),
    "seeds": (["reproduce", "--seeds", "1;2", "--plan"], "--seeds: '1;2' is not a list of whole numbers"),
    "config file": (
        ["doctor", "cloud-80gb-math", "--model-config", "/nowhere.json"],
        "--model-config: '/nowhere.json' is no model's",
    ),
    "space folder": (["space", "check", "/nowhere"], "space: no folder '/nowhere'"),
}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_names_what_it_refuses(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, said = COMMANDS[words]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    shown = done.output if not isinstance(done.exception, RL2FError) else str(done.exception)
    assert said in " ".join(shown.split()), (done.exception, shown)
    assert done.exit_code != 0
    assert "Traceback" not in shown


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    from rl2f_hub.cli.teachers import _check_table

    (tmp_path / "t.md").write_bytes(b"\xff\xfe")
    refused(lambda: _check_table(tmp_path / "t.md"), "cannot be read (UnicodeDecodeError); name a Markdown file")


# -- recipes -----------------------------------------------------------------------------------------------------------

RECIPES = {
    "baselines": ("train.baselines=[single_turn_rl, single_turn_rl]", "names a baseline twice; name each once"),
    "nf4 on vllm": ("model.quantization=nf4", "engine.kind: vllm takes no nf4 base here"),
    "band": ("teacher.curriculum={raise_at: 0.2, lower_at: 0.3}", "lower_at: 0.3 must be below raise_at 0.2"),
    "no hints": (
        "teacher.curriculum={hints: true}",
        "curriculum.hints: try_again has no weaker hints; set it to false",
    ),
    "privilege": ("teacher.privilege=answer", "privilege: the curriculum's hints choose it"),
    "section": ("teacher.kind=model", "kind model needs the section `model`: {id: <Hub id or path>}"),
}
BESIDE = {
    "nf4 on vllm": ["engine.kind=vllm"],
    "no hints": ["teacher.kind=try_again"],
    "privilege": ["teacher.curriculum={hints: true}"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_does_not_fit_together(name: str) -> None:
    override, said = RECIPES[name]
    message = refused(lambda: load_recipe("quickstart", [*BESIDE.get(name, []), override]), said)
    assert message.startswith("/") or "recipes" in message  # the file


def test_yaml_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 8)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    refused(lambda: load_recipe(tmp_path / "bomb.yaml"), "its YAML aliases written out; use fewer of them")


def test_a_permit_that_there_is_not() -> None:
    refused(lambda: permits.allow(pickles=True), "'pickles' is no permit; permits are", ValueError)


def test_a_job_is_told_what_it_cannot_see() -> None:
    from rl2f_hub.hub.jobs import Plan

    def plan(**hub: Any) -> Any:
        return Plan(recipe(**hub), "t4-small", 1.0)

    refused(
        lambda: plan(endpoint="http://127.0.0.1:8000"), "a job cannot reach this machine; add --set hub.endpoint=hf"
    )
    data = recipe(endpoint="hf").model_dump()
    data["tasks"]["train"] = [
        {"source": "csv:own.csv", "count": 1, "prompt": "q", "reference": "a", "verifier": "text"}
    ]
    local = Recipe.model_validate(data)
    refused(lambda: Plan(local, "t4-small", 1.0), "tasks: a job does not see this machine's files")


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    from rl2f_hub.runs import Run

    (tmp_path / "manifest.json").write_text('{"stages": [1]}')
    refused(
        lambda: Run.open(load_recipe("quickstart"), tmp_path, resume=True),
        "manifest.json: not a run's manifest; delete the folder or use --overwrite",
        RL2FError,
    )


def test_a_stage_that_there_is_not(tmp_path: Path) -> None:
    from rl2f_hub.pipeline import _run_stage

    run = recorded(tmp_path / "run", [])
    refused(lambda: _run_stage(run, "trian", "me"), "stage: 'trian' is unknown; stages are")


def test_settings_of_a_training_that_do_not_fit() -> None:
    from rl2f_hub.pipeline import check_stage

    def check(world: int, *overrides: str) -> None:
        check_stage(load_recipe("quickstart", overrides), "train", world)

    refused(lambda: check(1, "train.accumulation=7"), "train.accumulation: 7 does not divide the")
    refused(lambda: check(1, "train.grpo={lerning_rate: 1}"), "use field names of TRL's GRPOConfig")
    uneven = ("train.resample_rounds=1", "train.prompts_per_step=3", "train.num_generations=4")
    refused(lambda: check(2, *uneven), "prompts_per_step 3 does not divide among them; make it a multiple of 2")
