"""Nothing is lost: kills before every change to the disk, sixteen writers, cut uploads, flat memory, planted damage."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from rl2f_hub.cli.localhub import app
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.blobs import git_oid
from rl2f_hub.localhub.fsck import check, tidy
from rl2f_hub.localhub.history import Repo
from rl2f_hub.localhub.server import read_state
from rl2f_hub.localhub.store import Store
from rl2f_hub.localhub.tree import Change, Entry

HERE = Path(__file__).parent
MB = 1_000_000


def test_a_kill_before_any_change_to_the_disk_leaves_the_root_as_it_was_or_as_it_shall_be(tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # some thousand fsyncs: what is tested is their order, not the disk
    folder = Path(tempfile.mkdtemp(prefix="rl2f-kill-", dir=memory if os.access(memory, os.W_OK) else tmp_path))
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / "kill_at_every_step.py"), str(folder)],
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    found = json.loads(done.stdout)
    assert found["problems"] == [] and found["kills"] > 200 and found["operations"] > 20


WRITER = """
import base64, http.client, json, sys
host, token, repo, who, count = sys.argv[1:4] + [sys.argv[4], int(sys.argv[5])]
connection = http.client.HTTPConnection(host, timeout=900)

def ask(method, path, body=None):
    connection.request(method, path, body, {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())

stale, parent = 0, ask("GET", f"/api/models/{repo}")[1]["sha"]
connection.close()  # the server hangs up on who is idle for long
print("ready", flush=True)
sys.stdin.readline()  # all of them have read the same parent before the first commits
for i in range(count):
    while True:
        lines = [{"key": "header", "value": {"summary": "c", "parentCommit": parent}},
                 {"key": "file", "value": {"path": f"{who}/{i}", "content": who, "encoding": "utf-8"}}]
        status, answer = ask("POST", f"/api/models/{repo}/commit/main", "\\n".join(map(json.dumps, lines)))
        if status == 200:
            parent = answer["commitOid"]
            break
        assert status == 412, answer
        stale, parent = stale + 1, ask("GET", f"/api/models/{repo}")[1]["sha"]
print(stale)
"""


def test_sixteen_processes_commit_at_once_and_nothing_is_lost(hub: LocalHub, http_: Any) -> None:
    name = http_.create("sixteen")
    host = hub.endpoint.removeprefix("http://")
    command = [sys.executable, "-S", "-c", WRITER, host, hub.token, name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers: list[Any] = [subprocess.Popen([*command, f"w{n}", "3"], **pipes) for n in range(16)]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 16
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    stale = sum(int(writer.communicate(timeout=900)[0]) for writer in writers)
    assert all(writer.returncode == 0 for writer in writers)
    files = {s["rfilename"] for s in http_("GET", f"/api/models/{name}").json()["siblings"]}
    assert files == {".gitattributes", *(f"w{n}/{i}" for n in range(16) for i in range(3))}
    assert len(http_("GET", f"/api/models/{name}/commits/main").json()) == 1 + 48
    assert stale >= 15  # they did meet: one of the first commits was made, the others' parent was old by then


def upload_url(http_: Any, name: str, sha256: str, size: int) -> str:
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": size}], "ref": {"name": "main"}}
    answer = http_("POST", f"/{name}.git/info/lfs/objects/batch", body).json()["objects"][0]
    parts = urlsplit(answer["actions"]["upload"]["href"])
    return f"{parts.path}?{parts.query}"


def wait(until: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.01)
    return until()


def test_a_cut_upload_leaves_nothing(hub: LocalHub, http_: Any) -> None:
    name, content = http_.create("cut"), os.urandom(3 * MB)
    sha256 = hashlib.sha256(content).hexdigest()
    tmp = hub.root / "tmp"
    before = set(tmp.glob("*"))
    passed = http_("GET", f"/api/models/{name}/xet-write-token/main").headers["x-xet-access-token"]
    head = f"Host: 127.0.0.1\r\nContent-Length: {len(content)}\r\nAuthorization: Bearer"
    for first in (
        f"PUT {upload_url(http_, name, sha256, len(content))} HTTP/1.1\r\n{head} {hub.token}",
        f"POST /cas/v1/xorbs/default/{sha256} HTTP/1.1\r\n{head} {passed}",
        f"POST /api/models/{name}/commit/main HTTP/1.1\r\n{head} {hub.token}",
    ):
        with socket.create_connection(("127.0.0.1", urlsplit(hub.endpoint).port or 0)) as line:
            line.sendall(f"{first}\r\n\r\n".encode() + content[:MB])
            if "/commit/" not in first:  # of a commit nothing is stored before its first line is whole
                assert wait(lambda: bool(set(tmp.glob("*")) - before)), "the server did not begin"
        assert wait(lambda: not set(tmp.glob("*")) - before), first
    assert not (hub.root / "blobs" / sha256[:2] / sha256).exists() and not (hub.root / "xorbs" / sha256).exists()
    assert len(http_("GET", f"/api/models/{name}/commits/main").json()) == 1


def peak(pid: int) -> int:
    """Highest resident memory of a process since the last reset, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_memory_stays_flat_while_files_go_through(hub: LocalHub, http_: Any) -> None:
    name, size, piece = http_.create("flat"), 150 * MB, os.urandom(MB)
    digest = hashlib.sha256()
    for _ in range(150):
        digest.update(piece)
    pid = read_state(hub.root)["pid"]
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    start = peak(pid)
    connection = http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=900)
    url = upload_url(http_, name, digest.hexdigest(), size)
    connection.request("PUT", url, (piece for _ in range(150)), {"Content-Length": str(size)})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read()
    line = {"key": "lfsFile", "value": {"path": "w.bin", "oid": digest.hexdigest(), "algo": "sha256"}}
    header = {"key": "header", "value": {"summary": "large"}}
    body = "\n".join(map(json.dumps, (header, line))).encode()
    assert http_("POST", f"/api/models/{name}/commit/main", body).status == 200
    connection.close()  # kept open it would be idle while the commit is made, and a server may hang up then
    connection.request("GET", f"/{name}/resolve/main/w.bin")
    answer, back = connection.getresponse(), hashlib.sha256()
    while data := answer.read(MB):
        back.update(data)
    connection.close()
    assert back.hexdigest() == digest.hexdigest()
    assert peak(pid) - start < 40 * MB, "the server held the file in memory"


# -- fsck ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Store(tmp_path).create("model", "me", "m", "me")
    for i in range(3):
        data = b"content %d" % i
        entry = Entry(made.blobs.put([data]), len(data), git_oid(data), False)
        made.write("main", [Change("add", f"f{i}.txt", entry)], f"commit {i}")
    made.mark_large(made.tree(made.resolve("main"))["f1.txt"].sha256)
    return made


def damage(root: Path) -> list[str]:
    return [f"{found.where}: {found.what}" for found in check(root).findings if found.level == "damage"]


def blob_of(repo: Repo, path: str) -> Path:
    return repo.blobs.path(repo.tree(repo.resolve("main"))[path].sha256)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def edit_refs(repo: Repo) -> None:
    refs = repo.refs()
    refs["branches"]["main"] = "0" * 40
    (repo.folder / "refs.json").write_text(json.dumps(refs))


def older(repo: Repo) -> str:
    return repo.commit(repo.resolve("main")).parent or ""


PLANTED: list[tuple[str, Callable[[Repo], Any], str]] = [
    ("blob gone", lambda r: blob_of(r, "f0.txt").unlink(), "is missing"),
    ("blob flipped", lambda r: flip(blob_of(r, "f0.txt")), "has other content"),
    ("blob cut", lambda r: blob_of(r, "f0.txt").write_bytes(b"con"), "has other content"),
    ("marked blob gone", lambda r: blob_of(r, "f1.txt").unlink(), "was uploaded, which is not whole"),
    ("old commit gone", lambda r: (r.folder / "commits" / f"{older(r)}.json").unlink(), ".json is missing"),
    ("old commit cut", lambda r: (r.folder / "commits" / f"{older(r)}.json").write_bytes(b"{"), "cannot be read"),
    ("tree gone", lambda r: (r.folder / "trees" / f"{r.commit(older(r)).tree}.json").unlink(), "is missing"),
    ("tree flipped", lambda r: flip(r.folder / "trees" / f"{r.commit(older(r)).tree}.json"), "has other content"),
    ("refs cut", lambda r: (r.folder / "refs.json").write_bytes(b""), "refs.json cannot be read"),
    ("refs gone", lambda r: (r.folder / "refs.json").unlink(), "refs.json is missing"),
    ("ref to nothing", edit_refs, "commit 000000000000"),
    ("settings gone", lambda r: (r.folder / "repo.json").unlink(), "has no repo.json"),
    ("settings cut", lambda r: (r.folder / "repo.json").write_bytes(b"[]"), "repo.json is not a dict"),
    ("open tokens", lambda r: (r.blobs.tmp.parent / "users.json").write_text("{}"), "chmod 600"),
]


@pytest.mark.parametrize(("plant", "words"), [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED])
def test_planted_damage_is_found(repo: Repo, tmp_path: Path, plant: Callable[[Repo], Any], words: str) -> None:
    assert damage(tmp_path) == []
    plant(repo)
    assert any(words in line for line in damage(tmp_path)), damage(tmp_path)
    done = CliRunner().invoke(app, ["fsck", "--root", str(tmp_path), "--json"])
    assert done.exit_code == 1 and any(f["level"] == "damage" for f in json.loads(done.stdout)["findings"])


def test_leftovers_are_no_damage_and_old_ones_are_removed(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir(exist_ok=True)
    drafts = [tmp_path / "tmp" / "half", repo.folder / ".refs.json.0123456789ab"]
    for file in drafts:
        file.write_bytes(b"half")
    repo.blobs.put([b"of nobody"])
    done = CliRunner().invoke(app, ["fsck", "--root", str(tmp_path)])
    assert done.exit_code == 0 and done.stdout.count("leftover:") == 3 and "1 of no repository, 9 bytes" in done.stdout
    assert "1 repositories, 4 commits, 5 files" in done.stdout and done.stdout.rstrip().endswith("whole")
    assert tidy(tmp_path) == 0
    for file in drafts:
        os.utime(file, (time.time() - 90_000,) * 2)
    assert tidy(tmp_path) == 2 and not any(file.exists() for file in drafts)


@pytest.fixture(scope="module", autouse=True)
def the_shared_root_is_whole_at_the_end(hub: LocalHub) -> Iterator[None]:
    yield
    assert damage(hub.root) == []
