"""Failures that take a broken installation, machine, model or Hub to see, brought about here one by one."""

from __future__ import annotations

import base64
import copy
import http.server
import itertools
import json
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from recorded_run import recorded, task
from refusing import refused
from typer.testing import CliRunner

from rl2f_hub.errors import RL2FError, UsageError

Make = Callable[..., Any]


# -- the installation --------------------------------------------------------------------------------------------------


def test_files_that_an_installation_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rl2f_hub.demo import space
    from rl2f_hub.hub import card_text

    monkeypatch.setattr(card_text, "__file__", str(tmp_path / "a" / "card_text.py"))
    refused(card_text.templates, "the templates are missing; reinstall rl2f-hub", RL2FError)
    monkeypatch.setattr(space, "__file__", str(tmp_path / "a" / "b" / "space.py"))
    refused(space.source_folder, "the Space's files are missing; reinstall rl2f-hub", RL2FError)


def test_a_trl_without_sdpo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    from rl2f_hub.training.baselines.sdpo import sdpo

    monkeypatch.setitem(sys.modules, "trl.experimental.sdpo", None)
    refused(lambda: sdpo(recorded(tmp_path / "run", []), tmp_path, {}), "sdpo is not in the installed trl (")


def test_clients_that_speak_to_another_hub_already() -> None:
    from rl2f_hub.hub.connect import _check_clients

    refused(
        lambda: _check_clients("https://another.invalid"), "huggingface_hub is loaded already and speaks to", RL2FError
    )


# -- the sandbox and the verifier's child ------------------------------------------------------------------------------


def test_a_machine_without_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.sandbox import bubblewrap, pool

    monkeypatch.setattr(bubblewrap, "why_not", lambda: "bubblewrap is not installed; install it")
    refused(lambda: pool.Sandbox(1), "needs a sandbox: bubblewrap is not installed; install it; or run it", RL2FError)
    monkeypatch.setattr(pool, "sys", SimpleNamespace(platform="darwin"))
    refused(lambda: pool.Sandbox(1), "runs on Linux only; use a Linux machine or a container", RL2FError)


def test_a_sandbox_that_is_closed_or_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.sandbox import CodeJob, CodeTests, Limits, Sandbox, bubblewrap
    from rl2f_hub.sandbox.cell import Cell

    job = CodeJob("", CodeTests("stdio", cases=(("", ""),)))
    sandbox = Sandbox(1)
    sandbox.close()
    refused(lambda: sandbox.run([job]), "the sandbox is closed", RL2FError)
    failing = ["/bin/sh", "-c", "echo no memory >&2; exit 1"]
    monkeypatch.setattr(bubblewrap, "command", lambda settings, isolated: failing)
    refused(lambda: Cell(Limits(), True).fork("attempt", []), "interpreter did not start: no memory", RL2FError)


def test_a_verifier_that_does_not_start_or_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.verify import limited

    child = limited.LimitedChild()

    def made(config: str) -> Any:
        item = "rl2f_hub.tasks.reasoning_gym:plain_item"
        return child.call(item, name="chain_sum", config=config, seed=0, index=0)

    def asleep() -> None:
        """No answer can come, however quick the machine is."""
        assert child._process is not None
        os.kill(child._process.pid, signal.SIGSTOP)
        child.time_limit = 0.0

    try:
        refused(lambda: made('{"min_terms": 9, "max_terms": 2}'), "config {", ValueError)
        asleep()
        refused(lambda: child.check(task(1)), "the reference cannot be read within 0 s", ValueError)
        child.time_limit = 60.0
        child.check(task(1))
        asleep()
        refused(lambda: made("{}"), "not made within 0 s", ValueError)
    finally:
        child.close()
    monkeypatch.setattr(limited.sys, "executable", "/bin/false")
    refused(lambda: limited.LimitedChild().check(task(1)), "the verifier's process did not start; run", RL2FError)


def test_a_validation_out_of_its_bounds() -> None:
    from rl2f_hub.cli import app

    command = ["tasks", "validate", "reasoning_gym:chain_sum", "--count", "2", "--max-false-accepts", "-1"]
    assert CliRunner().invoke(app, command).exit_code == 1


def test_a_pickle_of_two_texts() -> None:
    from rl2f_hub.tasks.code_converters import _private_cases

    two = base64.b64encode(zlib.compress(b"\x80\x04\x8c\x01a\x8c\x01b.")).decode()
    refused(lambda: _private_cases(two), "'private_test_cases' cannot be read: its pickle is not one text", ValueError)


# -- models ------------------------------------------------------------------------------------------------------------


def test_a_template_that_fails(tokenizer: Any) -> None:
    from rl2f_hub.dialogue.chat_format import ChatFormat, TemplateError

    broken = copy.deepcopy(tokenizer)
    broken.chat_template = "{{ 1 / 0 }}"
    refused(lambda: ChatFormat(broken), "fails (ZeroDivisionError: division by zero); use another model", TemplateError)


@pytest.fixture
def base(tmp_path: Path, make_model: Make, tokenizer: Any) -> Path:
    make_model().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def run_on(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A run whose base is the tiny model, with other settings of its model."""
    from rl2f_hub.students.load import Origin
    from rl2f_hub.training import phase, warmup

    for module in (phase, warmup):
        monkeypatch.setattr(module, "base_of", lambda run: Origin(str(base)))

    numbers = itertools.count()

    def make(**changes: Any) -> Any:
        run = recorded(tmp_path / f"run-{next(numbers)}", [])
        run.recipe = run.recipe.model_copy(update={"model": run.recipe.model.model_copy(update=changes)})
        return run

    return make


def test_an_adapter_that_cannot_be_made(
    run_on: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from rl2f_hub.training import phase, warmup
    from rl2f_hub.training.rows import Row

    lora = run_on().recipe.model.lora.model_copy(update={"target_modules": ["no_such_module"]})
    refused(lambda: phase.trainable(run_on(lora=lora), None), "model.lora.target_modules: Target modules")
    monkeypatch.setattr(phase, "check_base", lambda adapter, origin: None)
    refused(lambda: phase.trainable(run_on(quantization="nf4"), tmp_path, stack=True), "train.adapter: stack with")
    rows = [Row("r", 2, {"input_ids": np.array([5, 6]), "labels": np.array([-100, 6])})]
    run = run_on(lora=lora)
    refused(lambda: warmup.fit_sft(run, ("warmup",), rows, "warmup", 1, 1, 1e-3, None), "model.lora: Target modules")
    monkeypatch.setattr(warmup, "published_dialogues", lambda run: iter(()))
    solved = run.recipe.warmup.model_copy(update={"rows": "solved"})
    run.recipe = run.recipe.model_copy(update={"warmup": solved})
    refused(lambda: warmup.warmup(run), "warmup.rows: solved leaves no row, as no dialogue was solved", RL2FError)


def test_a_hub_that_cannot_be_asked_for_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    from rl2f_hub.students.load import open_pair

    def failing(error: Exception) -> Callable[..., Any]:
        def download(*args: Any, **kwargs: Any) -> Any:
            raise error

        return download

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", failing(LocalEntryNotFoundError("offline")))
    refused(
        lambda: open_pair("me/adapter"), "the Hub could not be reached; check HF_ENDPOINT and the network", RL2FError
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", failing(OSError("disk")))
    refused(lambda: open_pair("me/adapter"), "the Hub could not be asked (OSError); check HF_ENDPOINT", RL2FError)


def test_an_upload_that_answers_differently(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rl2f_hub.hub import reload_check

    monkeypatch.setattr(reload_check, "_adapter_on_disk", lambda run: "disk")
    monkeypatch.setattr(reload_check, "_answers", lambda run, which: ["1", "2" if which == "disk" else "3"])
    said = "answers 1 of 2 tasks differently from the adapter on disk; the upload is not what was trained: push again"
    refused(lambda: reload_check.check_adapter(recorded(tmp_path / "run", []), "me/a", "c0ffee"), said, RL2FError)


def test_a_part_of_a_reproduction_that_fails(tmp_path: Path) -> None:
    from rl2f_hub.reproduction.plan import make_plan
    from rl2f_hub.reproduction.work import _side_by_side

    part = make_plan(tmp_path, seeds=[1]).parts[0]
    (tmp_path / part.name).mkdir(parents=True)
    (tmp_path / part.name / "manifest.json").write_text("no manifest")
    said = "seed-1/0.1M/main: failed, for the reason above; the same"
    refused(lambda: _side_by_side([part], {part.chain: part}, tmp_path, 1, print), said, RL2FError)


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(422)
        self.end_headers()
        self.wfile.write(b"no such\nmodel")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_a_vllm_server_may_answer(refusing: str) -> None:
    from rl2f_hub.engines.vllm import _post, _sampled

    refused(lambda: _post(refusing, {}), f"engine.server: {refusing} refuses (422): no such model", RL2FError)
    refused(lambda: _sampled([], [], [0]), "as many log-probabilities as ids, and at least one", ValueError)
    refused(lambda: _sampled([1, 2], [-1.0], [0]), "as many log-probabilities as ids, and at least one", ValueError)


# -- a data set on the Hub ---------------------------------------------------------------------------------------------


def test_appending_to_what_is_not_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rl2f_hub import publish

    run = recorded(tmp_path / "run", [])
    part = dict.fromkeys(publish.PART_KEYS, "")
    known = publish.columns_digest(publish.configs_of(run.recipe.hub.preferences))

    def existing(index: dict[str, Any]) -> Any:
        files = {publish.INDEX: None}
        remote = SimpleNamespace(files=files, text=lambda name: json.dumps(index), repo_id="me/d")
        monkeypatch.setattr(publish, "look", lambda *_: remote)
        return publish._existing(None, "me/d", run)

    refused(lambda: existing({"columns": known, "shards": {}, "parts": []}), "of me/d is damaged or that of an import")
    gone = {"tasks/train": [{"path": "tasks/train-00000.parquet", "rows": 1}]}
    refused(
        lambda: existing({"columns": known, "shards": gone, "parts": [part]}),
        "--append: me/d lacks tasks/train-00000.parquet, which its rl2f.json names; publish without --append",
    )
    before = publish.Existing({"shards": {}}, frozenset(), frozenset(), {})
    remote: Any = SimpleNamespace(text=lambda name: json.dumps({"shards": gone}), repo_id="me/d")
    refused(lambda: publish._still_there(before, remote), "somebody else has added rows at the same time", RL2FError)


def test_a_data_set_that_is_gone() -> None:
    from datasets.exceptions import DatasetNotFoundError

    from rl2f_hub.runtime.hub_errors import hub_errors

    def read() -> None:
        with hub_errors("me/d"):
            raise DatasetNotFoundError("it is gone")

    refused(read, "hub: me/d: not there for this token, or its revision is gone (it is gone)", RL2FError)


# -- the demo ----------------------------------------------------------------------------------------------------------


def test_what_the_page_refuses(saying: Make) -> None:
    import gradio as gr

    from rl2f_hub.demo import api, keep, play
    from rl2f_hub.demo.acts import Acts, Who
    from rl2f_hub.demo.episode import MAX_TURNS, new_episode, own_task
    from rl2f_hub.demo.panels import ResultsPanel
    from rl2f_hub.demo.players import Player
    from rl2f_hub.demo.visits import Visit
    from rl2f_hub.engines import Sampling

    def none() -> str:
        raise UsageError("There is nothing yet.")

    refused(lambda: keep.KeepPanel._told(none), "There is nothing yet.", gr.Error)

    refused(api._checked(none), "There is nothing yet.", gr.Error)
    empty: Any = SimpleNamespace(model_id="")
    refused(lambda: ResultsPanel.read(empty), "This model has no repository", RL2FError)
    refused(lambda: keep.rows_of(None, None), "There is no dialogue yet: let the models try first.")  # type: ignore[arg-type]

    players = [Player("Base", "says", saying(["7"]))]
    episode = new_episode(players, own_task("2 + 2", "4"))
    greedy = Sampling(0.0, 1.0, 8)
    for _ in play.take_turns(players, episode, greedy):
        pass
    for rollout in episode.rollouts:
        rollout.turns = rollout.turns * MAX_TURNS
        rollout.stop_reason = play.StopReason.TURN_LIMIT
    refused(lambda: play.by_deceiver(players, episode), "Nobody is left to be misled")
    acts = Acts.__new__(Acts)
    visit = Visit.__new__(Visit)
    visit.episode = episode
    refused(lambda: next(acts.answer(visit, "visitor", "no", greedy, Who("s", "a"))), "This task is over: start again")


def test_a_space_that_is_not_what_it_should_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import gradio_client

    from rl2f_hub.demo import check

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\necho no matching distribution\nexit 1\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    said = "space: its requirements cannot be installed: no matching distribution"
    refused(lambda: check._installed(tmp_path, tmp_path, "6", tmp_path), said, RL2FError)
    monkeypatch.setattr(check, "START_S", 0.01)
    (tmp_path / "log").write_text("loading\n")
    alive: Any = SimpleNamespace(poll=lambda: None)
    refused(lambda: check._wait_for(9, alive, tmp_path / "log"), "did not start within 0.01 s: loading", RL2FError)

    def predict(*_: Any, api_name: str) -> Any:
        return {"/tasks": [{"prompt": "2 + 2"}]}.get(api_name, {"dialogue": "d", "players": {"Base": {"turns": [1]}}})

    client = SimpleNamespace(predict=predict, view_api=lambda **_: {"named_endpoints": {}})
    monkeypatch.setattr(gradio_client, "Client", lambda *_, **__: client)
    said = "two attempts each were expected, there are {'Base': 1}"
    refused(lambda: check._probe("http://127.0.0.1:9", tmp_path / "log"), said, RL2FError)


def test_a_page_that_takes_no_contributions(monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio as gr

    from rl2f_hub.demo import api

    named: dict[str, Any] = {}
    monkeypatch.setattr(api.gr, "api", lambda function, api_name, **_: named.update({api_name: function}))
    page: Any = SimpleNamespace(contributions=None, acts=SimpleNamespace(players=[]), tasks=[], results=None)
    api.add_endpoints(page)
    refused(lambda: named["contribute"]("d", True), "This page takes no contributions.", gr.Error)
    refused(lambda: named["take_back"]("r"), "This page takes no contributions.", gr.Error)


def test_a_batch_in_the_terminal_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from rl2f_hub.demo import terminal

    def interrupted(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(note="playing", curves={})
        raise KeyboardInterrupt

    monkeypatch.setattr(terminal, "play_batch", interrupted)
    monkeypatch.setattr(terminal, "choose", lambda tasks, size: tasks)
    talk: Any = SimpleNamespace(console=Console(quiet=True), players=[], tasks=[])
    refused(lambda: terminal._Talk.batch(talk), "Stopped.")
