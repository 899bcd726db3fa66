"""A card's Markdown as HTML that is safe to show: raw HTML is text, links go to web pages, images to this repository.

Images from elsewhere become links: a page of the local Hub makes no request to any other host.
"""

from __future__ import annotations

import contextlib
import re
from urllib.parse import unquote, urlsplit

from . import card
from .history import Repo
from .page import Html, escape, fill, printable, url

SHOWN_CHARACTERS = 60_000


def _target(repo: Repo, revision: str, page: str, link: str) -> str | None:
    """Where a link of a card may lead; None when nowhere."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.scheme in ("http", "https", "mailto") or (page == "resolve" and link.startswith("data:image/")):
        return link
    if parts.scheme or parts.netloc or "\\" in link:
        return None
    if link.startswith(("#", "/")):
        return link
    path = [p for p in unquote(parts.path).split("/") if p not in ("", ".")]
    return None if ".." in path or not path else url(repo, page, revision, "/".join(path))


def slug(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")


def render(text: str, repo: Repo, revision: str) -> Html:
    """The text below the front matter as HTML."""
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    with contextlib.suppress(card.BadCard):  # a broken one is shown as it is
        _, text = card.split(text)
    cut = len(text) > SHOWN_CHARACTERS
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

    def image(renderer: object, tokens: list[Token], at: int, options: object, env: object) -> str:
        source, alt = str(tokens[at].attrGet("src") or ""), tokens[at].content
        target = _target(repo, revision, "resolve", source)
        if target is None:
            return escape(alt)
        if target.startswith(("http:", "https:", "mailto:")):
            shown = f"{alt or 'image'} (image on another site)"
            return fill('<a href="{href}" rel="noopener noreferrer nofollow">{shown}</a>', href=target, shown=shown)
        return fill('<img src="{src}" alt="{alt}" loading="lazy">', src=target, alt=alt)

    def link_open(renderer: object, tokens: list[Token], at: int, options: object, env: object) -> str:
        target = _target(repo, revision, "blob", str(tokens[at].attrGet("href") or ""))
        return fill('<a href="{href}" rel="noopener noreferrer nofollow">', href=target) if target else Html("<a>")

    parser.add_render_rule("image", image)
    parser.add_render_rule("link_open", link_open)
    tokens = parser.parse(printable(text[:SHOWN_CHARACTERS].replace("\r\n", "\n")))
    for i, token in enumerate(tokens):
        if style := token.attrs.pop("style", None):  # the page's policy allows classes only
            token.attrs["class"] = str(style).rpartition(":")[2]
        if token.type == "heading_open":
            token.attrs["id"] = slug(tokens[i + 1].content)
    body = Html(parser.renderer.render(tokens, parser.options, {}))
    note = Html('<p class="note">The card is longer than what is shown here.</p>') if cut else ""
    return fill('<article class="markdown">{body}{note}</article>', body=body, note=note)
