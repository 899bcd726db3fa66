"""Endpoints of collections: titled lists of repositories (and papers, and other collections), one JSON file each.

    collections/<namespace>/<id>.json     title, description, private, theme, items in order

A slug is `namespace/words-of-the-title-<id>`; only the id at its end counts, so links survive a new title. An item
whose repository is gone, or hidden from who asks, is not shown. As on the Hub a list of collections shows the first
four items of each. Left out: upvotes, resource groups, and a position of the collection among others.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from .app import Call, Route
from .blobs import write_atomically
from .history import Repo, held, now
from .names import KINDS, user_problem
from .payload import Payload
from .refusal import Refusal
from .store import Store

LISTED_ITEMS, PAGE, MOST_ITEMS = 4, 100, 1000
LIMITS = {"title": 100, "description": 150, "note": 500}  # the last two are the Hub's
TYPES = (*KINDS, "paper", "collection")
_PAPER = re.compile(r"\d{4}\.\d{4,5}")
_ID = re.compile(r"[0-9a-f]{24}")


class Place(NamedTuple):
    """Where a collection is kept, and the lock of every change to its owner's collections."""

    file: Path
    lock: Path
    owner: str


def place(store: Store, namespace: str, slug: str) -> Place:
    """The collection's file, which may not exist; names that could never exist are refused."""
    found = slug.rpartition("-")[2]
    if user_problem(namespace) or not _ID.fullmatch(found):
        raise _missing(f"{namespace}/{slug}")
    lock = store.root / "locks" / f"collections--{namespace}.lock"
    return Place(store.root / "collections" / namespace / f"{found}.json", lock, namespace)


def _missing(slug: str) -> Refusal:
    return Refusal(404, f"Collection {slug[:120]!r} not found")


def read(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        return None


def slug_of(owner: str, kept: dict[str, Any]) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", kept["title"].lower()).strip("-")[:60].strip("-")
    return f"{owner}/{'-'.join(filter(None, [words, kept['_id']]))}"


def every(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """(owner, collection) of all collections, the last changed first."""
    files = (store.root / "collections").glob("*/*.json")
    found = [(file.parent.name, kept) for file in files if (kept := read(file)) is not None]
    return sorted(found, key=lambda pair: (pair[1]["lastUpdated"], pair[1]["_id"]), reverse=True)


def may_see(call: Call, owner: str, kept: dict[str, Any]) -> bool:
    return not kept["private"] or call.member(owner)


def _repo(call: Call, kind: str, repo_id: str) -> Repo | None:
    """An item's repository, None when it is gone or not for this user's eyes."""
    try:
        repo = call.hub.store.repo(kind, repo_id)
        return repo if call.may_see(repo) else None
    except (Refusal, FileNotFoundError):
        return None


def _collection(call: Call, slug: str) -> tuple[str, dict[str, Any]] | None:
    namespace, _, rest = slug.partition("/")
    try:
        kept = read(place(call.hub.store, namespace, rest).file)
    except Refusal:
        return None
    return (namespace, kept) if kept is not None and may_see(call, namespace, kept) else None


def items(call: Call, kept: dict[str, Any], most: int = MOST_ITEMS) -> list[dict[str, Any]]:
    """What this user may see of a collection's items, with what a page needs to know of each."""
    found: list[dict[str, Any]] = []
    for position, item in enumerate(kept["items"]):
        row = {**item, "position": position}
        if item["type"] in KINDS:
            repo = _repo(call, item["type"], item["id"])
            if repo is None:
                continue
            row |= {"author": repo.namespace, "repoType": repo.kind, "private": repo.settings()["private"]}
        elif item["type"] == "collection":
            inner = _collection(call, item["id"])
            if inner is None:
                continue
            row |= {"slug": slug_of(*inner), "title": inner[1]["title"]}
        found.append(row)
        if len(found) == most:
            break
    return found


def shown(call: Call, owner: str, kept: dict[str, Any], most: int = MOST_ITEMS) -> dict[str, Any]:
    fields = {key: kept[key] for key in ("_id", "title", "description", "private", "theme", "lastUpdated")}
    where = {"name": owner, "fullname": owner, "type": "user"}
    fields |= {"slug": slug_of(owner, kept), "owner": where, "position": 0, "upvotes": 0, "gating": False}
    return fields | {"items": items(call, kept, most)}


def _text(payload: Payload, name: str, least: int = 0) -> str:
    text = payload.text(name).strip()
    if not least <= len(text) <= LIMITS[name]:
        raise Refusal(400, f"{name} has {len(text)} characters: use {least} to {LIMITS[name]}")
    return text


def _truth(payload: Payload, name: str) -> bool:
    if not isinstance(payload.get(name, False), bool):
        raise Refusal(400, f"{name}={str(payload[name])[:40]!r}: use true or false")
    return payload.get(name, False)


def listing(call: Call) -> Response:
    owners, wanted = call.request.query_params.getlist("owner"), set(call.request.query_params.getlist("item"))
    page, limit = call.number("p", 0, 1_000_000, least=0), call.number("limit", PAGE, PAGE)
    found = []
    for owner, kept in every(call.hub.store):
        if (owners and owner not in owners) or not may_see(call, owner, kept):
            continue
        # Only what is shown counts: else a question would tell of a private repository.
        if wanted and not wanted & {f"{item['type']}s/{item['id']}" for item in items(call, kept)}:
            continue
        found.append((owner, kept))
    start = page * limit
    rows = [shown(call, *each, LISTED_ITEMS) for each in found[start : start + limit]]
    for row in rows:
        del row["position"]  # here clients count themselves
    response = JSONResponse(rows)
    if len(found) > start + limit:
        query = urlencode([*((k, v) for k, v in call.request.query_params.multi_items() if k != "p"), ("p", page + 1)])
        response.headers["Link"] = f'<{call.base}/api/collections?{query}>; rel="next"'
    return response


def create(call: Call) -> dict[str, Any]:
    payload = call.json()
    owner = payload.text("namespace") or call.writer().name
    call.writer(owner)
    title, description = _text(payload, "title", 1), _text(payload, "description")
    kept: dict[str, Any] = {"_id": secrets.token_hex(12), "title": title, "description": description or None}
    kept |= {"private": _truth(payload, "private"), "theme": "indigo", "created": now()}
    kept["items"] = [_item(call, payload)] if payload.get("item") else []
    kept["lastUpdated"] = kept["created"]
    where = place(call.hub.store, owner, kept["_id"])
    with held(where.lock):
        for other in where.file.parent.glob("*.json"):
            same = read(other)
            if same is not None and same["title"] == title:
                slug = slug_of(owner, same)
                raise Refusal(409, f"Collection {title!r} exists already in {owner}", body={"slug": slug})
        write_atomically(where.file, json.dumps(kept).encode())
    return shown(call, owner, kept)


def get(call: Call) -> dict[str, Any]:
    slug = f"{call.args['ns']}/{call.args['slug']}"
    found = _collection(call, slug)
    if found is None:
        raise _missing(slug)
    return shown(call, *found)


def _mine(call: Call) -> Place:
    """The collection of the URL, to be changed; one that may not be seen is not found."""
    get(call)
    call.writer(call.args["ns"])
    return place(call.hub.store, call.args["ns"], call.args["slug"])


def change(where: Place, edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    with held(where.lock):
        kept = read(where.file)
        if kept is None:
            raise _missing(where.file.stem)
        edit(kept)
        kept["lastUpdated"] = now()
        write_atomically(where.file, json.dumps(kept).encode())
    return kept


def update(call: Call) -> dict[str, Any]:
    where, payload = _mine(call), call.json()
    changed: dict[str, Any] = {}
    if "title" in payload:
        changed["title"] = _text(payload, "title", 1)
    if "description" in payload:
        changed["description"] = _text(payload, "description") or None
    if "private" in payload:
        changed["private"] = _truth(payload, "private")
    if "theme" in payload:
        changed["theme"] = payload.text("theme")[:20]
    return {"success": True, "data": shown(call, where.owner, change(where, lambda kept: kept.update(changed)))}


def delete(call: Call) -> dict[str, Any]:
    where = _mine(call)
    with held(where.lock):
        where.file.unlink(missing_ok=True)
    return {"success": True}


def _item(call: Call, payload: Payload) -> dict[str, Any]:
    """The item of a request, which must be something that this user may see."""
    wanted = payload.get("item")
    item = Payload(wanted if isinstance(wanted, dict) else {})
    kind, name = item.text("type"), item.text("id")
    if kind == "bucket":
        raise Refusal(501, "Buckets are not implemented by the local Hub")
    if kind not in TYPES:
        raise Refusal(400, f"Item of type {kind[:40]!r}: use one of {', '.join(TYPES)}")
    note = _text(payload, "note")
    if kind in KINDS and _repo(call, kind, name) is None:
        raise Refusal(404, f"{kind} {name[:120]!r} not found: it cannot be put into a collection")
    if kind == "collection":
        inner = _collection(call, name)
        if inner is None:
            raise _missing(name)
        name = slug_of(*inner)
    if kind == "paper" and not _PAPER.fullmatch(name):
        raise Refusal(400, f"Paper {name[:40]!r}: use an arXiv id such as 2602.16066")
    return {"_id": secrets.token_hex(12), "id": name, "type": kind, "note": {"text": note} if note else None}


def add_item(call: Call) -> dict[str, Any]:
    where, row = _mine(call), _item(call, call.json())

    def edit(kept: dict[str, Any]) -> None:
        if any((other["type"], other["id"]) == (row["type"], row["id"]) for other in kept["items"]):
            raise Refusal(409, f"{row['type']} {row['id']!r} is in the collection already")
        if len(kept["items"]) >= MOST_ITEMS:
            raise Refusal(400, f"The collection has {MOST_ITEMS} items already: remove one first")
        kept["items"].append(row)

    return shown(call, where.owner, change(where, edit))


def _index(kept: dict[str, Any], item: str) -> int:
    for at, row in enumerate(kept["items"]):
        if row["_id"] == item:
            return at
    raise Refusal(404, f"Item {item[:60]!r} is not in the collection")


def update_item(call: Call) -> dict[str, Any]:
    where, payload, item = _mine(call), call.json(), call.args["item"]
    position, note = payload.integer("position"), _text(payload, "note")

    def edit(kept: dict[str, Any]) -> None:
        row = kept["items"].pop(at := _index(kept, item))
        if "note" in payload:
            row["note"] = {"text": note} if note else None
        kept["items"].insert(at if position is None else max(position, 0), row)

    change(where, edit)
    return {"success": True}


def delete_item(call: Call) -> dict[str, Any]:
    item = call.args["item"]
    change(_mine(call), lambda kept: kept["items"].pop(_index(kept, item)))
    return {"success": True}


def follow_move(store: Store, kind: str, old: str, new: str) -> None:
    """A moved repository stays in its collections."""
    for owner, kept in every(store):
        if any((item["type"], item["id"]) == (kind, old) for item in kept["items"]):

            def edit(kept: dict[str, Any]) -> None:
                for item in kept["items"]:
                    if (item["type"], item["id"]) == (kind, old):
                        item["id"] = new

            change(place(store, owner, kept["_id"]), edit)


ROUTES: list[Route] = [
    ("GET", "/api/collections", listing),
    ("POST", "/api/collections", create),
    ("GET", "/api/collections/{ns}/{slug}", get),
    ("PATCH", "/api/collections/{ns}/{slug}", update),
    ("DELETE", "/api/collections/{ns}/{slug}", delete),
    ("POST", "/api/collections/{ns}/{slug}/items", add_item),
    ("PATCH", "/api/collections/{ns}/{slug}/items/{item}", update_item),
    ("DELETE", "/api/collections/{ns}/{slug}/items/{item}", delete_item),
]
