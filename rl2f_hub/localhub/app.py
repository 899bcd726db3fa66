"""The HTTP application: finds the handler, the user and the repository of a request, and shapes every answer.

Routing splits the raw path at "/" before unquoting, because clients quote slashes inside one segment (branch
`dev%2Fx`, folder `sub%2Fdir`), which a router that sees the decoded path cannot tell from separators.

A handler takes a `Call` and returns a Response or something JSON. Plain functions run in a thread; coroutines read
their own body as a stream. What nobody handles is a clear 501 (below /api) or 404: clients do not retry those.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from rl2f_hub.runtime.loopback import is_here

from .history import Repo
from .names import URL_PREFIX
from .payload import Payload
from .refusal import BAD_TOKEN, Refusal, no_repo
from .store import Store
from .users import User, Users

log = logging.getLogger("rl2f_hub.localhub")

KIND_OF = {"models": "model", "datasets": "dataset", "spaces": "space"}
BODY_BYTES, STRANGER_BYTES = 32 * 1024 * 1024, 4 * 1024 * 1024  # with and without a token

Handler = Callable[["Call"], Any]
Route = tuple[str, str, Handler]  # method, pattern such as "/api/{kind}/{ns}/{name}/tree/{rev}/{path*}", handler


def per_kind(method: str, pattern: str, handler: Handler) -> list[Route]:
    """The same page for the three kinds: /ns/name..., /datasets/ns/name..., /spaces/ns/name..."""
    return [(method, f"/{{={kind}}}/{prefix}{pattern}", handler) for kind, prefix in URL_PREFIX.items()]


@dataclass
class Hub:
    """What all requests share. `open_reads`: whether public repositories may be read without a token."""

    store: Store
    users: Users
    secret: bytes
    instance: str = ""
    open_reads: bool = True


@dataclass
class Call:
    hub: Hub
    request: Request
    args: dict[str, str]
    user: User | None = None
    body: bytes = b""
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        self.kind = self.args.get("kind", "model")

    @property
    def base(self) -> str:
        """This server as the client sees it."""
        return f"{self.request.url.scheme}://{self.request.headers.get('host', '127.0.0.1')}"

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default)

    def flag(self, name: str) -> bool:
        return self.query(name).lower() in ("1", "true")

    def number(self, name: str, default: int, most: int, least: int = 1) -> int:
        value = self.query(name, str(default))
        if not value.isascii() or not value.isdecimal() or len(value) > 9 or not least <= int(value) <= most:
            raise Refusal(400, f"{name}={value[:40]!r}: use a number from {least} to {most}")
        return int(value)

    def json(self) -> Payload:
        return Payload.of(self.body)

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    def writer(self, namespace: str | None = None) -> User:
        """The user, who must be allowed to write (into `namespace`, when given)."""
        if self.user is None:
            raise Refusal(401, "Invalid username or password: this request needs a token")
        if not self.user.may_write:
            raise Refusal(403, f"Token of user {self.user.name!r} has role 'read': this request needs role 'write'")
        if namespace is not None and not self.user.owns(namespace):
            raise Refusal(403, f"User {self.user.name!r} may not write into the namespace {namespace!r}")
        return self.user

    def member(self, namespace: str) -> bool:
        """Whether the namespace is the user's own or that of an organisation it belongs to."""
        return self.user is not None and self.user.sees(namespace)

    def may_see(self, repo: Repo) -> bool:
        return not repo.settings()["private"] or self.member(repo.namespace)

    def repo(self, write: bool = False) -> Repo:
        """The repository of the URL. A private one of another user is "not found", as on the real Hub."""
        repo = self.hub.store.repo(self.kind, f"{self.args['ns']}/{self.args['name']}")
        if not self.may_see(repo):
            raise no_repo(self.kind, repo.id)
        if write:
            self.writer(repo.namespace)
        return repo

    def url(self, repo: Repo) -> str:
        return f"{self.base}/{URL_PREFIX[repo.kind]}{repo.id}"


def match(pattern: str, segments: list[str]) -> dict[str, str] | None:
    """Arguments of a raw, still quoted path for a pattern, or None."""
    args: dict[str, str] = {}
    parts = pattern.split("/")[1:]
    if parts[0].startswith("{="):  # a kind fixed by per_kind
        args["kind"] = parts.pop(0)[2:-1]
    for i, part in enumerate(parts):
        if part.endswith("*}"):
            args[part[1:-2]] = "/".join(map(unquote, segments[i:]))
            return args if len(segments) > i and args[part[1:-2]] else None
        if i >= len(segments):
            return None
        value = unquote(segments[i])
        if part == "{kind}":
            if value not in KIND_OF:
                return None
            args["kind"] = KIND_OF[value]
        elif part.startswith("{"):
            name, _, suffix = part[1:].partition("}")
            if not value.endswith(suffix) or len(value) == len(suffix):
                return None
            args[name] = value[: len(value) - len(suffix)]
        elif part != value:
            return None
    return args if len(segments) == len(parts) else None


class App:
    """ASGI. `routes` are tried in order; `signed` prefixes check a signature of their own instead of a user token."""

    signed = ("/lfs/", "/cas/")

    def __init__(self, hub: Hub, routes: list[Route], error_page: Callable[[int, str], Response]):
        self.hub, self.error_page = hub, error_page
        self._routes: dict[str, list[tuple[str, Handler]]] = {}
        self.add(routes)

    def add(self, routes: list[Route], first: bool = False) -> None:
        for method, pattern, handler in routes:
            known = self._routes.setdefault(method, [])
            known.insert(0 if first else len(known), (pattern, handler))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request, start = Request(scope, receive), time.monotonic()
        raw = "/" + scope["raw_path"].decode("ascii", "replace").lstrip("/")  # HF_ENDPOINT may end in a slash
        who: list[str] = []
        try:
            response = await self._answer(request, raw, who)
        except Refusal as refusal:
            response = self._refuse(request, refusal)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("%s %s failed", request.method, raw)
            response = self._refuse(request, Refusal(500, "Internal error of the local Hub: see its server.log"))
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers["Date"] = formatdate(usegmt=True)  # uvicorn's own lags by up to a second
        # Never the query string: it may carry a signature.
        seconds = time.monotonic() - start
        log.info("%s %s %d %.3fs %s", request.method, raw, response.status_code, seconds, *(who or ["-"]))
        await response(scope, receive, send)

    async def _answer(self, request: Request, raw: str, who: list[str]) -> Response:
        host = request.headers.get("host", "")
        if self.hub.open_reads and not is_here(host):
            # A page of some web site whose name was rebound to 127.0.0.1 must not read repositories.
            raise Refusal(403, f"Host {host[:80]!r} is not this machine: use 127.0.0.1 or localhost")
        method = "GET" if request.method == "HEAD" else request.method
        origin = request.headers.get("origin")
        if method != "GET" and origin is not None and origin.partition("://")[2] != host:
            raise Refusal(403, f"A page of {origin[:80]!r} may not send anything here")
        handler, args = self._find(method, raw)
        call = Call(self.hub, request, args)
        if not raw.startswith(self.signed) and raw != "/-/health":
            call.user = self._user(request)
            who.extend([call.user.name] if call.user else [])
        if inspect.iscoroutinefunction(handler):
            result = await handler(call)
        else:
            if method != "GET":
                call.body = await self._body(request, BODY_BYTES if call.user else STRANGER_BYTES)
            result = await run_in_threadpool(handler, call)
        return result if isinstance(result, Response) else JSONResponse(result)

    def _find(self, method: str, raw: str) -> tuple[Handler, dict[str, str]]:
        segments = raw[1:].split("/")
        for pattern, handler in self._routes.get(method, []):
            if segments[0] == "api" and not pattern.startswith("/api/"):
                continue  # a page /{ns}/{name} is no answer to an unknown /api/something
            if (args := match(pattern, segments)) is not None:
                return handler, args
        if segments[0] == "api":
            raise Refusal(501, f"{method} {raw[:200]} is not implemented by the local Hub")
        raise Refusal(404, f"Nothing here: {method} {raw[:200]}")

    def _user(self, request: Request) -> User | None:
        header = request.headers.get("authorization")
        if header is None:
            if not self.hub.open_reads:
                raise Refusal(401, "This server needs a token for every request: set HF_TOKEN")
            return None
        scheme, _, token = header.partition(" ")
        user = self.hub.users.by_token(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise Refusal(401, BAD_TOKEN)
        if user.expired:  # the header keeps the words that clients know
            raise Refusal(401, BAD_TOKEN, body={"error": f"{BAD_TOKEN}: this token of {user.name!r} has expired"})
        return user

    async def _body(self, request: Request, most: int) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > most:
                raise Refusal(413, f"Body is larger than {most} bytes")
        return b"".join(parts)

    def _refuse(self, request: Request, refusal: Refusal) -> Response:
        if "text/html" in request.headers.get("accept", "") and request.method == "GET":
            response = self.error_page(refusal.status, refusal.message)
        else:
            response = JSONResponse(refusal.body, refusal.status)
        # Headers are latin-1 and one line; names in messages may be neither.
        message = "".join(c if " " <= c <= "~" else "?" for c in refusal.message)
        response.headers["X-Error-Message"] = message[:500]
        if refusal.code:
            response.headers["X-Error-Code"] = refusal.code
        return response
