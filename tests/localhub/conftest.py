"""A real server on a random port, real clients in child processes, and a plain HTTP client for what those never send.

Clients read their settings when they are imported, so every check of a client library runs in a process of its own
(see test_hub_clients.py). There are fixtures only: nothing is imported from here.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.users import add_token, add_user, set_member

REPO = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Http:
    """Requests exactly as written: no client library tidies the path."""

    def __init__(self, hub: LocalHub):
        self.hub = hub

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = "own",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {self.hub.token if token == 'own' else token}"
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.hub.endpoint.removeprefix("http://"), timeout=300)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def create(self, name: str, kind: str = "model", private: bool = False) -> str:
        visibility = "private" if private else "public"
        answer = self("POST", "/api/repos/create", {"name": name, "type": kind, "visibility": visibility})
        assert answer.status == 200, answer.text
        return f"{self.hub.user}/{name}"

    def commit(
        self, repo: str, files: dict[str, bytes], kind: str = "model", token: str = "own", **header: Any
    ) -> Answer:
        lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "a commit", **header}}]
        for path, content in files.items():
            value = {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
            lines.append({"key": "file", "value": value})
        body = "\n".join(json.dumps(line) for line in lines).encode()
        return self("POST", f"/api/{kind}s/{repo}/commit/main", body, token)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    """A server shared by the whole run; tests use repositories of their own in it."""
    with LocalHub.start(tmp_path_factory.mktemp("hub") / "root", user="alice") as started:
        yield started


@pytest.fixture(scope="session")
def tokens(hub: LocalHub) -> dict[str, str]:
    """Of other users; "look" only reads and "late" has expired, both alice's. alice runs an organisation, club."""
    found = {"bob": add_user(hub.root, "bob"), "reader": add_user(hub.root, "reader", role="read")}
    set_member(hub.root, "club", "alice", "admin")
    set_member(hub.root, "club", "bob", "read")
    return {**found, "look": add_token(hub.root, "alice"), "late": add_token(hub.root, "alice", "write", seconds=-1)}


@pytest.fixture(scope="session")
def http_class() -> type[Http]:
    """For tests that start servers of their own."""
    return Http


@pytest.fixture(scope="session")
def http_(hub: LocalHub) -> Http:
    return Http(hub)


@pytest.fixture(scope="session")
def client_env(hub: LocalHub) -> Callable[..., dict[str, str]]:
    """Environment of a client process: as `hub.env()`, with caches in `home`."""

    def env(home: Path, **extra: str) -> dict[str, str]:
        own = {k: v.replace(str(hub.root / "client"), str(home)) for k, v in hub.env().items()}
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        path = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))
        return {**os.environ, **own, **quiet, "PYTHONPATH": path, **extra}

    return env
