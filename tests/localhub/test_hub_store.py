"""The store alone: names, atomic commits, several writers, and what a killed process leaves behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rl2f_hub.localhub.blobs import Draft, git_oid
from rl2f_hub.localhub.history import Repo
from rl2f_hub.localhub.names import check_path, check_ref, name_problem, user_problem
from rl2f_hub.localhub.refusal import Refusal
from rl2f_hub.localhub.store import Store
from rl2f_hub.localhub.tree import Change, Entry

REPO = Path(__file__).resolve().parents[2]

BAD_PATHS = [
    "", "/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "a/", ".git/config", "a/.GIT/hooks/x", "a\\..\\b", "C:/x",
    "a\x00b", "a\nb", "a\x7fb", "x" * 300, "a/" * 3000 + "b", "\ud800", None, 7, ["a"],
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


@pytest.fixture
def repo(store: Store) -> Repo:
    return store.create("model", "me", "m", "me")


def add(repo: Repo, path: str, content: bytes, parent: str | None = None) -> str:
    entry = Entry(repo.blobs.put([content]), len(content), git_oid(content), False)
    return repo.write("main", [Change("add", path, entry)], f"add {path}", parent=parent)[0]


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda p: repr(p)[:20])
def test_paths_that_could_leave_a_download_folder_are_refused(path: object) -> None:
    with pytest.raises(Refusal) as refused:
        check_path(path)
    assert refused.value.status == 400


@pytest.mark.parametrize("path", ["a", "a b/ü.txt", ".gitattributes", "a/..b", "...", "git/.github/x", "日本/語.txt"])
def test_ordinary_paths_are_accepted(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a..b", "a--b", "a/b", "-a", "a.", "x.git", "ä", "a" * 97, "a\n", None]
)
def test_bad_names_are_refused(name: object) -> None:
    assert name_problem(name)


def test_a_user_cannot_take_a_word_of_the_urls() -> None:
    assert user_problem("api") and user_problem("Datasets") and not user_problem("apis")


@pytest.mark.parametrize(
    "ref", ["", "a b", "a..b", "/a", "a/", "a~1", "refs/heads/x", "x.lock", "a" * 40, "HEAD", "-x"]
)
def test_bad_branch_names_are_refused(ref: str) -> None:
    with pytest.raises(Refusal):
        check_ref(ref, "branch")


def test_a_new_repository_has_one_commit(repo: Repo) -> None:
    assert [commit.title for commit in repo.log(repo.resolve("main"))] == ["initial commit"]
    assert list(repo.tree(repo.resolve("main"))) == [".gitattributes"]


def test_git_oids_are_those_of_git() -> None:
    assert git_oid(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_stale_parent_is_refused_and_changes_nothing(repo: Repo) -> None:
    first = add(repo, "a", b"1")
    second = add(repo, "b", b"2", parent=first)
    with pytest.raises(Refusal) as refused:
        add(repo, "c", b"3", parent=first)
    assert refused.value.status == 412 and repo.resolve("main") == second


def test_a_file_cannot_be_a_folder_too(repo: Repo) -> None:
    add(repo, "a", b"file")
    with pytest.raises(Refusal):
        add(repo, "a/b", b"inside")
    assert set(repo.tree(repo.resolve("main"))) == {".gitattributes", "a"}


def test_upload_must_be_the_announced_content(store: Store) -> None:
    draft = Draft(store.blobs)
    draft.write(b"something else")
    with pytest.raises(Refusal):
        draft.keep("0" * 64)
    assert not list(store.blobs.tmp.iterdir())


def test_a_hash_is_no_right_to_content(store: Store, repo: Repo) -> None:
    sha256 = store.blobs.put([b"of somebody else's private repository"])
    with pytest.raises(Refusal, match="was not uploaded to"):
        repo.large_entry(sha256)
    repo.mark_large(sha256)
    assert repo.large_entry(sha256).size == 37


def test_last_changes_name_the_commit_of_files_and_folders(repo: Repo) -> None:
    one, two = add(repo, "d/a", b"1"), add(repo, "d/b", b"2")
    found = repo.last_changes(two, ["d", "d/a", "d/b", ".gitattributes"])
    titles = {path: commit.title for path, commit in found.items()}
    assert titles == {"d": "add d/b", "d/a": "add d/a", "d/b": "add d/b", ".gitattributes": "initial commit"}
    assert one != two


COMMITTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from rl2f_hub.localhub.store import Store
from rl2f_hub.localhub.tree import Change, Entry
from rl2f_hub.localhub.tree import Change, Entry
from rl2f_hub.localhub.blobs import git_oid
from rl2f_hub.localhub.refusal import Refusal
store, who, count, stale = Store(Path(sys.argv[2])), sys.argv[3], int(sys.argv[4]), sys.argv[5] == "stale"
repo = store.repo("model", "me/m")
parent = repo.resolve("main")
for i in range(count):
    data = f"{who}-{i}".encode()
    entry = Entry(store.blobs.put([data]), len(data), git_oid(data), False)
    while True:
        try:
            parent, _ = repo.write("main", [Change("add", f"{who}/{i}", entry)], "c", parent=parent if stale else None)
            break
        except Refusal as refusal:
            assert refusal.status == 412, refusal
            parent = repo.resolve("main")
    print(f"{who}/{i}", flush=True)
"""


def committers(root: Path, count: int, many: int, how: str) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-c", COMMITTER, str(REPO), str(root)]
    return [
        subprocess.Popen([*command, f"w{n}", str(count), how], stdout=subprocess.PIPE, text=True) for n in range(many)
    ]


@pytest.mark.parametrize("how", ["stale", "no parent"])
def test_eight_processes_commit_and_nothing_is_lost(store: Store, repo: Repo, how: str) -> None:
    running = committers(store.root, 5, 8, how)
    for process in running:
        process.communicate(timeout=900)
        assert process.returncode == 0
    head = repo.resolve("main")
    assert len(repo.tree(head)) == 1 + 8 * 5
    assert len(list(repo.log(head))) == 1 + 8 * 5


def consistent(repo: Repo) -> set[str]:
    """Check every ref, commit, tree and blob of a repository; returns the paths at its head."""
    refs = repo.refs()
    for oid in refs["branches"].values():
        for commit in repo.log(oid):
            for entry in repo.tree(commit).values():
                data = repo.blobs.read(entry.sha256)
                assert len(data) == entry.size and hashlib.sha256(data).hexdigest() == entry.sha256
    return set(repo.tree(repo.resolve("main")))


def test_killed_writers_leave_a_whole_repository(store: Store, repo: Repo) -> None:
    for _ in range(3):
        running = committers(store.root, 1000, 3, "stale")
        said: list[str] = []

        def listen(process: subprocess.Popen[str], said: list[str] = said) -> None:
            assert process.stdout is not None
            said.extend(line.strip() for line in process.stdout if line.endswith("\n"))

        listeners = [threading.Thread(target=listen, args=(process,)) for process in running]
        for thread in listeners:
            thread.start()
        until = time.monotonic() + 120
        while len(said) < 6 and time.monotonic() < until:
            time.sleep(0.01)
        for process in running:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        for thread in listeners:
            thread.join()
        assert len(said) >= 6
        assert set(said) <= consistent(repo)  # whatever was acknowledged is there
    add(repo, "after", b"and the next commit works")


def test_readers_never_see_half_a_commit(store: Store, repo: Repo) -> None:
    running, seen = committers(store.root, 15, 2, "no parent"), 0
    while any(process.poll() is None for process in running):
        paths = repo.tree(repo.resolve("main"))
        assert len(paths) >= seen
        seen = len(paths)
    assert all(process.wait() == 0 for process in running) and len(repo.tree(repo.resolve("main"))) == 31


def test_abandoned_uploads_are_tidied_after_a_day(store: Store) -> None:
    store.blobs.tmp.mkdir()
    old, new = store.blobs.tmp / "old", store.blobs.tmp / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    store.tidy()
    assert not old.exists() and new.exists()


def test_a_failed_creation_leaves_nothing(store: Store) -> None:
    with pytest.raises(Refusal):
        store.create("model", "me", "../evil", "me")
    store.create("model", "me", "x", "me")
    with pytest.raises(Refusal):
        store.create("model", "me", "x", "me")
    assert [repo.id for repo in store.all_repos()] == ["me/x"]
    assert not list((store.root / "tmp").iterdir())
