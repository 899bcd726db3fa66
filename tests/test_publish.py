"""The stage `publish` against a real server: one commit, equal rows back, appends, dry runs, cards edited by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_client import env_of
from recorded_run import dialogue, recorded

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.commit import look, patiently
from rl2f_hub.localhub import LocalHub
from rl2f_hub.publish import INDEX, build, dry_run, publish
from rl2f_hub.publish.shards import Limits
from rl2f_hub.records import Dialogue, Feedback, StopReason, Turn, Verdict


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub.start(tmp_path_factory.mktemp("hub") / "root", faults=True) as started:
        yield started


@pytest.fixture
def api(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its cache is one for the whole process
    hub.clear_faults()
    return HfApi(endpoint=hub.endpoint, token=hub.token)


def read(api: Any, repo: str, path: str, tmp_path: Path, kind: str = "dataset") -> str:
    return Path(api.hf_hub_download(repo, path, repo_type=kind, local_dir=tmp_path / "read")).read_text()


def commits(api: Any, repo: str) -> list[str]:
    return [c.title for c in api.list_repo_commits(repo, repo_type="dataset")]


def test_everything_comes_in_one_commit_and_the_same_again_makes_none(api: Any, tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", [dialogue(n, wrong=n % 3) for n in range(9)], dataset="once")
    first, again = publish(run, "me", api=api), publish(run, "me", api=api)
    assert again == first
    assert commits(api, "me/once") == ["Dataset of recorded", "initial commit"]
    assert first["rows"]["dialogues/train"] == 9
    assert api.repo_info("me/once", repo_type="dataset").private  # by default
    files = set(look(api, "me/once", "dataset").files)
    assert {"README.md", INDEX, "dialogues/train-00000.parquet", "tasks/eval-00000.parquet"} <= files
    assert not any("preferences" in path for path in files)  # only where the recipe asks for it


def test_some_dialogues_come_as_traces_beside_the_rows(api: Any, tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", [dialogue(n) for n in range(4)], dataset="traced", traces=2)
    publish(run, "me", api=api)
    assert sum(path.startswith("traces/") for path in look(api, "me/traced", "dataset").files) == 2


def test_the_fingerprint_is_that_of_the_rows(api: Any, tmp_path: Path) -> None:
    def fingerprint(name: str, words: str, shard: int, student: str = "me/base@" + "a" * 40) -> str:
        given = [dialogue(n, words, student=student) for n in range(5)]
        return build(recorded(tmp_path / name, given, shard))["fingerprint"]

    assert fingerprint("a", "Low.", 2) == fingerprint("b", "Low.", 100, "me/base@" + "b" * 40)
    assert fingerprint("c", "High.", 2) != fingerprint("d", "Low.", 2)


LOAD = """
import json, sys
from datasets import load_dataset
repo = sys.argv[1]
out = {}
for config in ("dialogues", "tasks", "sft", "critiques", "preferences"):
    rows = load_dataset(repo, config, split="train").to_list()
    streamed = list(load_dataset(repo, config, split="train", streaming=True))
    out[config] = rows
    assert streamed == rows, config
assert load_dataset(repo, split="train").to_list() == out["dialogues"]  # the default config
json.dump(out, open(sys.argv[2], "w"))
"""


def odd_dialogues() -> list[Dialogue]:
    """Texts that break formats: empty, very long, every kind of Unicode, quotes, nulls in the columns."""
    texts = [
        "",
        "\u202e\U0001f9ee e\u0301 \u4e2d\u6587 \x00\x01\t\r\n",
        "x" * 1_000_000,
        "\"\\'`|---\n# [a](b)",
        "\ufeff NaN null",
    ]
    wrong = [Turn(t, Verdict(False, 0.0, None, t), Feedback(t, "value"), cut=True) for t in texts]
    unheard = Turn("", Verdict(False, 0.0, None, ""), None)
    right = Turn(texts[1], Verdict(True, 1.0, "", ""))
    return [
        Dialogue("train-0/0", "train-0", texts[1], (*wrong, right), StopReason.SOLVED, "s", "t", "answer"),
        Dialogue("train-1/0", "train-1", "", (unheard,), StopReason.TURN_LIMIT, "s", "t", "answer"),
        Dialogue("train-2/0", "train-2", "no turn", (), StopReason.CANCELLED, "s", "t", "answer"),
    ]


def test_rows_come_back_as_they_were_pushed_streamed_or_not(hub: LocalHub, api: Any, tmp_path: Path) -> None:
    from rl2f_hub.publish.schema import DERIVED

    given = odd_dialogues()
    run = recorded(tmp_path / "run", given, dataset="odd", preferences=True)
    build(run, limits=Limits(group_rows=2, shard_rows=2))  # several shards; publish sends what is there
    publish(run, "me", api=api)
    command = [sys.executable, "-c", LOAD, "me/odd", str(tmp_path / "rows.json")]
    done = subprocess.run(
        command,
        env=env_of(hub, tmp_path / "home"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    loaded = json.loads((tmp_path / "rows.json").read_text())
    rows = [d.to_row() for d in given]
    assert loaded["dialogues"] == rows
    for config, derive in DERIVED.items():
        assert loaded[config] == [row for d in rows for row in derive(d)], config
    assert [row["task_id"] for row in loaded["tasks"]] == ["train-0", "train-1", "train-2"]


def test_an_append_adds_shards_and_touches_none(api: Any, tmp_path: Path) -> None:
    first = recorded(tmp_path / "a", [dialogue(n) for n in range(6)], dataset="grown")
    before = publish(first, "me", api=api)
    old = dict(look(api, "me/grown", "dataset").files)
    second = recorded(tmp_path / "b", [dialogue(n) for n in range(4, 10)], dataset="grown", seed=8)
    grown = publish(second, "me", append=True, api=api)
    new = dict(look(api, "me/grown", "dataset").files)
    shards = {path: what for path, what in old.items() if path.endswith(".parquet")}
    assert {path: new[path] for path in shards} == shards
    assert grown["added_rows"]["dialogues/train"] == 4
    assert grown["already_there"] == 2
    assert grown["rows"]["dialogues/train"] == 10
    assert grown["shards"]["dialogues/train"] == 2
    assert publish(second, "me", append=True, api=api)["revision"] == grown["revision"] != before["revision"]
    assert "10 dialogues" in read(api, "me/grown", "README.md", tmp_path)
    assert [p["seed"] for p in json.loads(read(api, "me/grown", INDEX, tmp_path))["parts"]] == [7, 8]


def test_an_append_keeps_what_others_made_under_the_same_id(hub: LocalHub, api: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    publish(recorded(tmp_path / "a", [dialogue(1), dialogue(2)], dataset="both"), "me", api=api)
    other = recorded(tmp_path / "b", [dialogue(1, student="you/model"), dialogue(3)], dataset="both", seed=8)
    tasks = other.path("tasks", "train.jsonl")
    lines = [json.loads(line) for line in tasks.read_text().splitlines()]
    tasks.write_text("".join(json.dumps(row | {"prompt": "Another question"}) + "\n" for row in lines))
    for _ in range(2):  # the second time changes nothing
        done = publish(other, "me", append=True, api=api)
        assert done["rows"]["dialogues/train"] == 4
    paths = [api.hf_hub_download("me/both", f"dialogues/train-0000{n}.parquet", repo_type="dataset") for n in (0, 1)]
    ids = [row["dialogue_id"] for path in paths for row in pq.read_table(path, columns=["dialogue_id"]).to_pylist()]
    assert len(set(ids)) == 4
    assert ids[2].startswith("train-1#") or ids[2].startswith("train-1/0#")


def test_an_append_to_somebody_elses_data_is_refused(api: Any, tmp_path: Path) -> None:
    api.create_repo("me/foreign", repo_type="dataset", private=True)
    api.upload_file(path_or_fileobj=b"a,b\n", path_in_repo="data.csv", repo_id="me/foreign", repo_type="dataset")
    run = recorded(tmp_path / "run", [dialogue(1)], dataset="foreign")
    with pytest.raises(UsageError, match=r"--append: me/foreign holds no readable rl2f.json"):
        publish(run, "me", append=True, api=api)
    publish(recorded(tmp_path / "plain", [dialogue(1)], dataset="columns"), "me", api=api)
    with pytest.raises(UsageError, match="other configs or columns"):
        publish(
            recorded(tmp_path / "more", [dialogue(2)], dataset="columns", preferences=True), "me", append=True, api=api
        )


def test_a_dry_run_says_what_would_happen_and_changes_nothing(hub: LocalHub, api: Any, tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", [dialogue(n) for n in range(3)], dataset="planned")
    hub.clear_faults()
    plan = dry_run(run, "me", api=api)
    assert {method for method, path, _ in hub.requests() if "/-/" not in path} <= {"GET", "HEAD"}
    assert (plan["creates"], plan["visibility"]) == (True, "private")
    assert {o["do"] for o in plan["operations"]} == {"add"}
    assert plan["upload_bytes"] == sum(o["bytes"] for o in plan["operations"])
    publish(run, "me", api=api)
    sizes = {
        path: size for path, (size, _) in look(api, "me/planned", "dataset").files.items() if path != ".gitattributes"
    }
    assert {o["path"]: o["bytes"] for o in plan["operations"]} == sizes
    assert plan["card"] == read(api, "me/planned", "README.md", tmp_path)
    after = dry_run(run, "me", api=api)
    assert {o["do"] for o in after["operations"]} == {"keep"}
    assert (after["creates"], after["upload_bytes"]) == (False, 0)


def test_publishing_again_replaces_our_shards_and_leaves_other_files(api: Any, tmp_path: Path) -> None:
    api.create_repo("me/mine", repo_type="dataset", private=True)
    for path in ("dialogues/train-00000-of-00002.parquet", "dialogues/notes.txt", "extra/train-0.parquet"):
        api.upload_file(path_or_fileobj=b"PAR1", path_in_repo=path, repo_id="me/mine", repo_type="dataset")
    run = recorded(tmp_path / "run", [dialogue(n) for n in range(3)], dataset="mine")
    deleted = [o["path"] for o in dry_run(run, "me", api=api)["operations"] if o["do"] == "delete"]
    assert deleted == ["dialogues/train-00000-of-00002.parquet"]
    publish(run, "me", api=api)
    files = set(look(api, "me/mine", "dataset").files)
    assert {"dialogues/notes.txt", "extra/train-0.parquet", "dialogues/train-00000.parquet"} <= files
    assert not files & set(deleted)


PUSH = """
import sys
from datasets import Dataset
rows = Dataset.from_list([{"a": 1}] * 3)
rows.push_to_hub("me/theirs")
rows.push_to_hub("me/theirs", "second")
"""
READ = """
from datasets import get_dataset_config_names, load_dataset
print(get_dataset_config_names("me/theirs"), len(load_dataset("me/theirs", split="train")))
"""


def test_a_data_set_takes_the_place_of_what_push_to_hub_made_and_then_of_itself(
    hub: LocalHub, api: Any, tmp_path: Path
) -> None:
    def client(code: str) -> str:
        env = env_of(hub, tmp_path / "home")
        done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    def upload(path: str, text: str) -> None:
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo=path, repo_id="me/theirs", repo_type="dataset")

    client(PUSH)
    for path in ("LICENSE", "theirs.py"):
        upload(path, "mine")
    given: dict[str, Any] = {"dataset": "theirs", "private": False}
    run = recorded(tmp_path / "a", [dialogue(n) for n in range(4)], **given, preferences=True, traces=4)
    publish(run, "me", api=api)
    names = "'dialogues', 'tasks', 'sft', 'critiques'"
    assert client(READ) == f"[{names}, 'preferences'] 4"
    files = set(look(api, "me/theirs", "dataset").files)
    assert not {path for path in files if path.startswith(("data/", "second/")) or path == "theirs.py"}
    card = read(api, "me/theirs", "README.md", tmp_path)
    upload("README.md", card.replace("configs:\n", "configs:\n- {config_name: own, data_files: own.csv}\n"))
    upload("own.csv", "a\n1\n")
    publish(recorded(tmp_path / "b", [dialogue(n) for n in range(3)], **given, traces=1), "me", api=api)
    assert client(READ) == f"[{names}, 'own'] 3"
    left = set(look(api, "me/theirs", "dataset").files)
    assert {"LICENSE", "own.csv"} <= left
    assert sum(path.startswith("traces/") for path in left) == 1
    assert not {path for path in left if path.startswith("preferences/")}


def test_private_rows_never_go_to_a_public_repository(api: Any, tmp_path: Path) -> None:
    api.create_repo("me/open", repo_type="dataset", private=False)
    run = recorded(tmp_path / "run", [dialogue(1)], dataset="open")
    for do in (publish, dry_run):
        with pytest.raises(UsageError, match=r"hub.private: true, but me/open is public already"):
            do(run, "me", api=api)
    assert commits(api, "me/open") == ["initial commit"]


def test_a_card_edited_on_the_hub_keeps_those_edits(api: Any, tmp_path: Path) -> None:
    run = recorded(tmp_path / "a", [dialogue(n) for n in range(3)], dataset="edited")
    publish(run, "me", api=api)
    text = read(api, "me/edited", "README.md", tmp_path)
    edited = text.replace("# me/edited\n", "# My own title\n\nMy own words.\n").replace(
        "## Limits and risks", "## Beware"
    )
    edited = edited.replace("license: apache-2.0", "license: apache-2.0\nmine: 1").replace(
        "pretty_name: edited", "pretty_name: Ours"
    )
    api.upload_file(path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id="me/edited", repo_type="dataset")
    more = recorded(tmp_path / "b", [dialogue(n) for n in range(5)], dataset="edited", seed=8)
    done = publish(more, "me", append=True, api=api)
    after = read(api, "me/edited", "README.md", tmp_path)
    assert done["card_kept_by_hand"] == ["limits"]
    for theirs in ("# My own title\n\nMy own words.\n", "## Beware", "mine: 1", "pretty_name: Ours"):
        assert theirs in after
    assert "5 dialogues" in after
    assert "| `dialogues/train` | 5 |" in after


def test_a_commit_of_somebody_else_in_between_is_built_upon(hub: LocalHub, api: Any, tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", [dialogue(n) for n in range(3)], dataset="raced")
    hub.fail_next(412, path="/commit/")
    publish(run, "me", api=api)
    assert [fault for _, path, fault in hub.requests() if "/commit/" in path] == [412, ""]
    assert commits(api, "me/raced") == ["Dataset of recorded", "initial commit"]


def test_patience_is_for_what_waiting_cures() -> None:
    calls: list[int] = []

    def refuse() -> None:
        calls.append(1)
        raise ValueError("no")

    with pytest.raises(ValueError):
        patiently(refuse)
    assert len(calls) == 1
