"""Endpoints of Spaces: their settings are kept, their code is stored, nothing is built or run.

A Space is STOPPED (or PAUSED) for ever, so that a client that waits for it ends. Values of secrets are not kept at
all: nothing here could use them, and the Hub never gives them back either.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from .app import Call, Route
from .history import Repo, now
from .payload import Payload
from .refusal import Refusal
from .repos_api import NOT_BUILT, runtime


def record(table: str, row: Payload) -> tuple[str, dict[str, Any]]:
    """Key and what is kept of one variable or secret."""
    key = row.text("key")
    if not key.isidentifier() or len(key) > 200:
        raise Refusal(400, f"key={key[:80]!r}: use letters, digits and _")
    kept = {"key": key, "description": row.text("description") or None, "updatedAt": now()}
    return key, kept | ({"value": row.text("value")} if table == "variables" else {})


def space(call: Call, write: bool = False) -> Repo:
    call.kind = "space"
    return call.repo(write=write)


def table(name: str) -> list[Route]:
    """GET, POST and DELETE of "variables" or "secrets"; each answers the whole table."""

    def read(call: Call) -> dict[str, Any]:
        # Secrets' names, and variables too, are for the owner: they are settings, not content.
        return space(call, write=True).settings().get(name, {})

    def add(call: Call) -> dict[str, Any]:
        key, kept = record(name, call.json())

        def edit(values: dict[str, Any]) -> None:
            values.setdefault(name, {})[key] = kept

        return space(call, write=True).change_settings(edit)[name]

    def remove(call: Call) -> dict[str, Any]:
        key = call.json().text("key")

        def edit(values: dict[str, Any]) -> None:
            if values.setdefault(name, {}).pop(key, None) is None:
                raise Refusal(404, f"No {name.removesuffix('s')} named {key!r}")

        return space(call, write=True).change_settings(edit)[name]

    path = f"/api/spaces/{{ns}}/{{name}}/{name}"
    return [("GET", path, read), ("POST", path, add), ("DELETE", path, remove)]


def get_runtime(call: Call) -> dict[str, Any]:
    return runtime(space(call).settings())


def _changed(call: Call, **values: Any) -> dict[str, Any]:
    return runtime(space(call, write=True).change_settings(lambda kept: kept.update(values)))


def restart(call: Call) -> dict[str, Any]:
    return _changed(call, stage="STOPPED")


def pause(call: Call) -> dict[str, Any]:
    return _changed(call, stage="PAUSED")


def hardware(call: Call) -> dict[str, Any]:
    payload = call.json()
    sleep = {"sleep": payload.integer("sleepTimeSeconds")} if "sleepTimeSeconds" in payload else {}
    return _changed(call, hardware=payload.text("flavor"), **sleep)


def sleep_time(call: Call) -> dict[str, Any]:
    return _changed(call, sleep=call.json().integer("seconds"))


def events(lines: list[str], timestamp: str) -> Response:
    """Log lines as the Hub streams them, all at once. Clients drop lines newer than the answer's Date."""
    body = "".join(f"data: {json.dumps({'data': line, 'timestamp': timestamp})}\n\n" for line in lines)
    return Response(body, media_type="text/event-stream")


def logs(call: Call) -> Response:
    return events([NOT_BUILT], space(call).settings()["created"])


ROUTES: list[Route] = [
    ("GET", "/api/spaces/hardware", lambda call: []),
    *table("variables"),
    *table("secrets"),
    ("GET", "/api/spaces/{ns}/{name}/runtime", get_runtime),
    ("POST", "/api/spaces/{ns}/{name}/restart", restart),
    ("POST", "/api/spaces/{ns}/{name}/pause", pause),
    ("POST", "/api/spaces/{ns}/{name}/hardware", hardware),
    ("POST", "/api/spaces/{ns}/{name}/sleeptime", sleep_time),
    ("GET", "/api/spaces/{ns}/{name}/logs/{log}", logs),
]
