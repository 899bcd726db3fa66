"""Run each operation of the Hub on a root and kill it, by SIGKILL, before each of its changes to the disk.

After every kill the root must be whole (fsck), be as it was before the operation or as after it, and the same
operation again must complete. A step is an open for writing, the first write after it, an fsync, a rename, a mkdir,
a removal. Prints one JSON line: {operations, kills, problems}. Usage: kill_at_every_step.py FOLDER
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl2f_hub.localhub.app import App
from rl2f_hub.localhub.child import build
from rl2f_hub.localhub.collections_api import every
from rl2f_hub.localhub.fsck import check
from rl2f_hub.localhub.store import Store
from rl2f_hub.localhub.tree import load_tree
from rl2f_hub.localhub.users import add_user, list_users

BIG = os.urandom(200_000)
SHA = hashlib.sha256(BIG).hexdigest()


async def ask(app: App, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    """One request to the application, without a socket."""
    raw, _, query = path.partition("?")
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    headers = [(b"host", b"127.0.0.1")] + ([(b"authorization", f"Bearer {token}".encode())] if token else [])
    scope = {
        "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": query.encode(),
        "headers": headers, "scheme": "http", "server": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    pieces = [data[i : i + 65_536] for i in range(0, len(data), 65_536)] or [b""]
    sent: list[Any] = []

    async def receive() -> Any:
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(content) if content.startswith((b"{", b"[")) else content


def commit(*lines: tuple[str, dict[str, Any]]) -> bytes:
    header = ("header", {"summary": "a commit"})
    return "\n".join(json.dumps({"key": key, "value": value}) for key, value in (header, *lines)).encode()


def file(path: str, content: bytes = b"text") -> tuple[str, dict[str, Any]]:
    return "file", {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


async def put_large(app: App, token: str) -> int:
    objects = {"operation": "upload", "objects": [{"oid": SHA, "size": len(BIG)}], "ref": {"name": "main"}}
    _, answer = await ask(app, "POST", "/me/m.git/info/lfs/objects/batch", objects, token)
    if "actions" not in answer["objects"][0]:
        return 200
    href = answer["objects"][0]["actions"]["upload"]["href"].removeprefix("http://127.0.0.1")
    return (await ask(app, "PUT", href, BIG))[0]


M, C = "/api/models/me/m", "/api/collections"
OPERATIONS: list[Any] = [
    ("POST", "/api/repos/create", {"name": "m", "visibility": "private"}),
    put_large,
    ("POST", f"{M}/commit/main", commit(file("a.txt"), file("d/b.txt"), ("lfsFile", {"path": "w.bin", "oid": SHA}))),
    ("POST", f"{M}/commit/main", commit(file("a.txt", b"new"), ("deletedFolder", {"path": "d"}))),
    ("POST", f"{M}/branch/dev", {}),
    ("POST", f"{M}/tag/main", {"tag": "v1"}),
    ("DELETE", f"{M}/branch/dev", None),
    ("PUT", f"{M}/settings", {"visibility": "public", "gated": "manual"}),
    ("POST", f"{M}/commit/main?create_pr=1", commit(file("p.txt"))),
    ("POST", f"{M}/discussions", {"title": "talk", "description": "words"}),
    ("POST", f"{M}/discussions", {"title": "draft", "pullRequest": True}),
    ("POST", f"{M}/discussions/1/comment", {"comment": "yes"}),
    ("POST", f"{M}/discussions/1/merge", None),
    ("POST", f"{M}/discussions/2/status", {"status": "closed"}),
    ("POST", f"{M}/super-squash/main", {}),
    ("POST", "/api/repos/create", {"name": "d", "type": "dataset"}),
    ("POST", C, {"title": "shelf", "namespace": "me", "item": {"type": "dataset", "id": "me/d"}}),
    ("POST", f"{M}/duplicate", {"repository": "me/copy"}),
    ("POST", "/api/repos/move", {"fromRepo": "me/copy", "toRepo": "me/moved"}),
    ("DELETE", "/api/repos/delete", {"name": "moved"}),
    ("POST", "/api/jobs/me", {"command": ["true"]}),
]


def state(root: Path) -> Any:
    """What the root says to its users, without ids and dates."""
    load_tree.cache_clear()  # each trial has the same path
    store, found = Store(root), []
    for repo in store.all_repos():
        refs, values = repo.refs(), repo.settings()
        heads = {name: sorted((p, e.sha256) for p, e in repo.tree(at).items()) for name, at in refs["branches"].items()}
        pulls = {n: (pull["title"], pull["status"]) for n, pull in refs["pulls"].items()}
        row = (repo.kind, repo.id, values["private"], values.get("gated"), heads, sorted(refs["tags"]), pulls)
        found.append((*row, len(list(repo.log(refs["branches"]["main"])))))
    shelves = [(kept["title"], len(kept["items"])) for _, kept in every(store)]
    return json.loads(json.dumps([found, shelves, len(list((root / "jobs").glob("*/*.json")))]))


def damage(root: Path) -> list[str]:
    return [f"{found.where}: {found.what}" for found in check(root).findings if found.level == "damage"]


def run(root: Path, operation: Any, kill_at: int | None, report: int) -> None:
    """In a child: do it, and die before step `kill_at`; write the number of steps and the status to `report`."""
    steps, prefix, locks = 0, str(root), str(root / "locks")

    def step(before_the_end: Callable[[], Any] = int) -> None:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            steps += 1  # opening the file below is no step
            before_the_end()
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, details: tuple[Any, ...]) -> None:
        changes = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        if event == "open" and not (isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        name = str(details[0]) if event == "open" or event in changes else ""
        if name.startswith(prefix) and not name.startswith(locks):
            step()
            if event == "open":  # and once more with the file open, and nothing in it yet
                step(lambda: os.open(details[0], details[2], 0o600))

    def fsync(number: int, real: Callable[[int], None] = os.fsync) -> None:
        step()
        real(number)

    token = list_users(root)[0].token
    app = build(root)
    os.fsync = fsync
    sys.addaudithook(audit)
    call = operation(app, token) if callable(operation) else ask(app, *operation, token)
    answer: Any = asyncio.run(call)
    status = answer[0] if isinstance(answer, tuple) else answer
    os.write(report, f"{steps} {status}".encode())
    os._exit(0)


def child(root: Path, operation: Any, kill_at: int | None = None) -> tuple[int, int] | None:
    """(steps, status), or None when it was killed."""
    end, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run(root, operation, kill_at, report)
        finally:
            os._exit(3)
    os.close(report)
    said = os.read(end, 100).decode()
    os.close(end)
    code = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(code):
        return None
    steps, status = said.split()
    return int(steps), int(status)


def main(folder: Path) -> dict[str, Any]:
    root, trial = folder / "root", folder / "trial"
    add_user(root, "me")
    build(root)
    problems, kills = [], 0
    for number, operation in enumerate(OPERATIONS):
        name = f"{number} {operation.__name__ if callable(operation) else ' '.join(operation[:2])}"
        before = state(root)
        shutil.copytree(root, folder / "before")
        done = child(root, operation)
        after = state(root)
        if done is None or done[1] != 200:
            return {"operations": number, "kills": kills, "problems": [f"{name}: {done}"]}
        # Until one is not killed: how many steps there are depends a little on the ids that dates give to commits, because
        # two objects may share a folder.
        for step in itertools.count(1):
            shutil.copytree(folder / "before", trial)
            if child(trial, operation, step) is not None:
                shutil.rmtree(trial)
                break
            kills += 1
            lost, found = damage(trial), state(trial)
            if lost or found not in (before, after):
                problems.append(f"{name}, step {step}: {lost or found}")
            again = child(trial, operation)
            # A second comment, pull request or job is one more; everything else is done exactly once.
            lost = damage(trial)
            if again is None or again[1] >= 500 or lost or (found == before and state(trial) != after):
                problems.append(f"{name}, step {step}, again: {again} {lost}")
            shutil.rmtree(trial)
        shutil.rmtree(folder / "before")
    return {"operations": len(OPERATIONS), "kills": kills, "problems": problems}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
