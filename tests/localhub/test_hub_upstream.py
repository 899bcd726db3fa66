"""Copying to another Hub, which is a second local one here: exact links, nothing overwritten, no token astray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.errors import UsageError
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.blobs import git_oid
from rl2f_hub.localhub.history import Repo
from rl2f_hub.localhub.store import Store
from rl2f_hub.localhub.tree import Change, Entry
from rl2f_hub.localhub.upstream import REAL, check_token, chosen
from rl2f_hub.localhub.users import add_user, find_user

REPO = Path(__file__).resolve().parents[2]
WEIGHTS = os.urandom(1_500_000)


def put(repo: Repo, files: dict[str, bytes]) -> str:
    changes = []
    for path, data in files.items():
        sha256 = repo.blobs.put([data])
        if path.endswith(".safetensors"):
            repo.mark_large(sha256)
            changes.append(Change("add", path, repo.large_entry(sha256)))
        else:
            changes.append(Change("add", path, Entry(sha256, len(data), git_oid(data), False)))
    return repo.write("main", changes, "files")[0]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a dataset, an adapter whose card names it and its commit, and a Space."""
    folder = tmp_path_factory.mktemp("upstream") / "root"
    add_user(folder, "me")
    store = Store(folder)
    data = store.create("dataset", "me", "rows", "me", private=True)
    sha = put(data, {"rows.jsonl": b'{"a": 1}\n'})
    put(data, {"README.md": b"# Rows\n"})  # a card that was written after the data
    adapter = store.create("model", "me", "adapter", "me", private=False)
    card = (
        f"---\ndatasets:\n- me/rows\n---\nTrained on [me/rows](https://huggingface.co/datasets/me/rows/tree/{sha}), "
        f"not on me/rows-2 or some/me/rows.\n"
    )
    put(adapter, {"README.md": card.encode(), "w.safetensors": WEIGHTS})
    adapter.create_tag("v1", "main", "")
    adapter.create_tag("old", next(c.oid for c in adapter.log(adapter.resolve("main")) if not c.parent), "")
    space = store.create("space", "me", "demo", "me", private=True, sdk="gradio", variables={"A": {}})
    put(space, {"app.py": b"print(1)\n"})
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub.start(tmp_path_factory.mktemp("other") / "root", user="ann", faults=True) as hub:
        yield hub


@pytest.fixture
def push(root: Path, other: LocalHub, tmp_path: Path) -> Callable[..., Any]:
    """Run the command in a process of its own; returns (exit code, parsed stdout or text, stderr)."""

    def run(*arguments: str, **variables: str | None) -> tuple[int, Any, str]:
        code = (
            "import sys\nfrom rl2f_hub.errors import RL2FError\nfrom rl2f_hub.cli.localhub import app\n"
            "try:\n    app()\nexcept RL2FError as error:\n    print(f'error: {error}', file=sys.stderr)\n"
            "    sys.exit(error.exit_code)"
        )
        hidden = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT")
        env = {k: v for k, v in os.environ.items() if k not in hidden}
        env |= {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPO), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        env |= {k: v for k, v in {"HF_TOKEN": other.token, **variables}.items() if v is not None}
        command = [sys.executable, "-c", code, "push-upstream", *arguments, "--root", str(root)]
        command += [] if "--endpoint" in arguments else ["--endpoint", other.endpoint]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout) if "--json" in arguments else done.stdout, done.stderr

    return run


def test_the_plan_lists_operations_sizes_and_visibility_and_sends_nothing(push: Any, other: LocalHub) -> None:
    other.clear_faults()
    code, found, _ = push("--all", "--dry-run", "--json")
    assert code == 0 and found["done"] == []
    assert [(p["kind"], p["target"], p["private"], p["exists"]) for p in found["plans"]] == [
        ("dataset", "ann/rows", True, False), ("model", "ann/adapter", False, False), ("space", "ann/demo", True, False),
    ]  # fmt: skip
    model = found["plans"][1]
    assert {"operation": "add", "path": "w.safetensors", "bytes": len(WEIGHTS)} in model["files"]
    assert model["bytes"] >= len(WEIGHTS) and model["tags"] == ["v1"] and "tag old points" in model["notes"][0]
    assert "variables and secrets are not copied" in found["plans"][2]["notes"][0]
    assert {row[0] for row in other.requests()} <= {"GET", "HEAD"}
    code, text, _ = push("me/adapter", "--dry-run", "--endpoint", REAL, HF_TOKEN=None)  # asks nobody
    assert code == 0 and "not asked: no token" in text and "w.safetensors" in text


def test_copies_are_exact_links_included_and_a_second_run_changes_nothing(
    push: Any, other: LocalHub, root: Path, http_class: Any
) -> None:
    with LocalHub.start(root, faults=True) as mine:  # as if the user had exported its address
        code, out, err = push("--all", HF_ENDPOINT=mine.endpoint)
        assert code == 0, err
        assert mine.requests() == []  # the source is read from its folder: no token reached this server
    assert other.token not in out + err
    call = http_class(other)
    there = Store(other.root)
    data, adapter = there.repo("dataset", "ann/rows"), there.repo("model", "ann/adapter")
    sha = data.resolve("main")
    assert data.settings()["private"] and not adapter.settings()["private"]
    assert call("GET", "/ann/adapter/resolve/v1/w.safetensors").body == WEIGHTS
    text = call("GET", "/ann/adapter/resolve/main/README.md").text
    assert "- ann/rows\n" in text and f"[ann/rows](https://huggingface.co/datasets/ann/rows/tree/{sha})" in text
    assert "not on me/rows-2 or some/me/rows" in text
    assert there.repo("space", "ann/demo").settings()["sdk"] == "gradio"
    heads = [there.repo(*each).resolve("main") for each in (("dataset", "ann/rows"), ("model", "ann/adapter"))]
    assert len(list(adapter.log(heads[1]))) == 2  # one commit of ours
    code, found, _ = push("--all", "--json")
    assert code == 0 and all(f["operation"] == "same" for p in found["plans"] for f in p["files"])
    assert heads == [row["commit"] for row in found["done"][:2]]


def test_what_others_changed_is_kept_unless_told_otherwise(
    push: Any, other: LocalHub, root: Path, http_class: Any
) -> None:
    call = http_class(other)
    assert push("me/adapter")[0] == 0
    edited = b"edited by hand over there"
    assert call.commit("ann/adapter", {"README.md": edited}).status == 200
    code, _, err = push("me/adapter")
    assert code == 1 and err.count("\n") == 1 and "README.md differs: --overwrite replaces it" in err
    assert call("GET", "/ann/adapter/resolve/main/README.md").body == edited
    assert push("me/adapter", "--overwrite")[0] == 0
    assert call("GET", "/ann/adapter/resolve/main/README.md").body != edited
    assert call.commit("ann/adapter", {"notes.txt": b"theirs"}).status == 200  # does not differ from ours: no clash
    assert push("me/adapter")[0] == 0 and call("GET", "/ann/adapter/resolve/main/notes.txt").body == b"theirs"


def test_a_token_never_goes_to_the_wrong_hub(push: Any, other: LocalHub, root: Path) -> None:
    other.clear_faults()
    own = find_user(root, "me").token
    for token, endpoint, words in (
        ("hf_" + "a" * 34, other.endpoint, "a token of the real Hub and is not sent to"),
        (other.token, REAL, "a token of a local Hub and is not sent to"),
        (own, other.endpoint, "a token of the local Hub in"),
        (own, REAL, "a token of the local Hub in"),
    ):
        code, _, err = push("--all", "--endpoint", endpoint, HF_TOKEN=token)
        assert code == 2 and words in err and err.count("\n") == 1 and token not in err
    assert other.requests() == []


@pytest.mark.parametrize(
    ("endpoint", "fits"),
    [
        (REAL, "real"), ("https://hf.co", "real"), ("https://hub.example.org", "both"), ("http://localhost:1", "local"),
        ("http://127.0.0.2", "local"), ("http://[::1]:9", "local"), ("http://192.168.1.7:80", "local"),
        ("http://box.local", "local"), ("https://nothuggingface.co", "both"), ("https://x.huggingface.co", "real"),
    ],
)  # fmt: skip
def test_which_token_may_go_where(tmp_path: Path, endpoint: str, fits: str) -> None:
    for kind, token in (("real", "hf_" + "a" * 34), ("local", "hf_localhub" + "a" * 26)):
        if fits in (kind, "both"):
            check_token(tmp_path, endpoint, token)
        else:
            with pytest.raises(UsageError, match="is not sent to"):
                check_token(tmp_path, endpoint, token)


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["me/none"], {}, "repository 'me/none' is not here"),
        ([], {}, "name the repositories to copy, or give --all"),
        (["me/rows"], {"HF_TOKEN": None}, "HF_TOKEN is not set"),
        (["me/rows", "--namespace", "bob"], {}, "403: the token may not write there: choose --namespace"),
        (["me/rows"], {"HF_TOKEN": "hf_localhubwrong"}, "401: the token is wrong, expired or missing"),
        (["me/rows", "--endpoint", "http://127.0.0.1:9"], {}, "cannot be reached"),
        (["me/rows"], {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)  # fmt: skip
def test_errors_are_one_line(push: Any, arguments: list[str], variables: dict[str, Any], words: str) -> None:
    code, _, err = push(*arguments, **variables)
    assert code in (1, 2) and words in err and err.startswith("error: ") and err.count("\n") == 1, err


def test_a_name_of_several_kinds_needs_its_kind(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for kind in ("model", "dataset"):
        store.create(kind, "me", "x", "me")
    with pytest.raises(UsageError, match="put datasets/ or spaces/ in front"):
        chosen(tmp_path, ["me/x"])
    assert [repo.kind for repo in chosen(tmp_path, ["datasets/me/x"])] == ["dataset"]
