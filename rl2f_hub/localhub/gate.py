"""Gated repositories: anybody may see that one is there and read its card; its files are for who was let in.

`gated` in repo.json is False, "auto" (who asks is in) or "manual" (the owner decides). `access` in there maps users
to {id, status, timestamp, reason?} with status pending, accepted or rejected. As on the Hub the card and
`.gitattributes` are open, and so are names, sizes and history. Left out: forms with fields, and hiding of names.
"""

from __future__ import annotations

import secrets
from typing import Any

from .app import Call, Route, per_kind
from .history import Repo, now
from .refusal import Refusal

GATES = ("auto", "manual", False)
STATUSES = ("pending", "accepted", "rejected")
OPEN_FILES = ("README.md", ".gitattributes")


def let_in(call: Call, repo: Repo) -> bool:
    """Whether this user may read the files of a repository that it can see."""
    values = repo.settings()
    if not values.get("gated") or call.member(repo.namespace):
        return True
    asked = values.get("access", {}).get(call.user.name if call.user else "")
    return bool(asked) and asked["status"] == "accepted"


def check(call: Call, repo: Repo, path: str = "") -> None:
    """Refuse who was not let in, in the words clients know."""
    if path in OPEN_FILES or let_in(call, repo):
        return
    where = f"{call.url(repo)}/ask-access"
    if call.user is None:
        raise Refusal(401, f"Access to {repo.kind} {repo.id} is restricted: send a token", "GatedRepo")
    message = f"Access to {repo.kind} {repo.id} is restricted and you are not in the authorized list"
    raise Refusal(403, f"{message}: ask for it with POST {where}", "GatedRepo")


def gate_of(values: dict[str, Any]) -> str | bool:
    return values.get("gated") or False


def _gated(call: Call) -> Repo:
    repo = call.repo(write=True)
    if not repo.settings().get("gated"):
        raise Refusal(400, f"{repo.kind} {repo.id} is not gated")
    return repo


def ask(call: Call) -> dict[str, Any]:
    """What the button of the Hub's page does. Asking again changes nothing."""
    repo = call.repo()
    if call.user is None:
        raise Refusal(401, "Invalid username or password: this request needs a token")
    name, found = call.user.name, {}

    def edit(values: dict[str, Any]) -> None:
        if not values.get("gated"):
            raise Refusal(400, f"{repo.kind} {repo.id} is not gated")
        status = "accepted" if values["gated"] == "auto" else "pending"
        asked = {"id": secrets.token_hex(12), "status": status, "timestamp": now()}
        found.update(values.setdefault("access", {}).setdefault(name, asked))

    repo.change_settings(edit)
    return {"status": found["status"]}


def requests(call: Call) -> list[dict[str, Any]]:
    repo, status = _gated(call), call.args["status"]
    if status not in STATUSES:
        raise Refusal(400, f"status={status[:40]!r}: use one of {', '.join(STATUSES)}")
    rows = []
    for name, asked in sorted(repo.settings().get("access", {}).items()):
        if asked["status"] == status:
            user = {"user": name, "fullname": name, "email": None}
            rows.append({"user": user, "requestId": asked["id"], "status": status, "timestamp": asked["timestamp"]})
    return rows


def handle(call: Call) -> dict[str, Any]:
    repo, payload = _gated(call), call.json()
    name, request_id, status = payload.text("user"), payload.text("requestId"), payload.text("status")
    reason = payload.text("rejectionReason")[:200]
    if status not in STATUSES:
        raise Refusal(400, f"status={status[:40]!r}: use one of {', '.join(STATUSES)}")

    def edit(values: dict[str, Any]) -> None:
        for user, asked in values.get("access", {}).items():
            if user == name or (request_id and asked["id"] == request_id):
                if asked["status"] == status:
                    raise Refusal(404, f"The request of {user!r} is in the {status} list already")
                asked |= {"status": status} | ({"reason": reason} if reason else {})
                return
        raise Refusal(404, f"No access request of {(name or request_id)[:80]!r}")

    repo.change_settings(edit)
    return {}


def grant(call: Call) -> dict[str, Any]:
    repo, name = _gated(call), call.json().text("user")
    if not call.hub.users.exists(name):
        raise Refusal(404, f"User {name[:80]!r} not found")

    def edit(values: dict[str, Any]) -> None:
        access = values.setdefault("access", {})
        if access.get(name, {}).get("status") == "accepted":
            raise Refusal(400, f"{name!r} has access already")
        access[name] = {"id": secrets.token_hex(12), "status": "accepted", "timestamp": now()}

    repo.change_settings(edit)
    return {}


_PATH = "/api/{kind}/{ns}/{name}/user-access-request"
ROUTES: list[Route] = [
    *per_kind("POST", "{ns}/{name}/ask-access", ask),
    ("POST", f"{_PATH}/handle", handle),
    ("POST", f"{_PATH}/grant", grant),
    ("GET", f"{_PATH}/{{status}}", requests),
]
