"""The stage `push` with a real adapter and server: what lies on the Hub, its tags, cards, figures and collection."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_client import env_of
from push_client import METRICS

from rl2f_hub.localhub import LocalHub


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("push")
    with LocalHub.start(work / "root") as hub:
        env = env_of(hub, work / "home")
        command = [sys.executable, str(Path(__file__).parent / "push_client.py"), str(work / "results.json")]
        done = subprocess.run(command, env=env, cwd=work, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stderr[-4000:]
        assert hub.token not in done.stderr + done.stdout + (work / "results.json").read_text()
    return json.loads((work / "results.json").read_text())


def head(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_a_dry_run_creates_nothing_and_names_every_file(pushed: dict[str, Any]) -> None:
    assert not pushed["before"]
    planned = {o["path"] for o in pushed["plan"]["operations"]}
    assert planned == set(pushed["first_files"]) - {".gitattributes"}
    assert pushed["plan"]["visibility"] == "private"
    assert pushed["plan"]["tag"] == "v1"


def test_only_safetensors_and_no_path_of_this_machine(pushed: dict[str, Any]) -> None:
    for name in ("first_files", "second_files", "merged_files"):
        files = pushed[name]
        assert not [path for path in files if path.endswith((".bin", ".pt", ".pth", ".pkl"))]
        assert "somebody/" not in json.dumps(files)
        assert "127.0.0.1" not in json.dumps(files)
    assert "adapter_model.safetensors" in pushed["first_files"]
    assert "model.safetensors" in pushed["merged_files"]
    assert "jsonl:rows.jsonl" in pushed["first_files"]["manifest.json"]


def test_the_base_is_an_id_at_an_exact_revision(pushed: dict[str, Any]) -> None:
    config = json.loads(pushed["first_files"]["adapter_config.json"])
    assert config["base_model_name_or_path"] == "me/base"
    assert re.fullmatch("[0-9a-f]{40}", config["revision"])
    data = head(pushed["first_files"]["README.md"])
    assert (data["base_model"], data["base_model_relation"], data["datasets"]) == (
        "me/base",
        "adapter",
        ["me/didactic"],
    )
    assert pushed["path"].startswith("model.id: ")
    assert "is a folder of this machine" in pushed["path"]
    assert "revision that this run refers to is gone" in pushed["gone"]


def test_the_same_again_is_the_same_and_new_weights_are_a_new_revision_with_the_next_tag(
    pushed: dict[str, Any],
) -> None:
    first, same, second = (pushed[name] for name in ("first", "same", "second"))
    assert (same["revision"], same["tag"]) == (first["revision"], first["tag"])
    assert first["tag"] == "v1"
    assert second["tag"] == "v2"
    assert pushed["tags"] == {"v1": first["revision"], "v2": second["revision"]}
    assert len(pushed["commits"]) == 3  # the Hub's own, and one a push
    assert pushed["refused_tag"].startswith("hub.tag: 'v1' of me/adapter stands on another revision")


def test_what_was_pushed_answers_as_what_was_trained(pushed: dict[str, Any]) -> None:
    for check in (pushed["first"]["reload_check"], pushed["second"]["merged"]["reload_check"]):
        assert check["identical"] == check["dialogues"] > 0


def test_cards_load_as_printed(pushed: dict[str, Any]) -> None:
    assert pushed["loaded"][0].startswith("PeftModel")
    assert pushed["loaded"][1] == "LlamaForCausalLM"


def test_figures_stand_in_every_form_that_the_hub_reads_and_are_those_of_the_metrics(pushed: dict[str, Any]) -> None:
    entries = yaml.safe_load(pushed["first_files"][".eval_results/rl2f.yaml"])
    assert [(e["dataset"]["id"], e["dataset"]["task_id"], e["value"]) for e in entries] == [
        ("me/didactic", "teacher", 50.0),
        ("me/didactic", "ood_teacher", 50.0),
    ]
    assert "n=64, 95% 41.2 to 60.0, seed 1" in entries[0]["notes"]
    assert all(re.fullmatch("[0-9a-f]{40}", e["dataset"]["revision"]) for e in entries)
    assert pushed["shown"] == [["me/didactic", "teacher", 50.0], ["me/didactic", "ood_teacher", 50.0]]
    results = head(pushed["first_files"]["README.md"])["model-index"][0]["results"]
    assert [r["metrics"][0]["value"] for r in results] == [50.0, 50.0]
    assert [r["dataset"]["split"] for r in results] == ["eval", "ood"]
    assert json.loads(pushed["first_files"]["metrics.json"]) == METRICS


def test_what_was_not_measured_is_said_to_be(pushed: dict[str, Any]) -> None:
    card = pushed["first_files"]["README.md"]
    assert "Carbon: not measured" in card
    assert "doubts them): not measured" in card


def test_cards_link_each_other_at_exact_revisions(pushed: dict[str, Any]) -> None:
    second = pushed["second"]
    assert f"/me/adapter/tree/{second['revision']}" in pushed["dataset_card"]
    assert f"/me/merged/tree/{second['merged']['revision']}" in pushed["dataset_card"]
    card = pushed["second_files"]["README.md"]
    data = json.loads(pushed["second_files"]["manifest.json"])["stages"]["publish"]["outputs"]["revision"]
    assert f"/datasets/me/didactic/tree/{data}" in card
    assert f"/me/base/tree/{json.loads(pushed['second_files']['adapter_config.json'])['revision']}" in card
    assert f"/me/adapter/tree/{second['revision']}" in pushed["merged_files"]["README.md"]


def test_a_collection_groups_all_of_them_once(pushed: dict[str, Any]) -> None:
    assert pushed["collection"] == [
        ["dataset", "me/didactic"],
        ["model", "me/adapter"],
        ["model", "me/base"],
        ["model", "me/merged"],
    ]
    assert pushed["first"]["collection"]["slug"] == pushed["second"]["collection"]["slug"]


def test_files_of_another_model_go_and_files_of_the_user_stay() -> None:
    from rl2f_hub.hub.commit import Remote, stale_model_files

    others = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json", "trainer/log.json"]
    others += ["trainer/optimizer.pt", "pytorch_model.bin", "old/rng.pkl"]
    stay = ["README.md", "LICENSE", "config.json", "notes/figure.json", "onnx/model.safetensors", "model.safetensors"]
    remote = Remote("me/base", "model", files=dict.fromkeys([*others, *stay], (1, "x")))
    assert set(stale_model_files(remote, {"model.safetensors", "config.json"})) == set(others)


def test_the_trainers_log_goes_along_only_where_it_is_asked_for(pushed: dict[str, Any]) -> None:
    assert not any(path.startswith("trainer/") for path in pushed["first_files"])
    assert "trainer/log.json" in pushed["second_files"]
    assert not any("tokenizer" in path for path in pushed["first_files"])  # it is the base's


def test_badges_are_for_a_readme(pushed: dict[str, Any]) -> None:
    assert pushed["first"]["badges"].count("[![") == 2
    assert "(/datasets/me/didactic)" in pushed["first"]["badges"]


def test_a_push_stopped_at_any_write_shows_all_or_nothing_and_the_same_again_completes(pushed: dict[str, Any]) -> None:
    pushes = pushed["stopped"]
    whole = pushes[-1]["after"]
    assert pushes[-1]["then"] == whole
    assert any("/commit/" in p["request"] for p in pushes)
    assert any("/tag/" in p["request"] for p in pushes)
    assert len(pushes) >= 7
    for number, one in enumerate(pushes, 1):
        assert one["then"] in (None, [], whole), one["request"]
        assert one["after"] == whole
        assert one["tags"] == ["v1"]
        assert one["commits"] == ["Adapter of recorded (v1)", "initial commit"], one["request"]
        assert {"me/didactic", f"me/stopped-{number}"} <= set(one["collected"])
