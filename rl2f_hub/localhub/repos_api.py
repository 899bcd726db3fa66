"""Endpoints about whole repositories: who am I, create, delete, move, copy, describe, list, settings, cards."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from . import card, gate, results
from .app import Call, Route
from .blobs import pointer
from .collections_api import follow_move
from .history import Repo
from .names import check_kind, check_repo_id
from .payload import Payload
from .refusal import Refusal, no_repo
from .tree import Entry

NOT_BUILT = "stored, not built: the local Hub does not run Spaces"


def whoami(call: Call) -> dict[str, Any]:
    if call.user is None:
        raise Refusal(401, "Invalid username or password.")
    name = call.user.name
    token: dict[str, Any] = {"displayName": "local", "role": call.user.role}
    if call.user.expires is not None:
        token["expiresAt"] = datetime.fromtimestamp(call.user.expires, UTC).isoformat(timespec="seconds")
    fields: dict[str, Any] = {
        "type": "user",
        "id": f"local-{name}",
        "name": name,
        "fullname": name,
        "email": None,
        "orgs": [
            {
                "type": "org",
                "id": f"local-{org}",
                "name": org,
                "fullname": org,
                "roleInOrg": role,
                "isEnterprise": False,
            }
            for org, role in call.user.orgs.items()
        ],
    }
    return {**fields, "isPro": False, "auth": {"type": "access_token", "accessToken": token}}


def _visibility(payload: Payload) -> dict[str, Any]:
    """Newer clients send `visibility`, older ones `private`; neither leaves it as it is."""
    if payload.get("visibility") is not None:
        if payload["visibility"] not in ("public", "private", "protected"):
            raise Refusal(400, f"visibility={payload['visibility']!r}: use 'public' or 'private'")
        return {"private": payload["visibility"] != "public"}
    return {"private": bool(payload["private"])} if payload.get("private") is not None else {}


def _named(call: Call, payload: Payload) -> tuple[str, str, str]:
    """(kind, namespace, name) of a create or delete body; the namespace defaults to the user's own."""
    kind = check_kind(payload.get("type") or "model")
    namespace, name = payload.get("organization") or call.writer().name, payload.get("name")
    check_repo_id(namespace, name)
    call.writer(namespace)
    return kind, namespace, str(name)


def _space_settings(payload: Payload) -> dict[str, Any]:
    from .spaces import record

    settings: dict[str, Any] = {"hardware": payload.text("hardware"), "sleep": payload.integer("sleepTimeSeconds")}
    for table in ("secrets", "variables"):
        settings[table] = dict(record(table, row) for row in payload.rows(table))
    return settings


def create(call: Call) -> dict[str, Any]:
    payload = call.json()
    kind, namespace, name = _named(call, payload)
    settings: dict[str, Any] = {**_visibility(payload)}
    if kind == "space":
        settings |= {"sdk": payload.text("sdk") or "static", **_space_settings(payload)}
    try:
        repo = call.hub.store.create(kind, namespace, name, call.writer().name, **settings)
    except Refusal as refusal:
        if refusal.status == 409:  # clients with exist_ok=True read the URL out of the refusal
            refusal.body["url"] = call.url(call.hub.store.repo(kind, f"{namespace}/{name}"))
        raise
    return {"url": call.url(repo), "name": repo.id, "id": repo.settings()["key"]}


def delete(call: Call) -> dict[str, Any]:
    kind, namespace, name = _named(call, call.json())
    call.hub.store.delete(call.hub.store.repo(kind, f"{namespace}/{name}"))
    return {}


def move(call: Call) -> dict[str, Any]:
    payload = call.json()
    kind = check_kind(payload.get("type") or "model")
    source, target = payload.text("fromRepo"), payload.text("toRepo")
    if source.count("/") != 1 or target.count("/") != 1:
        raise Refusal(400, f"fromRepo={source[:80]!r} toRepo={target[:80]!r}: use namespace/name for both")
    call.writer(source.split("/")[0])
    call.writer(target.split("/")[0])
    moved = call.hub.store.move(call.hub.store.repo(kind, source), *target.split("/"))
    follow_move(call.hub.store, kind, source, target)
    return {"url": call.url(moved)}


def duplicate(call: Call) -> dict[str, Any]:
    payload, source = call.json(), call.repo()
    gate.check(call, source)
    namespace, _, name = payload.text("repository").partition("/")
    user = call.writer(namespace)
    settings: dict[str, Any] = {**_visibility(payload)}
    if call.kind == "space":
        settings |= _space_settings(payload)
    try:
        repo = call.hub.store.duplicate(source, namespace, name, user.name, **settings)
    except Refusal as refusal:
        if refusal.status == 409:
            refusal.body["url"] = call.url(call.hub.store.repo(call.kind, f"{namespace}/{name}"))
        raise
    return {"url": call.url(repo)}


def settings(call: Call) -> dict[str, Any]:
    repo, payload = call.repo(write=True), call.json()
    changed = _visibility(payload)
    if payload.get("gated") is not None:
        if payload["gated"] not in gate.GATES or not isinstance(payload["gated"], (str, bool)):
            raise Refusal(400, f"gated={str(payload['gated'])[:40]!r}: use 'auto', 'manual' or false")
        changed["gated"] = payload["gated"]
    values = repo.change_settings(lambda values: values.update(changed))
    return {"private": values["private"], "gated": gate.gate_of(values)}


def auth_check(call: Call) -> dict[str, Any]:
    repo = call.repo(write=call.args.get("what") == "write")
    gate.check(call, repo)
    return {"private": repo.settings()["private"]}


def large_info(entry: Entry, key: str) -> dict[str, Any]:
    """How the wire describes a large file; the hash is called `sha256` in infos and `oid` in trees."""
    return {key: entry.sha256, "size": entry.size, "pointerSize": len(pointer(entry.sha256, entry.size))}


def card_entry(repo: Repo, oid: str) -> Entry | None:
    entry = repo.tree(oid).get("README.md")
    return None if entry is None or entry.lfs or entry.size > card.CARD_BYTES else entry


def card_data(repo: Repo, oid: str) -> dict[str, Any]:
    """A card's front matter as JSON-ready data; {} without one; BadCard when it cannot be read."""
    if (entry := card_entry(repo, oid)) is None:
        return {}
    return card.parsed(entry.sha256, partial(repo.blobs.text, entry.sha256), card.metadata)


def runtime(values: dict[str, Any]) -> dict[str, Any]:
    hardware = values.get("hardware") or "cpu-basic"
    fields = {"stage": values.get("stage", "STOPPED"), "errorMessage": NOT_BUILT, "gcTimeout": values.get("sleep")}
    return {**fields, "hardware": {"current": hardware, "requested": hardware}, "storage": None}


def describe(repo: Repo, oid: str, files: bool = True, sizes: bool = False) -> dict[str, Any]:
    values, tree, data = repo.settings(), repo.tree(oid), {}
    with suppress(card.BadCard):  # a broken card counts as an empty one: lists of repositories must not fail for it
        data = card_data(repo, oid)
    found = {
        "_id": values["key"], "id": repo.id, "author": repo.namespace, "sha": oid, "private": values["private"],
        "gated": gate.gate_of(values), "disabled": False, "createdAt": values["created"], "lastModified": repo.commit(oid).date,
        "tags": card.tags(data), "cardData": data, "downloads": 0, "likes": 0,
        "usedStorage": sum({e.sha256: e.size for e in tree.values()}.values()),
    }  # fmt: skip
    if repo.kind == "model":
        found["modelId"] = repo.id
        found |= {key: data[key] for key in ("library_name", "pipeline_tag") if isinstance(data.get(key), str)}
    if repo.kind == "space":
        sdk = data.get("sdk")
        found |= {"sdk": sdk if sdk and isinstance(sdk, str) else values.get("sdk"), "runtime": runtime(values)}
    if files:
        found["siblings"] = []
        for path, entry in tree.items():
            sibling: dict[str, Any] = {"rfilename": path}
            if sizes:
                sibling |= {"size": entry.size, "blobId": entry.oid}
                sibling |= {"lfs": large_info(entry, "sha256")} if entry.lfs else {}
            found["siblings"].append(sibling)
    return found


def info(call: Call) -> dict[str, Any]:
    repo = call.repo()
    oid = repo.resolve(call.args.get("rev", "main"))
    found = describe(repo, oid, sizes=call.flag("blobs"))
    if "evalResults" in call.request.query_params.getlist("expand"):
        found["evalResults"] = results.entries(repo, oid)
    return found


def listing(call: Call) -> list[dict[str, Any]]:
    author, search = call.query("author"), call.query("search").lower()
    wanted = set(call.request.query_params.getlist("filter"))
    rows = []
    for repo in call.hub.store.repos(call.kind):
        if (author and repo.namespace != author) or search not in repo.id.lower() or not call.may_see(repo):
            continue
        try:
            row = describe(repo, repo.resolve("main"), files=call.flag("full"))
        except (Refusal, FileNotFoundError):  # deleted meanwhile
            continue
        if wanted <= set(row["tags"]):
            rows.append(row)
    key = call.query("sort") if call.query("sort") in ("createdAt", "id") else "lastModified"
    rows.sort(key=lambda row: row[key], reverse=key != "id")
    return rows[: call.number("limit", 1000, 100_000)]


def validate_yaml(call: Call) -> Any:
    content = call.json().text("content")
    try:
        if len(content) > card.CARD_BYTES:
            raise card.BadCard(f"the card is longer than {card.CARD_BYTES} characters")
        data = card.metadata(content)
    except card.BadCard as error:
        raise Refusal(400, str(error), body={"errors": [{"message": str(error)}], "warnings": []}) from None
    warnings = [] if data else [{"message": "empty or missing yaml metadata in repo card"}]
    return {"errors": [], "warnings": warnings}


def _counts(call: Call, namespace: str) -> dict[str, int]:
    """How many repositories of each kind the namespace has for this user's eyes."""
    seen = {"model": 0, "dataset": 0, "space": 0}
    for repo in call.hub.store.all_repos():
        if repo.namespace == namespace and call.may_see(repo):
            seen[repo.kind] += 1
    return {"numModels": seen["model"], "numDatasets": seen["dataset"], "numSpaces": seen["space"]}


def overview(call: Call) -> dict[str, Any]:
    name = call.args["user"]
    counts = _counts(call, name)
    if name in call.hub.users.orgs() or (not any(counts.values()) and (call.user is None or call.user.name != name)):
        raise Refusal(404, f"User {name!r} not found")
    return {"user": name, "fullname": name, "avatarUrl": "", "type": "user", "isPro": False, **counts}


def org_overview(call: Call) -> dict[str, Any]:
    name = call.args["org"]
    if name not in call.hub.users.orgs():
        raise Refusal(404, f"Organization {name!r} not found")
    return {"name": name, "fullname": name, "avatarUrl": "", "type": "org", **_counts(call, name)}


def members(call: Call) -> list[dict[str, Any]]:
    found = call.hub.users.orgs().get(call.args["org"])
    if found is None or not call.member(call.args["org"]):  # who belongs to it is for its members
        raise Refusal(404 if found is None else 403, f"Members of {call.args['org']!r} are not for everybody")
    rows = sorted(found.items())
    return [{"user": name, "fullname": name, "avatarUrl": "", "type": "user", "role": role} for name, role in rows]


def no_namespace(call: Call) -> None:
    """`gpt2` and its kind exist only on the real Hub."""
    raise no_repo(call.kind, call.args["name"])


ROUTES: list[Route] = [
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/repos/create", create),
    ("DELETE", "/api/repos/delete", delete),
    ("POST", "/api/repos/move", move),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("GET", "/api/users/{user}/overview", overview),
    ("GET", "/api/organizations/{org}/overview", org_overview),
    ("GET", "/api/organizations/{org}/members", members),
    ("GET", "/api/agent-harnesses", lambda call: {}),
    ("GET", "/api/telemetry/{rest*}", lambda call: {}),
    ("GET", "/api/{kind}", listing),
    ("GET", "/api/{kind}/{ns}/{name}", info),
    ("GET", "/api/{kind}/{ns}/{name}/revision/{rev}", info),
    ("PUT", "/api/{kind}/{ns}/{name}/settings", settings),
    ("GET", "/api/{kind}/{ns}/{name}/auth-check", auth_check),
    ("GET", "/api/{kind}/{ns}/{name}/auth-check/{what}", auth_check),
    ("POST", "/api/{kind}/{ns}/{name}/duplicate", duplicate),
    ("GET", "/api/{kind}/{name}", no_namespace),
    ("GET", "/api/{kind}/{name}/revision/{rev}", no_namespace),
    ("GET", "/api/{kind}/{name}/tree/{rev}", no_namespace),
    ("POST", "/api/{kind}/{name}/paths-info/{rev}", no_namespace),
]
