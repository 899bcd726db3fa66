"""For tests of clients: answer the n-th request with an error, a cut connection, silence or half a body.

    hub = LocalHub.start(root, faults=True)
    hub.fail_next(503, nth=3, method="POST", path="/commit/")      # the third such request from now on
    hub.fail_next("reset", nth=1, after=True)                      # done, but the answer never arrives
    hub.fail_next(429, retry_after=2, times=3)

Only a server started with `faults=True` has this; it then listens at `/-/faults` for whoever holds a token that may
write. Faults live in memory. Without a fault every request passes through unchanged, and is counted.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .app import App, Call, Route
from .refusal import Refusal

KINDS = ("reset", "timeout", "truncate")
OWN = ("/-/faults", "/-/health")
SEEN = 10_000


def fault(sent: dict[str, Any]) -> dict[str, Any]:
    """One fault as it was asked for, checked; a 400 names what is wrong."""
    kind = sent.get("kind")
    if kind not in KINDS and not (isinstance(kind, int) and 400 <= kind <= 599):
        raise Refusal(400, f"kind={kind!r}: use a status from 400 to 599, or one of {', '.join(KINDS)}")
    made = {"kind": kind, "nth": 1, "times": 1, "method": "", "path": "", "retry_after": None, "seconds": 30.0}
    made |= {"after": False, "matched": 0}
    if unknown := set(sent) - set(made):
        raise Refusal(400, f"{sorted(unknown)[0]!r} is not a part of a fault: use {', '.join(made)}")
    made |= sent
    try:
        re.compile(made["path"])
    except (re.error, TypeError) as error:
        raise Refusal(400, f"path={made['path']!r} is no regular expression: {error}") from None
    return made


class Faults:
    """ASGI around the application. `seen` lists [method, path, kind of fault or ""] of every request."""

    def __init__(self, app: ASGIApp):
        self.app = app
        self.faults: list[dict[str, Any]] = []
        self.seen: list[list[Any]] = []

    def routes(self) -> list[Route]:
        return [("GET", "/-/faults", self.show), ("POST", "/-/faults", self.add), ("DELETE", "/-/faults", self.clear)]

    def show(self, call: Call) -> dict[str, Any]:
        call.writer()
        return {"faults": self.faults, "requests": self.seen}

    def add(self, call: Call) -> dict[str, Any]:
        call.writer()
        self.faults.append(fault(call.json()))
        return {}

    def clear(self, call: Call) -> dict[str, Any]:
        call.writer()
        self.faults, self.seen = [], []
        return {}

    def _due(self, method: str, path: str) -> dict[str, Any] | None:
        """Count this request for every fault that it matches; the first that is due."""
        found = None
        for each in self.faults:
            if each["method"] in ("", method) and re.search(each["path"], path):
                each["matched"] += 1
                if found is None and each["nth"] <= each["matched"] < each["nth"] + each["times"]:
                    found = each
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode("ascii", "replace") if scope["type"] == "http" else ""
        if scope["type"] != "http" or path in OWN:
            await self.app(scope, receive, send)
            return
        due = self._due(scope["method"], path)
        if len(self.seen) < SEEN:
            self.seen.append([scope["method"], path, due["kind"] if due else ""])
        if due is None:
            await self.app(scope, receive, send)
            return
        if due["kind"] == "truncate":
            await self.app(scope, receive, _halved(send))
            return
        if due["after"]:
            await self.app(scope, receive, _swallow)
        if due["kind"] == "timeout":
            await asyncio.sleep(due["seconds"])
        if due["kind"] in ("timeout", "reset"):
            _cut(send)
            return
        more = not due["after"]
        while more:  # let the client finish its body: an answer in the middle of one can get lost
            message = await receive()
            more = message.get("more_body", False) and message["type"] == "http.request"
        await _refusal(due)(scope, receive, send)


def _refusal(due: dict[str, Any]) -> Response:
    message = f"{due['kind']} on purpose: a test asked for it"
    headers = {"X-Error-Message": message}
    if due["retry_after"] is not None:
        headers["Retry-After"] = str(due["retry_after"])
    return JSONResponse({"error": message}, due["kind"], headers)


async def _swallow(message: Message) -> None:
    """Where the answer goes of a request that is carried out and then seems to fail."""


def _cut(send: Send) -> None:
    """Reset the connection, so that the client sees an error and not an early end."""
    transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's cycle, which has it in every version
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _halved(send: Send) -> Send:
    """Send the headers, half of the first piece of the body, and then nothing."""
    cut = False

    async def half(message: Message) -> None:
        nonlocal cut
        body = message.get("body", b"")
        if cut:
            return
        if message["type"] == "http.response.body" and body:
            cut = True
            await send({**message, "body": body[: len(body) // 2], "more_body": True})
            send.__self__.transport.close()  # type: ignore[attr-defined]
            return
        await send(message)

    return half


def wrap(app: App) -> Faults:
    """The application with faults around it, and the address at which they are asked for."""
    faults = Faults(app)
    app.add(faults.routes(), first=True)
    return faults
