"""Start or join the local Hub of a root folder, and what its clients need in their environment.

One server per root: `server.json` says where it is, a file lock decides who starts it. The server is a child process
that ends with whoever started it, even by kill -9 (see child.py); processes that merely joined hold a lease, and the
server stays up until the last of them is gone. Nothing here imports the server's dependencies.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from filelock import FileLock

from rl2f_hub.errors import RL2FError, UsageError, not_installed
from rl2f_hub.runtime.loopback import direct

from .history import held
from .users import add_user, find_user, list_users

CHILD_NEEDS = frozenset({"PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
START_SECONDS = 120  # on a busy machine with a cold disk; one that ends meanwhile is seen at once
LOG_BYTES = 4 * 1024 * 1024


def starting(root: Path) -> Any:
    """Lock of every decision to start or to end a root's server."""
    return held(root / "locks" / "server.lock")


def read_state(root: Path) -> dict[str, Any]:
    """{url, pid, instance} of the running or last server; {} when there never was one."""
    try:
        return json.loads((root / "server.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def answers(state: dict[str, Any]) -> bool:
    """Whether that very server is up: another program may use its port by now."""
    parts = urlsplit(str(state.get("url", "")))
    if not parts.port or not state.get("instance") or not _exists(state.get("pid")):
        return False
    try:
        with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)) as connection:
            connection.request("GET", "/-/health")
            return json.loads(connection.getresponse().read()).get("instance") == state.get("instance")
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return False


def _exists(pid: object) -> bool:
    try:
        os.kill(int(str(pid)), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def open_log(root: Path) -> int:
    log = root / "server.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        os.replace(log, root / "server.log.old")
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class LocalHub:
    """A running local Hub over the folder `root`, and one of its users: `endpoint`, `user`, `token`, `env()`, `close()`."""

    def __init__(self, root: Path, endpoint: str, user: str, token: str):
        self.root, self.endpoint, self.user, self.token = root, endpoint, user, token
        self._child: subprocess.Popen[bytes] | None = None
        self._lease: FileLock | None = None

    @classmethod
    def start(cls, root: Path, port: int | None = None, user: str = "me", faults: bool = False) -> LocalHub:
        """Start the server of `root`, or join the one that runs; create `user` when missing; return when it answers.

        `port` None takes the root's last port when it is free (URLs printed earlier stay valid), else any. A server
        that already runs keeps its port. Keep the object: the server ends when it is collected. `faults` lets
        tests ask for errors with `fail_next`.
        Errors: an invalid user name, a taken port, a child that does not come up.
        """
        root = Path(root).expanduser().resolve()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if user not in {known.name for known in list_users(root)}:
            try:
                add_user(root, user)
            except RL2FError:
                if user not in {known.name for known in list_users(root)}:  # else: a race that the other side won
                    raise
        token = find_user(root, user).token
        with starting(root):
            if answers(state := read_state(root)):
                hub = cls(root, state["url"], user, token)
                hub._lease = FileLock(root / "leases" / secrets.token_hex(8))
                (root / "leases").mkdir(exist_ok=True)
                hub._lease.acquire(timeout=0)
                return hub
            child, url = _spawn(root, port, faults)
            hub = cls(root, url, user, token)
            hub._child = child
            return hub

    def env(self) -> dict[str, str]:
        """Variables for a client process, to lay over its environment before it imports any Hugging Face library.

        The cache folders are the root's own: a token of the real Hub is never sent here, this one never elsewhere,
        and files of the two Hubs cannot be mistaken for each other.
        """
        home = self.root / "client"
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": self.token,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_XET_CACHE": str(home / "xet"),
            "HF_ASSETS_CACHE": str(home / "assets"),
            "HF_DATASETS_CACHE": str(home / "datasets"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
            "HUGGING_FACE_HUB_TOKEN": self.token,
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **direct(os.environ),
        }

    def fail_next(self, kind: int | str, nth: int = 1, **more: Any) -> None:
        """For tests: let the `nth` request from now on fail, in a way that `faults.py` describes.

        `kind` is a status from 400 to 599, "reset", "timeout" (silence for `seconds`, then a reset) or "truncate".
        `more`: `method` and `path` (a regular expression) choose which requests count; `times` lets that many
        fail in a row; `retry_after` adds the header; `after=True` carries the request out before it seems to fail.
        """
        self._faults("POST", {"kind": kind, "nth": nth, **more})

    def requests(self) -> list[list[Any]]:
        """For tests: [method, path, fault or ""] of every request since the start or the last `clear_faults`."""
        return self._faults("GET")["requests"]

    def clear_faults(self) -> None:
        """For tests: forget the faults that are due and the requests that were seen."""
        self._faults("DELETE")

    def _faults(self, method: str, fault: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        with closing(http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=30)) as connection:
            connection.request(method, "/-/faults", json.dumps(fault) if fault else None, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status == 404:
            raise UsageError("this local Hub cannot fail on purpose: start it with LocalHub.start(..., faults=True)")
        if response.status != 200:
            raise UsageError(f"fault {fault}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the server this object started (at once, or when the last process that joined it is gone)."""
        if self._lease is not None:
            self._lease.release()
            Path(self._lease.lock_file).unlink(missing_ok=True)
            self._lease = None
        if self._child is not None:
            child, self._child = self._child, None
            assert child.stdin is not None
            child.stdin.close()
            try:
                child.wait(timeout=1 if any((self.root / "leases").glob("*")) else 30)
            except subprocess.TimeoutExpired:
                return  # still serving others; it ends by itself

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:  # never the token
        return f"LocalHub({self.endpoint!r}, user={self.user!r}, root={str(self.root)!r})"


def _spawn(root: Path, port: int | None, faults: bool) -> tuple[subprocess.Popen[bytes], str]:
    for name in ("starlette", "uvicorn", "lz4", "markdown_it"):  # in words here; the child could only log it
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"embedded Hub: {not_installed(ModuleNotFoundError(name=name))}")
    instance = secrets.token_hex(8)
    command = [sys.executable, "-P", "-m", "rl2f_hub.localhub.child", str(root), instance, str(port or 0)]
    command += ["faults"] if faults else []
    # By a list of what it needs: whatever else is there may be a key of the user's.
    environment = {k: v for k, v in os.environ.items() if k in CHILD_NEEDS}
    package = str(Path(__file__).resolve().parents[2])  # for a checkout that is not installed
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    log = open_log(root)
    try:
        # Its own session: Ctrl-C in the terminal is for us; we may still have something to upload.
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=root, env=environment, start_new_session=True
        )
    finally:
        os.close(log)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and child.poll() is None:
        state = read_state(root)
        if state.get("instance") == instance and answers(state):
            return child, state["url"]
        time.sleep(0.02)
    child.kill()
    child.wait()
    lines = (root / "server.log").read_text(errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("error: ") if lines else "it said nothing"
    raise RL2FError(f"local Hub in {root} did not start: {reason} (see {root / 'server.log'})")
