"""Pages about the files and the history of a public repository."""

from __future__ import annotations

from itertools import islice
from typing import Any

from starlette.responses import Response

from . import gate, preview
from .app import Call, Route, per_kind
from .files_api import children, media_type
from .history import Commit, Repo
from .markdown import render
from .page import EMPTY, Html, bytes_text, date, fill, join, page, url
from .refusal import no_entry, no_repo

SHOWN_BYTES, SHOWN_LINES, SHOWN_COMMITS, SHOWN_FILES = 400_000, 4000, 200, 1000


def public(call: Call) -> Repo:
    repo = call.hub.store.repo(call.kind, f"{call.args['ns']}/{call.args['name']}")
    if repo.settings()["private"]:
        raise no_repo(call.kind, repo.id)
    return repo


def frame(repo: Repo, tab: str, revision: str, body: Html, chips: list[str] | None = None) -> Response:
    tabs = [("Card", "", url(repo)), ("Files", "tree", url(repo, "tree", revision))]
    tabs.append(("History", "commits", url(repo, "commits", revision)))
    tabs.append(("Discussions", "discussions", f"{url(repo)}/discussions"))
    shown = fill(
        '<span class="kind {kind}">{kind}</span><h1><a href="/{owner}">{owner}</a> / <a href="{home}">{name}</a></h1>'
        '<div class="chips">{chips}</div><nav class="tabs">{tabs}</nav>{body}',
        kind=repo.kind, owner=repo.namespace, name=repo.name, home=url(repo),
        chips=join(fill('<span class="chip">{c}</span>', c=c[:60]) for c in (chips or [])[:16]),
        tabs=join(
            fill('<a href="{href}" class="{on}">{text}</a>', href=href, on="on" if name == tab else "", text=text)
            for text, name, href in tabs
        ),
        body=body,
    )  # fmt: skip
    return page(repo.id, shown)


def _crumbs(repo: Repo, revision: str, path: str, blob: bool = False) -> Html:
    parts = path.split("/") if path else []
    links = [fill('<a href="{h}">{n}</a>', h=url(repo, "tree", revision), n=revision)]
    for i, part in enumerate(parts, 1):
        kind = "blob" if blob and i == len(parts) else "tree"
        links.append(fill('<a href="{h}">{n}</a>', h=url(repo, kind, revision, "/".join(parts[:i])), n=part))
    return fill("<p>{links}</p>", links=join(links, " / "))


def tree_page(call: Call) -> Response:
    repo, revision, folder = public(call), call.args["rev"], call.args.get("path", "").strip("/")
    oid = repo.resolve(revision)
    files = repo.tree(oid)
    paths = children(files, folder, recursive=False)
    if folder and not paths:
        raise no_entry(folder, revision)
    paths.sort(key=lambda path: (path in files, path))
    changes = repo.last_changes(oid, paths[:SHOWN_FILES])
    rows = []
    for path in paths[:SHOWN_FILES]:
        entry, commit, name = files.get(path), changes[path], path.rsplit("/", 1)[-1]
        raw, size = url(repo, "resolve", revision, path), EMPTY
        if entry:
            size = fill('<a href="{h}" download>{s}</a>', h=raw, s=bytes_text(entry.size))
        row = fill(
            '<tr><td><a href="{h}">{name}</a></td><td class="number">{size}</td>'
            '<td class="dim"><a class="dim" href="{c}">{title}</a></td><td class="dim number">{date}</td></tr>',
            h=url(repo, "blob" if entry else "tree", revision, path), name=name if entry else name + "/",
            size=size, c=url(repo, "commit", commit.oid), title=commit.title[:80], date=date(commit.date),
        )  # fmt: skip
        rows.append(row)
    more = len(paths) - SHOWN_FILES
    note = fill('<p class="note">{n} more files are not shown.</p>', n=more) if more > 0 else EMPTY
    table = fill('<div class="scroll"><table class="files"><tbody>{r}</tbody></table></div>{n}', r=join(rows), n=note)
    return frame(repo, "tree", revision, join([_crumbs(repo, revision, folder), table]))


def blob_page(call: Call) -> Response:
    repo, revision, path = public(call), call.args["rev"], call.args["path"]
    gate.check(call, repo, path)
    _, entry = repo.entry(revision, path)
    if entry.lfs:  # see files_api.resolve
        gate.check(call, repo)
    raw = url(repo, "resolve", revision, path)
    head = fill(
        '{crumbs}<p class="dim small">{size} · <a href="{raw}" download>download</a> · {hash}</p>',
        crumbs=_crumbs(repo, revision, path, blob=True), size=bytes_text(entry.size), raw=raw,
        hash=f"sha256 {entry.sha256[:16]}…",
    )  # fmt: skip
    data = repo.blobs.read(entry.sha256, SHOWN_BYTES)
    if path.endswith(".parquet"):
        body = preview.table(repo, entry, path)
    elif media_type(path).startswith("image/"):
        body = fill('<div class="preview"><img src="{raw}" alt="{path}"></div>', raw=raw, path=path)
    elif b"\0" in data[:8192]:
        body = Html('<p class="note">A binary file: download it to look inside.</p>')
    elif path.endswith(".md"):
        body = render(data.decode("utf-8", "replace"), repo, revision)
    else:
        lines = data.decode("utf-8", "replace").splitlines()
        shown = join(fill("<span>{line}</span>", line=line) for line in lines[:SHOWN_LINES])
        cut = entry.size > SHOWN_BYTES or len(lines) > SHOWN_LINES
        note = Html('<p class="note">Only the beginning is shown.</p>') if cut else EMPTY
        body = fill('<pre class="lines">{shown}</pre>{note}', shown=shown, note=note)
    return frame(repo, "tree", revision, join([head, body]))


def _commit_row(repo: Repo, commit: Commit) -> Html:
    return fill(
        '<tr><td><a href="{h}">{title}</a></td><td class="dim">{author}</td><td class="dim number">{date}</td>'
        '<td class="number"><a href="{t}"><code>{oid}</code></a></td></tr>',
        h=url(repo, "commit", commit.oid), title=commit.title[:120], author=commit.author, date=date(commit.date),
        t=url(repo, "tree", commit.oid), oid=commit.oid[:8],
    )  # fmt: skip


def commits_page(call: Call) -> Response:
    repo, revision = public(call), call.args["rev"]
    rows = join(_commit_row(repo, commit) for commit in islice(repo.log(repo.resolve(revision)), SHOWN_COMMITS))
    table = fill('<div class="scroll"><table class="files"><tbody>{rows}</tbody></table></div>', rows=rows)
    return frame(repo, "commits", revision, join([_crumbs(repo, revision, ""), table]))


def commit_page(call: Call) -> Response:
    repo = public(call)
    commit = repo.commit(repo.resolve(call.args["rev"]))
    new, old = repo.tree(commit), repo.tree(commit.parent) if commit.parent else {}
    rows = []
    for path in sorted(path for path in new.keys() | old.keys() if new.get(path) != old.get(path))[:SHOWN_FILES]:
        what = "added" if path not in old else "deleted" if path not in new else "changed"
        name: Any = (
            fill('<a href="{h}">{p}</a>', h=url(repo, "blob", commit.oid, path), p=path) if path in new else path
        )
        size = bytes_text(new[path].size) if path in new else ""
        rows.append(
            fill('<tr><td>{n}</td><td class="dim">{w}</td><td class="number">{s}</td></tr>', n=name, w=what, s=size)
        )
    body = fill(
        '<div class="panel"><b>{title}</b><p class="dim small">{author} · {date} · <code>{oid}</code></p>'
        '<p>{message}</p></div><div class="scroll"><table class="files"><tbody>{rows}</tbody></table></div>',
        title=commit.title, author=commit.author, date=date(commit.date), oid=commit.oid, message=commit.message[:2000],
        rows=join(rows),
    )  # fmt: skip
    return frame(repo, "commits", commit.oid, body)


ROUTES: list[Route] = [
    *per_kind("GET", "{ns}/{name}/tree/{rev}", tree_page),
    *per_kind("GET", "{ns}/{name}/tree/{rev}/{path*}", tree_page),
    *per_kind("GET", "{ns}/{name}/blob/{rev}/{path*}", blob_page),
    *per_kind("GET", "{ns}/{name}/commits/{rev}", commits_page),
    *per_kind("GET", "{ns}/{name}/commit/{rev}", commit_page),
]
