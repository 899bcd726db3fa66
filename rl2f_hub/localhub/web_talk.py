"""Pages about collections, and about the discussions and pull requests of a public repository. To be read only."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from . import collections_api, discussions_api
from .app import Call, Route, per_kind
from .history import Repo
from .markdown import render
from .names import URL_PREFIX
from .page import EMPTY, Html, date, fill, join, page, url
from .refusal import Refusal
from .web_files import frame, public

SHOWN = 200


def _anonymous(call: Call) -> Call:
    """Pages show what everybody may see, also to who sends a token."""
    call.user = None
    return call


# -- collections --------------------------------------------------------------------------------------------------


def shelf_cards(call: Call, owner: str = "") -> Html:
    """Public collections as cards; nothing when there are none."""
    shown = [pair for pair in collections_api.every(call.hub.store) if not pair[1]["private"]]
    shown = [pair for pair in shown if owner in ("", pair[0])]
    cards = [
        fill(
            '<a class="card" href="/collections/{slug}"><span class="kind">collection</span><b>{title}</b>'
            "<p>{owner} · {n} items · updated {date}</p><p>{text}</p></a>",
            slug=collections_api.slug_of(who, kept), title=kept["title"], owner=who,
            n=len(collections_api.items(_anonymous(call), kept)), date=date(kept["lastUpdated"]),
            text=kept["description"] or "",
        )
        for who, kept in shown[:SHOWN]
    ]  # fmt: skip
    if not cards:
        return EMPTY
    head = fill('<h2>Collections <span class="dim">{n}</span></h2>', n=len(shown))
    return fill('{head}<div class="grid">{cards}</div>', head=head, cards=join(cards))


def shelves(call: Call) -> Response:
    cards = shelf_cards(call) or Html('<section class="empty"><h1>No collections yet</h1></section>')
    return page("Collections", cards)


def _link(item: dict[str, Any]) -> Html:
    kind, name = item["type"], item["id"]
    if kind == "paper":
        # An id is checked when it is stored, so this leads to a paper and nowhere else.
        href, label = f"https://arxiv.org/abs/{name}", f"arXiv:{name}"
    elif kind == "collection":
        href, label = f"/collections/{item['slug']}", item["title"]
    else:
        href, label = f"/{URL_PREFIX[kind]}{name}", name
    return fill('<a href="{href}" rel="noopener noreferrer nofollow">{label}</a>', href=href, label=label)


def shelf(call: Call) -> Response:
    found = collections_api.get(_anonymous(call))
    rows = [
        fill(
            '<tr><td><span class="kind {kind}">{kind}</span></td><td>{link}</td><td class="dim">{note}</td></tr>',
            kind=item["type"], link=_link(item), note=(item["note"] or {}).get("text", ""),
        )
        for item in found["items"]
    ]  # fmt: skip
    table = fill('<div class="scroll"><table class="files"><tbody>{rows}</tbody></table></div>', rows=join(rows))
    owner = found["owner"]["name"]
    body = fill(
        '<span class="kind">collection</span><h1>{title}</h1><p class="dim">{owner} · updated {date}</p><p>{text}</p>'
        "{table}",
        title=found["title"], owner=fill('<a href="/{o}">{o}</a>', o=owner), date=date(found["lastUpdated"]),
        text=found["description"] or "", table=table if rows else Html('<p class="dim">Nothing in it yet.</p>'),
    )  # fmt: skip
    return page(found["title"], body)


# -- discussions --------------------------------------------------------------------------------------------------


def _said_here(call: Call) -> Repo:
    repo = public(_anonymous(call))
    call.kind = repo.kind
    return repo


def discussions(call: Call) -> Response:
    repo = _said_here(call)
    found = discussions_api.listing(call)
    rows = [
        fill(
            '<tr><td class="dim number">#{n}</td><td><a href="{h}">{title}</a></td><td class="dim">{what}</td>'
            '<td class="dim">{status}</td><td class="dim">{author}</td><td class="dim number">{date}</td></tr>',
            n=row["num"], h=f"{url(repo)}/discussions/{row['num']}", title=row["title"][:120], status=row["status"],
            what="pull request" if row["isPullRequest"] else "discussion", author=row["author"]["name"],
            date=date(row["createdAt"]),
        )
        for row in found["discussions"]
    ]  # fmt: skip
    table = fill('<div class="scroll"><table class="files"><tbody>{rows}</tbody></table></div>', rows=join(rows))
    start, step, more = found["start"], discussions_api.PAGE, EMPTY
    if start + step < found["count"]:
        more = fill('<p><a href="?p={p}">Older ones</a></p>', p=start // step + 1)
    body = join([table, more]) if rows else Html('<p class="dim">No discussions and no pull requests yet.</p>')
    return frame(repo, "discussions", "main", body)


def _event(repo: Repo, event: dict[str, Any]) -> Html:
    data, author = event["data"], event["author"]["name"]
    if event["type"] == "comment":
        hidden = Html('<p class="dim">This comment has been hidden.</p>')
        text = hidden if data["hidden"] else render(data["latest"]["raw"], repo, "main")
        return fill(
            '<section class="panel"><p class="dim small"><b>{author}</b> · {date}</p>{text}</section>',
            author=author, date=date(event["createdAt"]), text=text,
        )  # fmt: skip
    what: object = fill("changed the status to <b>{s}</b>", s=data.get("status", ""))
    if event["type"] == "title-change":
        what = fill("changed the title from “{a}” to “{b}”", a=data["from"], b=data["to"])
    elif event["type"] == "commit":
        href = url(repo, "commit", data["oid"])
        what = fill('committed <a href="{h}">{t}</a>', h=href, t=data["subject"][:120])
    return fill('<p class="dim small">{a} {what} · {d}</p>', a=author, what=what, d=date(event["createdAt"]))


def discussion(call: Call) -> Response:
    """Also what `create_pr` prints as its URL."""
    repo = _said_here(call)
    if not call.args["num"].isdecimal():
        raise Refusal(404, f"Discussion {call.args['num'][:20]!r} not found")
    found = discussions_api.details(call)
    notes: list[Html] = []
    if found["isPullRequest"]:
        ref = f"refs/pr/{found['num']}"
        notes.append(
            fill(
                '<p class="note">A pull request into {base}: <a href="{t}">files</a>, <a href="{c}">history</a>.'
                "{conflict}</p>",
                base=found["changes"]["base"].removeprefix("refs/heads/"), t=url(repo, "tree", ref),
                c=url(repo, "commits", ref),
                conflict=f" Changed on both sides: {', '.join(found['filesWithConflicts'][:5])}."
                if found["filesWithConflicts"] else "",
            )
        )  # fmt: skip
    body = fill(
        '<h2>{title} <span class="dim">#{n} · {status}</span></h2>{notes}{events}',
        title=found["title"], n=found["num"], status=found["status"], notes=join(notes),
        events=join(_event(repo, event) for event in found["events"][:SHOWN]),
    )  # fmt: skip
    return frame(repo, "discussions", "main", body)


ROUTES: list[Route] = [
    ("GET", "/collections", shelves),
    ("GET", "/collections/{ns}/{slug}", shelf),
    *per_kind("GET", "{ns}/{name}/discussions", discussions),
    *per_kind("GET", "{ns}/{name}/discussions/{num}", discussion),
]
