"""Pages for people: what is in this Hub, and what a repository says, holds and went through.

Only public repositories are shown: browsers have no token to send. Everything is escaped, the policy of `page.py`
allows no script at all, and nothing is fetched from another host.
"""

from __future__ import annotations

from itertools import islice
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from . import card, gate, preview, results, web_files, web_talk
from .app import Call, Route, per_kind
from .history import Repo
from .markdown import render
from .names import KINDS
from .page import EMPTY, Html, bytes_text, date, error_page, fill, join, page, url
from .refusal import Refusal
from .repos_api import NOT_BUILT, card_data, card_entry, describe
from .style import CSS
from .web_files import frame, public

SHOWN_RESULTS = 100

__all__ = ["ROUTES", "error_page"]


def style(call: Call) -> Response:
    return Response(CSS, media_type="text/css", headers={"Cache-Control": "no-cache"})


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
    shelves = web_talk.shelf_cards(call, owner) if not search and kind == "" else EMPTY
    if shelves:
        sections.append(shelves)
        total += 1
    if owner and not total:
        raise Refusal(404, f"Nothing public of {owner!r} here")
    if not total:
        sections.append(
            fill(
                '<section class="empty"><h1>Nothing here yet</h1><p>Give a client this address and a token, then push:'
                "</p><pre>export HF_ENDPOINT={base}\nexport HF_TOKEN=…   # rl2f hub user token NAME --root DIR\n"
                "hf upload NAME/my-model ./folder</pre></section>",
                base=call.base,
            )
        )
    heading = owner or (f"Results for “{search}”" if search else "Repositories")
    return page(heading, fill("<h1>{heading}</h1>{all}", heading=heading, all=join(sections)))


# -- one repository -----------------------------------------------------------------------------------------------


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
    if not gate.let_in(call, repo):
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


def _results(repo: Repo, oid: str) -> Html:
    """The `.eval_results` of a model as a table, with the files that hold none."""
    rows: list[Html] = []
    found = results.entries(repo, oid) if repo.kind == "model" else []
    for item in found[:SHOWN_RESULTS]:
        file = fill('<a href="{h}">{n}</a>', h=url(repo, "blob", "main", item["filename"]), n=item["filename"][14:60])
        if "error" in item:
            rows.append(
                fill('<tr><td>{file}</td><td colspan="4">{error}</td></tr>', file=file, error=item["error"][:200])
            )
            continue
        data = item["data"]
        rows.append(
            fill(
                '<tr><td>{file}</td><td>{set}</td><td>{task}</td><td class="number">{value}</td>'
                '<td class="dim">{notes}</td></tr>',
                file=file, set=data["dataset"]["id"][:120], task=data["dataset"]["task_id"][:80],
                value=str(data["value"])[:40], notes=str(data.get("notes") or "")[:300],
            )
        )  # fmt: skip
    if not rows:
        return EMPTY
    more = len(found) - SHOWN_RESULTS
    note = fill('<p class="note">{n} more results are not shown.</p>', n=more) if more > 0 else EMPTY
    return fill(
        '<section id="results"><h2>Evaluation results</h2><div class="scroll"><table class="files"><thead><tr>'
        '<th>file</th><th>data set</th><th>task</th><th class="number">value</th><th>notes</th></tr></thead><tbody>'
        "{rows}</tbody></table></div>{note}</section>",
        rows=join(rows), note=note,
    )  # fmt: skip


def repo_page(call: Call) -> Response:
    repo = public(call)
    oid = repo.resolve("main")
    row, entry, tree = describe(repo, oid, files=False), card_entry(repo, oid), repo.tree(oid)
    text = repo.blobs.text(entry.sha256) if entry else ""
    found = preview.configs(tree, row["cardData"]) if repo.kind == "dataset" else {}
    notes: list[Html] = []
    try:
        card_data(repo, oid)
    except card.BadCard as error:
        notes.append(fill('<p class="note">The card\'s front matter cannot be read: {error}</p>', error=error))
    if row["gated"]:
        notes.append(
            fill('<p class="note">Gated ({how}): its files are for who asked for access.</p>', how=row["gated"])
        )
    if repo.kind == "space":
        notes.append(fill('<p class="note">This Space is {text}.</p>', text=NOT_BUILT))
    facts = [
        ("Files", f"{len(tree):,}"),
        ("Size", bytes_text(row["usedStorage"])),
        ("Updated", date(row["lastModified"])),
    ]
    facts += [("Commit", fill('<a href="{h}"><code>{o}</code></a>', h=url(repo, "commit", oid), o=oid[:8]))]
    refs = repo.refs()
    links = [fill('<a class="chip" href="{h}">{n}</a>', h=url(repo, "tree", n), n=n) for n in refs["branches"]]
    links += [fill('<a class="chip" href="{h}">{n}</a>', h=url(repo, "tree", n), n=n) for n in refs["tags"]]
    links += [
        fill('<a class="chip" href="{h}">PR {n}</a>', h=f"{url(repo)}/discussions/{n}", n=n) for n in refs["pulls"]
    ]
    body = fill(
        '<div class="two"><div>{notes}{data}{card}{results}</div><aside><section><h3>Use it</h3><pre>{use}</pre></section>'
        '<section><h3>About</h3><dl>{facts}</dl></section><section><h3>Branches and tags</h3>'
        '<div class="chips">{links}</div></section></aside></div>',
        notes=join(notes), data=_data_preview(call, repo, tree, found), results=_results(repo, oid),
        card=render(text, repo, "main") if text else Html('<p class="dim">No README.md yet.</p>'),
        use=_use(repo, call, row["cardData"], next(iter(found), None)),
        facts=join(fill("<dt>{k}</dt><dd>{v}</dd>", k=k, v=v) for k, v in facts), links=join(links[:60]),
    )  # fmt: skip
    chips = [*filter(None, [row.get("sdk"), row.get("pipeline_tag"), row.get("library_name")]), *row["tags"]]
    return frame(repo, "", "main", body, list(dict.fromkeys(chips)))


ROUTES: list[Route] = [
    ("GET", "/", home),
    ("GET", "/-/style.css", style),
    ("GET", "/favicon.ico", lambda call: Response(status_code=204)),
    *web_talk.ROUTES,
    *per_kind("GET", "{ns}/{name}", repo_page),
    *web_files.ROUTES,
    ("GET", "/{ns}", home),
]
