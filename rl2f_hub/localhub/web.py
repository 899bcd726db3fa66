"""Pages for people: what is in this Hub, and what a repository says, holds and went through.

Only public repositories are shown: browsers have no token to send. Everything is escaped, the policy of `page.py`
allows no script at all, and nothing is fetched from another host.
"""

from __future__ import annotations

from itertools import islice
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from . import card, preview
from .app import Call, Route, per_kind
from .files_api import children, media_type
from .history import Commit, Repo
from .markdown import render
from .names import KINDS
from .page import EMPTY, Html, bytes_text, date, error_page, fill, join, page, url
from .refusal import Refusal, no_entry, no_repo
from .repos_api import NOT_BUILT, card_text, describe
from .style import CSS

__all__ = ["ROUTES", "error_page"]

SHOWN_BYTES, SHOWN_LINES, SHOWN_COMMITS, SHOWN_FILES = 400_000, 4000, 200, 1000


def style(call: Call) -> Response:
    return Response(CSS, media_type="text/css", headers={"Cache-Control": "no-cache"})


def _public(call: Call) -> Repo:
    repo = call.hub.store.repo(call.kind, f"{call.args['ns']}/{call.args['name']}")
    if repo.settings()["private"]:
        raise no_repo(call.kind, repo.id)
    return repo


# -- the list -----------------------------------------------------------------------------------------------------


def _card(row: dict[str, Any], repo: Repo) -> Html:
    label = row.get("pipeline_tag") or row.get("sdk") or ", ".join(row["tags"][:3])
    return fill(
        '<a class="card" href="{href}"><span class="kind {kind}">{kind}</span><b>{id}</b>'
        "<p>{size} · updated {date}</p><p>{label}</p></a>",
        href=url(repo), kind=repo.kind, id=repo.id, size=bytes_text(row["usedStorage"]),
        date=date(row["lastModified"]), label=label[:80],
    )  # fmt: skip


def home(call: Call) -> Response:
    kind, search, owner = call.query("kind"), call.query("search").lower(), call.args.get("ns", "")
    sections, total = [], 0
    for each in KINDS:
        rows = []
        for repo in call.hub.store.repos(each) if kind in ("", each) else []:
            if search not in repo.id.lower() or (owner and repo.namespace != owner):
                continue
            try:
                if not repo.settings()["private"]:
                    rows.append((describe(repo, repo.resolve("main"), files=False), repo))
            except (Refusal, FileNotFoundError):  # deleted meanwhile
                continue
        rows.sort(key=lambda pair: pair[0]["lastModified"], reverse=True)
        total += len(rows)
        if rows:
            cards = join(_card(row, repo) for row, repo in rows)
            title = f"{each.capitalize()}s"
            sections.append(fill('<h2>{title} <span class="dim">{n}</span></h2><div class="grid">{cards}</div>',
                                 title=title, n=len(rows), cards=cards))  # fmt: skip
    if owner and not total:
        raise Refusal(404, f"Nothing public of {owner!r} here")
    if not total:
        sections.append(
            fill(
                '<section class="empty"><h1>Nothing here yet</h1><p>Give a client this address and a token, then push:'
                '</p><pre>export HF_ENDPOINT={base}\nexport HF_TOKEN=…   # rl2f hub user token NAME --root DIR\n'
                "hf upload NAME/my-model ./folder</pre></section>",
                base=call.base,
            )
        )
    heading = owner or (f"Results for “{search}”" if search else "Repositories")
    return page(heading, fill("<h1>{heading}</h1>{all}", heading=heading, all=join(sections)))


# -- one repository -----------------------------------------------------------------------------------------------


def _frame(repo: Repo, tab: str, revision: str, body: Html, chips: list[str] | None = None) -> Response:
    tabs = [("Card", "", url(repo)), ("Files", "tree", url(repo, "tree", revision))]
    tabs.append(("History", "commits", url(repo, "commits", revision)))
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


def _use(repo: Repo, call: Call, data: dict[str, Any], first_config: str | None) -> str:
    files = repo.tree(repo.resolve("main"))
    lines = [f"HF_ENDPOINT={call.base}", ""]
    if repo.kind == "dataset":
        config = f', "{first_config}"' if first_config and first_config not in ("default", "data") else ""
        lines += ["from datasets import load_dataset", f'load_dataset("{repo.id}"{config})']
    elif "adapter_config.json" in files:
        lines += ["from peft import PeftModel", f'PeftModel.from_pretrained(base, "{repo.id}")']
    elif "config.json" in files:
        lines += ["from transformers import AutoModel", f'AutoModel.from_pretrained("{repo.id}")']
    else:
        kind = f" --type {repo.kind}" if repo.kind != "model" else ""
        lines += [f"hf download {repo.id}{kind}"]
    return "\n".join(lines)


def _data_preview(call: Call, repo: Repo, tree: dict[str, Any], found: dict[str, list[str]]) -> Html:
    if not found:
        return EMPTY
    chosen = call.query("config")
    chosen = chosen if chosen in found else next(iter(found))
    tabs = [
        fill(
            '<a href="{href}" class="{on}">{name}</a>',
            href=f"{url(repo)}?config={quote(name, safe='')}",
            on="on" if name == chosen else "",
            name=name[:60],
        )
        for name in islice(found, 30)
    ]
    path = found[chosen][0]
    return fill(
        '<nav class="configs" aria-label="Configurations">{tabs}</nav>{table}',
        tabs=join(tabs), table=preview.table(repo, tree[path], path),
    )  # fmt: skip


def repo_page(call: Call) -> Response:
    repo = _public(call)
    oid = repo.resolve("main")
    row, text, tree = describe(repo, oid, files=False), card_text(repo, oid), repo.tree(oid)
    found = preview.configs(tree, row["cardData"]) if repo.kind == "dataset" else {}
    notes: list[Html] = []
    try:
        card.metadata(text)
    except card.BadCard as error:
        notes.append(fill('<p class="note">The card\'s front matter cannot be read: {error}</p>', error=error))
    if repo.kind == "space":
        notes.append(fill('<p class="note">This Space is {text}.</p>', text=NOT_BUILT))
    facts = [("Files", f"{len(tree):,}"), ("Size", bytes_text(row["usedStorage"])), ("Updated", date(row["lastModified"]))]
    facts += [("Commit", fill('<a href="{h}"><code>{o}</code></a>', h=url(repo, "commit", oid), o=oid[:8]))]
    refs = repo.refs()
    links = [fill('<a class="chip" href="{h}">{n}</a>', h=url(repo, "tree", n), n=n) for n in refs["branches"]]
    links += [fill('<a class="chip" href="{h}">{n}</a>', h=url(repo, "tree", n), n=n) for n in refs["tags"]]
    pulls = [(f"refs/pr/{n}", n) for n in refs["pulls"]]
    links += [fill('<a class="chip" href="{h}">PR {n}</a>', h=url(repo, "tree", ref), n=n) for ref, n in pulls]
    body = fill(
        '<div class="two"><div>{notes}{data}{card}</div><aside><section><h3>Use it</h3><pre>{use}</pre></section>'
        '<section><h3>About</h3><dl>{facts}</dl></section><section><h3>Branches and tags</h3>'
        '<div class="chips">{links}</div></section></aside></div>',
        notes=join(notes), data=_data_preview(call, repo, tree, found),
        card=render(text, repo, "main") if text else Html('<p class="dim">No README.md yet.</p>'),
        use=_use(repo, call, row["cardData"], next(iter(found), None)),
        facts=join(fill("<dt>{k}</dt><dd>{v}</dd>", k=k, v=v) for k, v in facts), links=join(links[:60]),
    )  # fmt: skip
    chips = [*filter(None, [row.get("sdk"), row.get("pipeline_tag"), row.get("library_name")]), *row["tags"]]
    return _frame(repo, "", "main", body, list(dict.fromkeys(chips)))


def _crumbs(repo: Repo, revision: str, path: str, blob: bool = False) -> Html:
    parts = path.split("/") if path else []
    links = [fill('<a href="{h}">{n}</a>', h=url(repo, "tree", revision), n=revision)]
    for i, part in enumerate(parts, 1):
        kind = "blob" if blob and i == len(parts) else "tree"
        links.append(fill('<a href="{h}">{n}</a>', h=url(repo, kind, revision, "/".join(parts[:i])), n=part))
    return fill("<p>{links}</p>", links=join(links, " / "))


def tree_page(call: Call) -> Response:
    repo, revision, folder = _public(call), call.args["rev"], call.args.get("path", "").strip("/")
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
    return _frame(repo, "tree", revision, join([_crumbs(repo, revision, folder), table]))


def blob_page(call: Call) -> Response:
    repo, revision, path = _public(call), call.args["rev"], call.args["path"]
    _, entry = repo.entry(revision, path)
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
    return _frame(repo, "tree", revision, join([head, body]))


def _commit_row(repo: Repo, commit: Commit) -> Html:
    return fill(
        '<tr><td><a href="{h}">{title}</a></td><td class="dim">{author}</td><td class="dim number">{date}</td>'
        '<td class="number"><a href="{t}"><code>{oid}</code></a></td></tr>',
        h=url(repo, "commit", commit.oid), title=commit.title[:120], author=commit.author, date=date(commit.date),
        t=url(repo, "tree", commit.oid), oid=commit.oid[:8],
    )  # fmt: skip


def commits_page(call: Call) -> Response:
    repo, revision = _public(call), call.args["rev"]
    rows = join(_commit_row(repo, commit) for commit in islice(repo.log(repo.resolve(revision)), SHOWN_COMMITS))
    table = fill('<div class="scroll"><table class="files"><tbody>{rows}</tbody></table></div>', rows=rows)
    return _frame(repo, "commits", revision, join([_crumbs(repo, revision, ""), table]))


def commit_page(call: Call) -> Response:
    repo = _public(call)
    commit = repo.commit(repo.resolve(call.args["rev"]))
    new, old = repo.tree(commit), repo.tree(commit.parent) if commit.parent else {}
    rows = []
    for path in sorted(path for path in new.keys() | old.keys() if new.get(path) != old.get(path))[:SHOWN_FILES]:
        what = "added" if path not in old else "deleted" if path not in new else "changed"
        name: Any = fill('<a href="{h}">{p}</a>', h=url(repo, "blob", commit.oid, path), p=path) if path in new else path
        size = bytes_text(new[path].size) if path in new else ""
        rows.append(fill('<tr><td>{n}</td><td class="dim">{w}</td><td class="number">{s}</td></tr>', n=name, w=what, s=size))
    body = fill(
        '<div class="panel"><b>{title}</b><p class="dim small">{author} · {date} · <code>{oid}</code></p><p>{message}</p>'
        '</div><div class="scroll"><table class="files"><tbody>{rows}</tbody></table></div>',
        title=commit.title, author=commit.author, date=date(commit.date), oid=commit.oid, message=commit.message[:2000],
        rows=join(rows),
    )  # fmt: skip
    return _frame(repo, "commits", commit.oid, body)


def pull_request(call: Call) -> Response:
    """What `create_pr` prints as its URL: the pull request's history."""
    return RedirectResponse(url(_public(call), "commits", f"refs/pr/{call.args['number']}"))


ROUTES: list[Route] = [
    ("GET", "/", home),
    ("GET", "/-/style.css", style),
    ("GET", "/favicon.ico", lambda call: Response(status_code=204)),
    *per_kind("GET", "{ns}/{name}", repo_page),
    *per_kind("GET", "{ns}/{name}/tree/{rev}", tree_page),
    *per_kind("GET", "{ns}/{name}/tree/{rev}/{path*}", tree_page),
    *per_kind("GET", "{ns}/{name}/blob/{rev}/{path*}", blob_page),
    *per_kind("GET", "{ns}/{name}/commits/{rev}", commits_page),
    *per_kind("GET", "{ns}/{name}/commit/{rev}", commit_page),
    *per_kind("GET", "{ns}/{name}/discussions/{number}", pull_request),
    ("GET", "/{ns}", home),
]
