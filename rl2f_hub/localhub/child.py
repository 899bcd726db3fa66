"""The server process: bind a port, tell the root where, serve until told to stop.

As the child of `LocalHub.start` it holds the read end of a pipe whose write end dies with its parent, however that
dies. It then waits for the leases of processes that joined, and ends. `rl2f hub serve` runs the same server in the
foreground. The log says method, path, status, time and user of each request: never a query, a header or a token.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from filelock import FileLock, Timeout

from rl2f_hub.errors import RL2FError
from rl2f_hub.runtime.loopback import is_here

from . import (
    buckets,
    collections_api,
    discussions_api,
    files_api,
    gate,
    jobs,
    lfs,
    refs_api,
    repos_api,
    spaces,
    web,
    xet,
)
from .app import App, Call, Hub
from .blobs import write_atomically
from .faults import wrap
from .refusal import Refusal
from .server import answers, read_state, starting
from .store import Store
from .users import Users

POLL_SECONDS = 0.5


def health(call: Call) -> dict[str, str]:
    return {"instance": call.hub.instance}


def build(root: Path, instance: str = "", open_reads: bool = True) -> App:
    """The ASGI application of a root; `open_reads` lets public repositories be read without a token."""
    store = Store(root)
    store.tidy()
    hub = Hub(store, Users(store.root), store.secret(), instance, open_reads)
    modules: list[Any] = [
        spaces,
        jobs,
        buckets,
        collections_api,
        gate,
        discussions_api,
        repos_api,
        files_api,
        refs_api,
        lfs,
        xet,
        web,
    ]
    routes = [("GET", "/-/health", health), *(route for module in modules for route in module.ROUTES)]
    return App(hub, routes, web.error_page)


def bind(host: str, port: int, remembered: int) -> socket.socket:
    """`port`, or with 0 the remembered one, or any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in [port] if port else [remembered] * 5 + [0]:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(256)
            return listener
        except OSError as error:
            listener.close()
            if number:
                time.sleep(0 if port else 0.05)  # the root's last server may be leaving just now
            if port:
                raise RL2FError(
                    f"port {port} on {host} cannot be used: {error.strerror}; choose another --port"
                ) from None
    raise RL2FError(f"no free port on {host}")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM without raising them again afterwards, so that we can leave in order."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield


def serve(
    root: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    instance: str | None = None,
    watch: Callable[[Path, _Server], None] | None = None,
    ready: Callable[[str], None] = lambda url: None,
    faults: bool = False,
) -> None:
    """Serve `root` until a signal or `watch` ends it. `ready` is called with the URL once the port is bound."""
    root = Path(root).expanduser().resolve()
    instance = instance or secrets.token_hex(8)
    local = f"[{host}]" if ":" in host else host
    application = build(root, instance, open_reads=is_here(host))
    old = read_state(root)
    listener = bind(host, port, urlsplit(str(old.get("url", ""))).port or 0)
    with listener:
        shown = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else local
        url = f"http://{shown}:{listener.getsockname()[1]}"
        state = {"url": url, "pid": os.getpid(), "instance": instance}
        write_atomically(root / "server.json", json.dumps(state).encode())
        config = uvicorn.Config(
            wrap(application) if faults else application,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        server = _Server(config)
        if watch is not None:
            threading.Thread(target=watch, args=(root, server), daemon=True).start()
        ready(url)
        server.run(sockets=[listener])
    with suppress(OSError):  # on a full disk the state stays: whoever reads it finds that nobody answers there
        if read_state(root).get("instance") == instance:
            _leave(root)


def serve_in_foreground(root: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """As `serve`, unless the root has a server already."""
    root = Path(root).expanduser().resolve()
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as lock:
        lock.enter_context(starting(root))
        if answers(state := read_state(root)):
            raise RL2FError(
                f"{root} is already served at {state['url']} (pid {state['pid']}): use it, or stop it first"
            )

        def bound(url: str) -> None:
            lock.close()
            ready(url)

        serve(root, host, port, ready=bound)


def _leave(root: Path) -> None:
    """Nobody may join any more; the URL stays, because the next server should have the same."""
    state = read_state(root)
    write_atomically(root / "server.json", json.dumps({**state, "pid": None, "instance": None}).encode())


def _leased(root: Path) -> bool:
    """Whether a process that joined this server is still alive; removes the leases of dead ones."""
    alive = False
    for file in (root / "leases").glob("*"):
        try:
            with FileLock(file, timeout=0):
                file.unlink(missing_ok=True)
        except Timeout:
            alive = True
    return alive


def _watch_parent(root: Path, server: _Server) -> None:
    parent = os.getppid()
    # The pipe may outlive a killed parent in processes it forked; its pid as our parent does not.
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], POLL_SECONDS)[0] and not os.read(0, 1024):
            break
    while True:
        try:
            with starting(root):
                # Under the lock: nobody can join between this look and the end.
                if not _leased(root):
                    server.should_exit = True
                    _leave(root)
                    return
        except OSError:  # a full disk, or a root that is gone: nobody can join there any more
            if not _leased(root):
                server.should_exit = True
                return
        except Refusal:  # another process holds the lock for long
            pass
        time.sleep(POLL_SECONDS)


def main() -> int:
    root, instance, port, faults = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:] == ["faults"]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(root, port=port, instance=instance, watch=_watch_parent, faults=faults)
    except RL2FError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
