"""What a second pass as an attacker found: gates, cards that break pages, lists that tell, names that turn, other pages."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rl2f_hub.runtime.yaml_reader import read_yaml

WEIGHTS = b"---\nkey: gated\n---\n" + b"weights" * 40
SHA = hashlib.sha256(WEIGHTS).hexdigest()


def lfs_commit(http_: Any, name: str, paths: list[str], token: str, query: str = "") -> Any:
    lines: list[Any] = [{"key": "header", "value": {"summary": "large"}}]
    lines += [{"key": "lfsFile", "value": {"path": path, "oid": SHA, "algo": "sha256"}} for path in paths]
    body = "\n".join(map(json.dumps, lines)).encode()
    return http_("POST", f"/api/models/{name}/commit/main{query}", body, token=token)


@pytest.fixture
def gated(http_: Any, request: pytest.FixtureRequest) -> str:
    """A gated model of alice with one large file."""
    name = http_.create(f"attack-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")
    body = {"operation": "upload", "objects": [{"oid": SHA, "size": len(WEIGHTS)}], "ref": {"name": "main"}}
    href = http_("POST", f"/{name}.git/info/lfs/objects/batch", body).json()["objects"][0]["actions"]["upload"]["href"]
    parts = urlsplit(href)
    assert http_("PUT", f"{parts.path}?{parts.query}", WEIGHTS, token=None).status == 200
    assert lfs_commit(http_, name, ["model.safetensors"], "own").status == 200
    assert http_("PUT", f"/api/models/{name}/settings", {"gated": "manual"}).status == 200
    return name


def test_a_pull_request_is_no_way_around_a_gate(http_: Any, tokens: dict[str, str], gated: str) -> None:
    bob = tokens["bob"]
    sent = lfs_commit(http_, gated, ["README.md"], bob, "?create_pr=1")
    assert sent.status == 403 and "restricted" in sent.json()["error"]
    objects = {"operation": "upload", "objects": [{"oid": SHA, "size": 1}]}
    assert http_("POST", f"/{gated}.git/info/lfs/objects/batch", objects, token=bob).status == 403
    files = {"files": [{"path": "a", "size": 1, "sample": ""}]}
    assert http_("POST", f"/api/models/{gated}/preupload/main?create_pr=1", files, token=bob).status == 403


def test_a_large_file_does_not_pass_a_gate_as_a_card(http_: Any, tokens: dict[str, str], gated: str) -> None:
    names = ["README.md", ".eval_results/x.yaml"]
    assert lfs_commit(http_, gated, names, "own").status == 200
    info = http_("GET", f"/api/models/{gated}?expand=evalResults", token=tokens["bob"])
    assert info.status == 200 and "weights" not in info.text and info.json()["cardData"] == {}
    for path in (f"/{gated}/resolve/main/README.md", f"/{gated}/blob/main/README.md"):
        answer = http_("GET", path, token=tokens["bob"])
        assert answer.status == 403 and b"weights" not in answer.body, path
    assert http_("GET", f"/{gated}/resolve/main/README.md").body == WEIGHTS  # its owner reads it


# PyYAML answers the first ones with IndexError, AttributeError and KeyError; JSON cannot write such numbers.
CARDS = ['a: !!int ""', 'a: !!timestamp "x"', 'a: !!bool "x"', "a: 0x" + "f" * 5000, "? 0x" + "f" * 5000 + "\n: 1"]
CARDS += ["configs: 5", "sdk: {a: 1}", "sdk: 5", "sdk: [a]", "pipeline_tag: {a: 1}", "library_name: [a]", "tags: 7"]


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_no_card_of_one_breaks_the_pages_of_all(http_: Any, kind: str) -> None:
    prefix = "" if kind == "model" else f"{kind}s/"
    for number, front in enumerate(CARDS):
        name = http_.create(f"card-{kind}-{number}", kind)
        card = f"---\n{front}\n---\ntext".encode()
        assert http_.commit(name, {"README.md": card, "a/x.parquet": b"PAR1"}, kind).status == 200
        pages = ["/", f"/{prefix}{name}", f"/api/{kind}s?full=1", f"/api/{kind}s/{name}"]
        for path in pages:
            assert http_("GET", path).status == 200, (front[:40], path)
        assert http_("POST", "/api/validate-yaml", {"content": card.decode()}).status in (200, 400), front[:40]
        assert http_("DELETE", "/api/repos/delete", {"name": name.split("/")[1], "type": kind}).status == 200


def test_the_filter_of_collections_does_not_tell_what_is_private(http_: Any, tokens: dict[str, str]) -> None:
    name = http_.create("attack-hidden", private=True)
    body = {"title": "attack", "namespace": "alice", "item": {"type": "model", "id": name}}
    made = http_("POST", "/api/collections", body)
    assert made.status == 200, made.text
    ask = f"/api/collections?item=models/{name}"
    assert len(http_("GET", ask).json()) == 1
    assert http_("GET", ask, token=tokens["bob"]).json() == http_("GET", ask, token=None).json() == []


@pytest.mark.parametrize("path", ["pay\u202etxt.exe", "a\u2066b", "a\x85b", "a\u200fb"])
def test_names_that_turn_the_writing_around_are_refused(http_: Any, path: str) -> None:
    name = http_.create(f"turn-{ord(path[1])}-{len(path)}")
    assert http_.commit(name, {path: b"x"}).status == 400


def test_pages_show_no_direction_overrides(http_: Any) -> None:
    name = http_.create("attack-turned")
    assert http_.commit(name, {"README.md": "safe \u202efdp.exe\x1b[2J".encode()}, summary="x\u202ey").status == 200
    for path in (f"/{name}", f"/{name}/commits/main", f"/{name}/blob/main/README.md"):
        page = http_("GET", path)
        assert page.status == 200 and not {"\u202e", "\x1b"} & set(page.text), path


def test_another_page_of_the_browser_may_not_send_anything(http_: Any, hub: Any) -> None:
    for origin, status in (("http://evil.example", 403), ("null", 403), (hub.endpoint, 200)):
        body = {"content": "---\na: 1\n---\n"}
        assert http_("POST", "/api/validate-yaml", body, headers={"Origin": origin}).status == status, origin


def test_without_a_token_a_body_is_small(http_: Any) -> None:
    body = b" " * (5 << 20)
    assert http_("POST", "/api/validate-yaml", body, token=None).status == 413


def test_what_is_squashed_away_cannot_be_read_by_its_commit(http_: Any) -> None:
    name = http_.create("attack-squash")
    old = http_.commit(name, {"words.txt": b"taken back"}).json()["commitOid"]
    kept = http_.commit(name, {"words.txt": b"stays"}).json()["commitOid"]
    assert http_("POST", f"/api/models/{name}/tag/{kept}", {"tag": "v1"}).status == 200
    assert http_("POST", f"/api/models/{name}/super-squash/main", {}).status == 200
    assert http_("GET", f"/{name}/resolve/{kept}/words.txt").body == b"stays"  # a tag leads there
    assert http_("DELETE", f"/api/models/{name}/tag/v1").status == 200
    assert http_("POST", f"/api/models/{name}/super-squash/main", {}).status == 200
    assert http_("GET", f"/{name}/resolve/{old}/words.txt").status == 404
    assert http_("GET", f"/{name}/resolve/main/words.txt").body == b"stays"


PLAIN = "a: " + "1:" * 200_000 + "1"  # a number of base 60 in YAML 1.1: square time
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
LONG = "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 40_000 + "]"


@pytest.mark.parametrize(
    "front", [MERGES, ALIASES, LONG, "[" * 200_000, "- " * 200_000, "a: [" + "1, " * 160_000 + "]"]
)
def test_a_card_that_stands_for_more_than_a_list_can_bear_is_refused(http_: Any, front: str) -> None:
    answer = http_("POST", "/api/validate-yaml", {"content": f"---\n{front}\n---\n"})
    assert answer.status == 400 and answer.json()["errors"], answer.text[:200]


def test_a_plain_scalar_is_no_arithmetic(http_: Any) -> None:
    name = http_.create("attack-base60")
    assert (
        http_.commit(name, {"README.md": f"---\n{PLAIN}\nb: 1:30\nc: 2024-01-01\nd: no\n---\n".encode()}).status == 200
    )
    data = http_("GET", f"/api/models/{name}").json()["cardData"]
    assert data["a"] == PLAIN[3:] and (data["b"], data["c"], data["d"]) == ("1:30", "2024-01-01", "no")
    assert http_("DELETE", "/api/repos/delete", {"name": "attack-base60", "type": "model"}).status == 200


def test_a_card_is_read_once_however_often_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.localhub import card, results
    from rl2f_hub.localhub.blobs import git_oid
    from rl2f_hub.localhub.repos_api import describe
    from rl2f_hub.localhub.store import Store
    from rl2f_hub.localhub.tree import Change, Entry

    reads: list[str] = []
    monkeypatch.setattr(card, "read_yaml", lambda text: reads.append(text) or read_yaml(text))
    store = Store(tmp_path)
    repo = store.create("model", "a", "b", "a")
    files = {"README.md": "---\nlicense: mit\nx: once\n---\n", ".eval_results/x.yaml": "once: [", "z/y": "1"}
    changes = []
    for path, text in files.items():
        data = text.encode()
        changes.append(Change("add", path, Entry(store.blobs.put([data]), len(data), git_oid(data), False)))
    oid, _ = repo.write("main", changes, "files")
    for _ in range(3):
        assert describe(repo, oid)["tags"] == ["license:mit"] and "error" in results.entries(repo, oid)[0]
    assert len(reads) == 2


def test_what_is_remembered_of_cards_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.localhub import card

    monkeypatch.setattr(card, "_REMEMBERED", 5000)
    monkeypatch.setattr(card, "_known", known := OrderedDict())
    for i in range(100):
        assert card.parsed(str(i), lambda: f"---\na: {'x' * 500}\n---\n", card.metadata) == {"a": "x" * 500}
    assert 1 < len(known) < 12 and ("99", "metadata") in known


@pytest.mark.parametrize("path", ["/".join(["a"] * 65), "a" * 200 + "/" + "/".join(["b" * 200] * 5)])
def test_deep_and_long_paths_are_refused(http_: Any, path: str) -> None:
    name = http_.create(f"deep-{len(path)}")
    answer = http_.commit(name, {path: b"x"})
    assert answer.status == 400 and "use" in answer.json()["error"]


def test_the_files_of_a_repository_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.localhub import tree
    from rl2f_hub.localhub.refusal import Refusal

    entry = tree.Entry("0" * 64, 1, "0" * 40, False)
    few = [tree.Change("add", f"{i}/{'d/' * 20}x", entry) for i in range(30)]
    assert len(tree.apply({}, few)) == 30
    for name, value in (("MOST_FILES", 20), ("MOST_FOLDER_TEXT", 5000), ("MOST_FOLDER_DELETIONS", 2)):
        with monkeypatch.context() as patch, pytest.raises(Refusal, match=r"at most|more than"):
            patch.setattr(tree, name, value)
            tree.apply({}, [*few, *(tree.Change("delete_folder", f"{i}") for i in range(3))])


def test_patterns_of_a_card_are_not_tried_on_every_file_without_end() -> None:
    from rl2f_hub.localhub import preview
    from rl2f_hub.localhub.tree import Entry

    files = {f"{i}.parquet": Entry("0" * 64, 1, "0" * 40, False) for i in range(1000)}
    configs = [{"config_name": f"c{i}", "data_files": "*.parquet"} for i in range(2000)]
    assert 1 <= len(preview.configs(files, {"configs": configs})) <= preview.MOST_LOOKS // 1000
