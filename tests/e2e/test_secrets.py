"""Canary tokens planted in a run's environment turn up nowhere: not in a file, a log, a card, nor in a child process."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import shrunken

HUB_CANARY = "hf_of_another_hub"  # in `shrunken.environment()`: the token of a Hub that the run does not speak to
KEY_CANARY = "sk-canary-of-the-teacher"


def places(folder: Path, canaries: list[str], also: tuple[Path, ...] = ()) -> dict[str, list[str]]:
    """Files below a folder, or named with, one of the canaries; packed ones are looked into."""
    found: dict[str, list[str]] = {}
    for path in [*folder.rglob("*"), *also]:
        if not path.is_file():
            continue
        data = path.read_bytes() + str(path).encode()
        with contextlib.suppress(zlib.error):
            data += zlib.decompressobj(wbits=47).decompress(data)  # gzip and zlib alike
        for canary in canaries:
            if canary.encode() in data or canary.encode("utf-16-le") in data:
                found.setdefault(canary, []).append(str(path.relative_to(folder)))
    return found


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.bin").write_bytes(b"\0\1" + HUB_CANARY.encode() + b"\2")
    (tmp_path / "x.z").write_bytes(zlib.compress(KEY_CANARY.encode()))
    assert places(tmp_path, [HUB_CANARY, KEY_CANARY]) == {HUB_CANARY: ["deep/x.bin"], KEY_CANARY: ["x.z"]}


def test_a_full_run_writes_no_token_of_its_users_shell(finished: Path) -> None:
    assert places(finished.parent, [HUB_CANARY]) == {}  # run folder, embedded Hub, its log, caches, what was printed


def test_the_embedded_hubs_own_token_stays_in_its_file(finished: Path) -> None:
    users = finished.parent / "hub" / "users.json"
    tokens = [w for w in _strings(json.loads(users.read_text())) if w.startswith("hf_")]
    assert tokens
    assert users.stat().st_mode & 0o077 == 0
    for where in places(finished.parent, tokens).values():
        assert where == ["hub/users.json"]


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)


class _Teacher(http.server.BaseHTTPRequestHandler):
    keys: list[str] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).keys.append(self.headers.get("Authorization", ""))
        refuse = len(type(self).keys) % 5 == 0
        text = {"role": "assistant", "content": "<feedback>Look at the tens.</feedback>"}
        answer = {"id": "x", "choices": [{"index": 0, "finish_reason": "stop", "message": text}]}
        # a server that repeats the key in its errors, as some do
        body = f"wrong key {self.headers.get('Authorization')}".encode() if refuse else json.dumps(answer).encode()
        self.send_response(401 if refuse and len(type(self).keys) > 40 else 500 if refuse else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def teacher_url() -> Iterator[str]:
    _Teacher.keys = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Teacher)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def test_a_teachers_key_reaches_its_host_only(tmp_path: Path, teacher_url: str) -> None:
    """The key goes to the endpoint, and into no file, message or child; an echo of it in an error is not kept."""
    endpoint = {"url": teacher_url, "model": "m", "key_env": "CANARY_KEY", "max_retries": 1, "timeout_s": 120}
    out = tmp_path / "run"
    changes = {
        "teacher": json.dumps({"kind": "endpoint", "max_tokens": 32, "endpoint": endpoint}),
        "model.scratch.steps": 2,
    }
    process = subprocess.Popen(
        shrunken.command(out, "--only=base,generate,publish", changes=changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=shrunken.environment() | {"CANARY_KEY": KEY_CANARY},
        cwd=tmp_path,
    )
    children: dict[int, bytes] = {}
    watching = threading.Thread(target=_watch, args=(process, children), daemon=True)
    watching.start()
    said, _ = process.communicate(timeout=900)
    watching.join(5)
    assert f"Bearer {KEY_CANARY}" in _Teacher.keys
    (tmp_path / "said.txt").write_text(said)
    assert places(tmp_path, [KEY_CANARY, HUB_CANARY]) == {}
    assert children  # the embedded Hub at least
    for environment in children.values():
        assert HUB_CANARY.encode() not in environment
        assert KEY_CANARY.encode() not in environment


def _watch(process: subprocess.Popen[str], children: dict[int, bytes]) -> None:
    """Keeps the environment of every process below the run's own, as it was last seen."""
    while process.poll() is None:
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        for pid in parents:
            above, steps = parents[pid], 0
            while above not in (0, 1, process.pid) and steps < 20:
                above, steps = parents.get(above, 0), steps + 1
            if above == process.pid:
                with contextlib.suppress(OSError):
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                    environment = Path(f"/proc/{pid}/environ").read_bytes()
                    # between fork and exec a child still shows what its parent's memory held
                    if command and command != Path(f"/proc/{process.pid}/cmdline").read_bytes():
                        children[pid] = environment
        threading.Event().wait(0.05)
