"""Starting, joining and ending the server; what happens when somebody is killed; what clients get to see."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.errors import RL2FError
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.server import answers, read_state
from rl2f_hub.localhub.store import Store
from rl2f_hub.localhub.users import add_user, find_user

REPO = Path(__file__).resolve().parents[2]
HEAVY = ("starlette", "uvicorn", "pyarrow", "huggingface_hub", "torch", "datasets", "yaml", "markdown_it", "lz4")


@pytest.fixture
def hubs() -> Iterator[ExitStack]:
    """Hubs entered here are closed at the end of the test."""
    with ExitStack() as stack:
        yield stack


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait(condition: Any, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def pid_of(hub: LocalHub) -> int:
    return read_state(hub.root)["pid"]


def python(code: str, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, **more)


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, rl2f_hub.localhub as l; l.LocalHub; print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code).communicate()[0].strip() == "[]"


def test_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, rl2f_hub.cli.localhub; print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code).communicate()[0].strip() == "[]"


def test_start_answers_and_close_ends_it(tmp_path: Path) -> None:
    with LocalHub.start(tmp_path / "new" / "root") as hub:
        assert hub.user == "me" and hub.token.startswith("hf_localhub") and hub.token not in repr(hub)
        assert hub.endpoint.startswith("http://127.0.0.1:") and answers(read_state(hub.root))
        pid = pid_of(hub)
    assert not alive(pid) and not answers(read_state(hub.root))


def test_the_port_is_remembered_while_it_is_free(tmp_path: Path) -> None:
    with LocalHub.start(tmp_path) as hub:
        first = hub.endpoint
    with LocalHub.start(tmp_path) as hub:
        assert hub.endpoint == first
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(first.rpartition(":")[2])))
        other.listen()
        with LocalHub.start(tmp_path) as hub:
            assert hub.endpoint != first


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            RL2FError, match=f"port {port} on 127.0.0.1 cannot be used: Address already in use"
        ) as error:
            LocalHub.start(tmp_path, port=port)
    assert "\n" not in str(error.value)


def test_a_second_start_joins_and_its_close_leaves_the_server(tmp_path: Path, hubs: ExitStack) -> None:
    first = hubs.enter_context(LocalHub.start(tmp_path, user="ana"))
    second = LocalHub.start(tmp_path, user="ben")
    assert second.endpoint == first.endpoint and second.token != first.token
    second.close()
    second.close()
    assert answers(read_state(tmp_path))


def test_the_server_waits_for_those_who_joined(tmp_path: Path) -> None:
    first, second = LocalHub.start(tmp_path), LocalHub.start(tmp_path)
    pid = pid_of(first)
    first.close()
    assert alive(pid) and answers(read_state(tmp_path))
    third = LocalHub.start(tmp_path)
    second.close()
    time.sleep(0.6)
    assert answers(read_state(tmp_path))
    third.close()
    assert wait(lambda: not alive(pid))


def test_starting_at_the_same_time_gives_one_server(tmp_path: Path, hubs: ExitStack) -> None:
    found: list[LocalHub] = []
    threads = [threading.Thread(target=lambda: found.append(LocalHub.start(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for hub in found:
        hubs.enter_context(hub)
    assert len(found) == 4 and len({hub.endpoint for hub in found}) == 1 and len({hub.token for hub in found}) == 1


PARENT = """
import sys, time
from pathlib import Path
from rl2f_hub.localhub import LocalHub
hub = LocalHub.start(Path(sys.argv[1]))
print(hub.endpoint, flush=True)
time.sleep(600)
"""


def test_killing_the_parent_ends_the_server(tmp_path: Path) -> None:
    parent = python(PARENT, str(tmp_path))
    assert parent.stdout is not None and parent.stdout.readline().startswith("http")
    pid = read_state(tmp_path)["pid"]
    assert alive(pid)
    parent.kill()
    parent.wait()
    assert wait(lambda: not alive(pid)), "the server outlived its parent"


def test_a_server_that_cannot_write_any_more_ends_with_its_parent(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    parent = python(PARENT, str(root))
    assert parent.stdout is not None and parent.stdout.readline().startswith("http")
    pid = read_state(root)["pid"]
    shutil.rmtree(root)
    root.write_text("not a folder")  # as a full disk does: whatever the server writes now fails
    parent.kill()
    parent.wait()
    assert wait(lambda: not alive(pid)), "the server outlived its parent"


def test_a_killed_process_that_joined_does_not_keep_the_server(tmp_path: Path) -> None:
    hub = LocalHub.start(tmp_path)
    joined = python(PARENT, str(tmp_path))
    assert joined.stdout is not None and joined.stdout.readline().strip() == hub.endpoint
    pid = pid_of(hub)
    joined.kill()
    joined.wait()
    hub.close()
    assert wait(lambda: not alive(pid))


def test_ctrl_c_for_the_parent_is_not_for_the_server(tmp_path: Path, hubs: ExitStack) -> None:
    hub = hubs.enter_context(LocalHub.start(tmp_path))
    assert os.getpgid(pid_of(hub)) != os.getpgid(0)


def test_a_server_killed_amid_commits_leaves_a_whole_root(tmp_path: Path, http_class: Any) -> None:
    hub = LocalHub.start(tmp_path)
    http_ = http_class(hub)
    name = http_.create("crash")
    said: list[str] = []

    def work(me: int) -> None:
        for i in range(1000):
            try:
                answer = http_.commit(name, {f"{me}/{i}": os.urandom(2000)})
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 200:
                said.append(f"{me}/{i}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    assert wait(lambda: len(said) > 20)
    os.kill(pid_of(hub), signal.SIGKILL)
    for thread in threads:
        thread.join()
    hub.close()
    with LocalHub.start(tmp_path) as again:
        http_ = http_class(again)
        files = {s["rfilename"] for s in http_("GET", f"/api/models/{name}").json()["siblings"]}
        assert set(said) <= files
        for path in list(files)[:20]:
            assert http_("GET", f"/{name}/resolve/main/{path}").status == 200
        commits = http_("GET", f"/api/models/{name}/commits/main").json()
        assert len(commits) == len(files)  # one file a commit, and the first
        assert http_.commit(name, {"after": b"x"}).status == 200
    for repo in Store(tmp_path).all_repos():
        for entry in repo.tree(repo.resolve("main")).values():
            assert repo.blobs.size(entry.sha256) == entry.size


def test_environment_of_clients(tmp_path: Path, hubs: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_real")
    monkeypatch.setenv("no_proxy", "example.org, localhost")
    hub = hubs.enter_context(LocalHub.start(tmp_path))
    env = hub.env()
    assert env["HF_ENDPOINT"] == hub.endpoint and env["HF_TOKEN"] == hub.token
    assert env["HF_HUB_OFFLINE"] == "0" and env["HF_HUB_DISABLE_TELEMETRY"] == "1"
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_XET_CACHE", "HF_DATASETS_CACHE", "HF_TOKEN_PATH"):
        assert env[name].startswith(str(tmp_path / "client"))
    assert env["no_proxy"] == env["NO_PROXY"] == "example.org,localhost,127.0.0.1,::1"
    assert "hf_real" not in json.dumps(env)
    assert b"hf_real" not in Path(f"/proc/{pid_of(hub)}/environ").read_bytes()


def test_secrets_on_disk_are_for_their_owner_only(tmp_path: Path, hubs: ExitStack) -> None:
    hub = hubs.enter_context(LocalHub.start(tmp_path / "root"))
    for name in ("users.json", "secret", "server.log"):
        assert stat.S_IMODE((hub.root / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(hub.root.stat().st_mode) == 0o700


def test_users(tmp_path: Path) -> None:
    token = add_user(tmp_path, "ana")
    assert find_user(tmp_path, "ana").token == token and token.isascii() and len(token) > 30
    with pytest.raises(RL2FError, match="rl2f hub user token ana"):
        add_user(tmp_path, "ana")
    for name in ("../x", "a b", "", "api", "a/b"):
        with pytest.raises(RL2FError, match="user name"):
            add_user(tmp_path, name)
    with pytest.raises(RL2FError, match="use one of write, read"):
        add_user(tmp_path, "ben", role="admin")
    with pytest.raises(RL2FError, match="known: ana"):
        find_user(tmp_path, "ben")


def test_a_server_beyond_this_machine_wants_a_token_for_everything(tmp_path: Path, http_class: Any) -> None:
    token = add_user(tmp_path, "ana")
    code = (
        "import sys; from pathlib import Path; from rl2f_hub.localhub.child import serve_in_foreground\n"
        "serve_in_foreground(Path(sys.argv[1]), '0.0.0.0', 0, lambda url: print(url, flush=True))"
    )
    server = python(code, str(tmp_path))
    try:
        assert server.stdout is not None
        hub = LocalHub(tmp_path, server.stdout.readline().strip(), "ana", token)
        http_ = http_class(hub)
        name = http_.create("open")
        assert http_("GET", f"/api/models/{name}").status == 200
        for path in (f"/api/models/{name}", "/", f"/{name}", f"/{name}/resolve/main/.gitattributes", "/api/models"):
            assert http_("GET", path, token=None).status == 401
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
