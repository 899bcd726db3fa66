"""Buckets are not here: every request about one is told so, in words, with a 501 that no client tries again."""

from __future__ import annotations

from .app import Call, Route
from .refusal import Refusal


def refuse(call: Call) -> None:
    raise Refusal(501, "Buckets are not implemented by the local Hub: use a dataset repository")


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROUTES: list[Route] = [
    *((method, "/api/buckets", refuse) for method in _METHODS),
    *((method, "/api/buckets/{rest*}", refuse) for method in _METHODS),
    *((method, "/buckets/{rest*}", refuse) for method in _METHODS),
]
