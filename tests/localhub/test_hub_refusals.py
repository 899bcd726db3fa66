"""Refusals of the local Hub that its clients' checks do not meet: the status, and a sentence that says what would do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rl2f_hub.cli.localhub import app
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.refusal import Refusal


@pytest.fixture(scope="module")
def places(http_: Any, tokens: dict[str, str]) -> dict[str, str]:
    """A model, a gated one that bob asks to see, a Space and a collection, all alice's."""
    model, gated = http_.create("refusals"), http_.create("refusals-gated")
    assert http_.commit(model, {"a.txt": b"x"}).status == 200
    api = f"/api/models/{gated}"
    assert http_("PUT", f"{api}/settings", {"gated": "manual"}).status == 200
    assert http_("POST", f"/{gated}/ask-access", {}, token=tokens["bob"]).status == 200
    assert http_("POST", f"/api/models/{model}/tag/main", {"tag": "v1"}).status == 200
    space = {"name": "refusals", "type": "space", "sdk": "static", "visibility": "public"}
    assert http_("POST", "/api/repos/create", space).status == 200
    shelf = http_("POST", "/api/collections", {"title": "refusals"}).json()["slug"]
    talk = http_("POST", f"/api/models/{model}/discussions", {"title": "talk", "description": "so"}).json()["num"]
    return {"model": model, "gated": gated, "shelf": shelf, "talk": f"/api/models/{model}/discussions/{talk}"}


GATE = "/api/models/{gated}/user-access-request"
REQUESTS: dict[str, tuple[str, str, Any, int, str]] = {
    "bucket": ("POST", "/api/collections/{shelf}/items", {"item": {"type": "bucket", "id": "x"}}, 501, "Buckets are not"),
    "paper": ("POST", "/api/collections/{shelf}/items", {"item": {"type": "paper", "id": "x"}}, 400, "an arXiv id such as"),
    "collection": (
        "POST", "/api/collections/{shelf}/items", {"item": {"type": "collection", "id": "alice/no-0"}}, 404, "not found",
    ),
    "item type": ("POST", "/api/collections/{shelf}/items", {"item": {"type": "film", "id": "x"}}, 400, "use one of"),
    "no collection": ("GET", "/api/collections/alice/none", None, 404, "Collection 'alice/none' not found"),
    "discussion": ("GET", "/api/models/{model}/discussions/first", None, 404, "Discussion 'first' not found"),
    "open already": ("POST", "{talk}/status", {"status": "open"}, 400, "is open already"),
    "no request of bob": ("POST", "/{model}/ask-access", {}, 400, "is not gated"),
    "which requests": ("GET", GATE + "/lost", None, 400, "status='lost': use one of"),
    "which handling": ("POST", GATE + "/handle", {"user": "bob", "status": "lost"}, 400, "status='lost': use one of"),
    "the same list": ("POST", GATE + "/handle", {"user": "bob", "status": "pending"}, 404, "is in the pending list already"),
    "nobody asked": ("POST", GATE + "/handle", {"user": "eve", "status": "accepted"}, 404, "No access request of 'eve'"),
    "grant to nobody": ("POST", GATE + "/grant", {"user": "nobody"}, 404, "User 'nobody' not found"),
    "gate": ("PUT", "/api/models/{model}/settings", {"gated": "often"}, 400, "gated='often': use 'auto', 'manual' or false"),
    "no branch": ("DELETE", "/api/models/{model}/branch/none", None, 404, "none"),
    "squash": ("POST", "/api/models/{model}/super-squash/none", {}, 404, "none"),
    "to a tag": ("POST", "/api/models/{model}/commit/v1", "commit", 403, "Cannot commit to 'v1': it is not a branch"),
    "job": ("GET", "/api/jobs/alice/1", None, 404, "Job '1' not found"),
    "lfs object": (
        "POST", "/{model}.git/info/lfs/objects/batch", {"operation": "upload", "objects": [{"oid": "x", "size": 1}]},
        400, "use a sha256 and a size in bytes",
    ),
    "user": ("GET", "/api/users/nobody/overview", None, 404, "User 'nobody' not found"),
    "organisation": ("GET", "/api/organizations/none/overview", None, 404, "Organization 'none' not found"),
    "members": ("GET", "/api/organizations/none/members", None, 404, "Members of 'none' are not for everybody"),
    "variable": ("DELETE", "/api/spaces/alice/refusals/variables", {"key": "NONE"}, 404, "No variable named 'NONE'"),
    "same name": ("POST", "/api/repos/move", {"fromRepo": "{model}", "toRepo": "{model}"}, 409, "already has this name"),
    "taken": ("POST", "/api/repos/move", {"fromRepo": "{model}", "toRepo": "{gated}"}, 409, "exists already"),
    "long card": ("POST", "/api/validate-yaml", {"content": "x" * (2 * 1024 * 1024 + 1)}, 400, "the card is longer than"),
    "folder": ("GET", "/{model}/tree/main/none", None, 404, "none"),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_is_refused(http_: Any, places: dict[str, str], name: str) -> None:
    method, path, body, status, words = REQUESTS[name]
    if body == "commit":
        body = b'{"key": "header", "value": {"summary": "s"}}'
    elif body is not None:
        body = json.loads(json.dumps(body).replace("{model}", places["model"]).replace("{gated}", places["gated"]))
    for key, value in places.items():
        path = path.replace(f"{{{key}}}", value)
    answer = http_(method, path, body)
    assert answer.status == status, answer.text
    assert words in answer.text
    assert "Traceback" not in answer.text


def test_without_a_token(http_: Any, places: dict[str, str]) -> None:
    assert http_("GET", "/api/whoami-v2", token=None).status == 401
    asked = http_("POST", f"/{places['gated']}/ask-access", {}, token=None)
    assert asked.status == 401 and "this request needs a token" in asked.text


def test_access_is_given_once(http_: Any, places: dict[str, str], tokens: dict[str, str]) -> None:
    grant = f"/api/models/{places['gated']}/user-access-request/grant"
    assert http_("POST", grant, {"user": "reader"}).status == 200
    again = http_("POST", grant, {"user": "reader"})
    assert again.status == 400 and "'reader' has access already" in again.text


def test_a_hidden_comment_stays_as_it_is(http_: Any, places: dict[str, str]) -> None:
    said = http_("POST", f"{places['talk']}/comment", {"comment": "no"}).json()["newMessage"]["id"]
    assert http_("POST", f"{places['talk']}/comment/{said}/hide", {}).status == 200
    edited = http_("POST", f"{places['talk']}/comment/{said}/edit", {"content": "yes"})
    assert edited.status == 400 and "A hidden comment cannot be edited" in edited.text


def test_a_signature_ends(hub: LocalHub) -> None:
    from types import SimpleNamespace

    from rl2f_hub.localhub.lfs import claims_of

    secret = b"secret"
    data = json.dumps({"use": "put", "exp": int(time.time()) - 1}).encode()
    seal = hmac.new(secret, data, hashlib.sha256).digest()
    signed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (data, seal))
    known: Any = SimpleNamespace(secret=secret)
    with pytest.raises(Refusal, match="Signature has expired or is for something else"):
        claims_of(known, signed, "put")


def test_evaluation_results_that_are_none(http_: Any) -> None:
    name = http_.create("refusals-results")
    files = {".eval_results/large.yaml": b"#" * (256 * 1024 + 1), ".eval_results/map.yaml": b"a: 1\n"}
    assert http_.commit(name, files).status == 200
    from rl2f_hub.localhub.results import entries
    from rl2f_hub.localhub.store import Store

    repo = Store(http_.hub.root).repo("model", name)
    said = {row["filename"]: row.get("error", "") for row in entries(repo, repo.resolve("main"))}
    assert "larger than" in said[".eval_results/large.yaml"]
    assert "not a list of 1 to 200 results" in said[".eval_results/map.yaml"]


def refused(call: Callable[[], Any], words: str, kind: type[Exception] = UsageError) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_names_of_users_and_organisations(tmp_path: Path) -> None:
    from rl2f_hub.localhub.users import add_user, set_member

    add_user(tmp_path, "me")
    set_member(tmp_path, "club", "me")
    refused(lambda: add_user(tmp_path, "club"), "user name 'club' is the name of an organisation: choose another")
    refused(lambda: set_member(tmp_path, "a b", "me"), "organisation name 'a b':")


@pytest.mark.parametrize("command", [["fsck"], ["push-upstream", "--all"]])
def test_a_root_that_is_no_folder(command: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*command, "--root", str(tmp_path / "none")])
    assert "is not a folder: give the folder of a local Hub" in str(done.exception)


def test_what_a_copy_upstream_needs(tmp_path: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.localhub.upstream import check_token

    monkeypatch.delenv("HF_TOKEN", raising=False)
    command = ["push-upstream", "--root", str(tmp_path)]
    assert "name the repositories to copy, or give --all" in str(CliRunner().invoke(app, command).exception)
    refused(
        lambda: check_token(hub.root, "https://huggingface.co", hub.token), "HF_TOKEN is a token of the local Hub in"
    )


def test_a_root_is_served_once(hub: LocalHub) -> None:
    from rl2f_hub.localhub.child import bind, serve_in_foreground

    refused(lambda: serve_in_foreground(hub.root, "127.0.0.1", 0, print), "is already served at http", RL2FError)
    port = int(hub.endpoint.rpartition(":")[2])
    refused(lambda: bind("127.0.0.1", port, port), f"port {port} on 127.0.0.1 cannot be used", RL2FError)


def test_a_lock_that_is_held_is_a_word_and_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    from rl2f_hub.localhub import history

    monkeypatch.setattr(history, "LOCK_SECONDS", 0.05)

    def second() -> None:
        with history.held(tmp_path / "a.lock"):
            pass

    with FileLock(tmp_path / "a.lock"):
        refused(second, "Busy: a.lock is held by another process", Refusal)


def test_a_repository_that_went_away_meanwhile(tmp_path: Path) -> None:
    import shutil

    from rl2f_hub.localhub import collections_api
    from rl2f_hub.localhub.store import Store

    store = Store(tmp_path)
    store.create("model", "me", "x", "me")
    repo = store.repo("model", "me/x")
    where = collections_api.place(store, "me", "shelf-" + "0" * 24)
    with pytest.raises(Refusal, match="not found"):
        collections_api.change(where, lambda kept: None)
    with pytest.raises(Refusal, match="none"):
        repo.squash("none", "m", "me")
    shutil.rmtree(repo.folder)
    with pytest.raises(Refusal, match="me/x"):
        repo.refs()
