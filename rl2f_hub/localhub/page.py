"""HTML without a template engine: `fill` escapes every value that is not `Html` already, so forgetting is harmless."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from .history import Repo
from .names import URL_PREFIX

# No scripts, no frames, nothing from elsewhere: pages show what strangers wrote.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Html(str):
    """Text that is markup."""


EMPTY = Html("")


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """What strangers wrote, without control characters and without what turns the direction of the text around it."""
    return _CONTROL.sub("\ufffd", text)


def escape(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(printable(str(value)), quote=True))


def fill(template: str, **values: object) -> Html:
    return Html(template.format(**{name: escape(value) for name, value in values.items()}))


def join(parts: Iterable[object], between: str = "") -> Html:
    return Html(between.join(escape(part) for part in parts))


def url(repo: Repo, page: str = "", revision: str = "main", path: str = "") -> str:
    """`page` is "", "tree", "blob", "resolve", "commits" or "commit"."""
    parts = [f"/{URL_PREFIX[repo.kind]}{repo.id}"]
    if page:
        parts += [page, quote(revision, safe="")]
    if path:
        parts.append(quote(path))
    return "/".join(parts)


def bytes_text(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def date(iso: str) -> Html:
    return fill('<time datetime="{iso}">{text}</time>', iso=iso, text=iso[:16].replace("T", " "))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><link rel="stylesheet" href="/-/style.css">
</head><body>
<header class="top"><div class="wide"><a class="brand" href="/"><svg viewBox="0 0 24 24" width="22" height="22"
 aria-hidden="true"><path fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round"
 stroke-linejoin="round" d="M4 8l8-5 8 5v8l-8 5-8-5zM4 8l8 5 8-5M12 13v8"/></svg> Local Hub</a>
<nav><a href="/?kind=model">Models</a><a href="/?kind=dataset">Datasets</a><a href="/?kind=space">Spaces</a>
<a href="/collections">Collections</a></nav>
<form action="/" role="search"><input type="search" name="search" placeholder="Search" aria-label="Search"></form>
</div></header>
<main class="wide">{body}</main>
<footer class="wide">Served from a folder on this machine. Private repositories are not shown on these pages:
read them with a token.</footer>
</body></html>"""


def page(title: str, body: Html, status: int = 200) -> Response:
    return HTMLResponse(fill(_PAGE, title=f"{title} · Local Hub", body=body), status, HEADERS)


def error_page(status: int, message: str) -> Response:
    body = fill('<section class="empty"><h1>{status}</h1><p>{message}</p></section>', status=status, message=message)
    return page(str(status), body, status)
