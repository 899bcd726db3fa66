"""Which requests the page answers when it listens on loopback: those whose Host header names this machine.

A web site whose name was made to point at 127.0.0.1 (DNS rebinding) shares the browser's origin with the page: it could
read dialogues and act as the visitor. Only the Host header tells it apart.
"""

from __future__ import annotations

from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rl2f_hub.runtime.loopback import is_here


class OnlyThisMachine:
    """ASGI: refuses every HTTP and websocket request that names another host."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
            if not is_here(host):
                text = f"Host {host[:80]!r} is not this machine: use 127.0.0.1 or localhost, or serve with --host\n"
                await PlainTextResponse(text, 421)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_settings(host: str) -> dict[str, Any]:
    """What Gradio's `launch` takes for a page that listens at `host`."""
    return {"app_kwargs": {"middleware": [Middleware(OnlyThisMachine)]}} if is_here(host) else {}
