"""The pages for people (stub while the rest is built)."""

from __future__ import annotations

from starlette.responses import HTMLResponse, Response

from .app import Route


def error_page(status: int, message: str) -> Response:
    return HTMLResponse("error", status)


ROUTES: list[Route] = []
