"""Endpoints about history: refs, branches, tags, commits."""

from __future__ import annotations

from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from .app import Call, Route
from .refusal import no_revision

PAGE = 1000


def refs(call: Call) -> dict[str, Any]:
    found = call.repo().refs()

    def rows(table: str, prefix: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": prefix + name, "targetCommit": at if isinstance(at, str) else at["commit"]}
            for name, at in found[table].items()
        ]

    answer: dict[str, Any] = {"branches": rows("branches", "refs/heads/"), "tags": rows("tags", "refs/tags/")}
    answer["converts"] = []
    if call.query("include_prs"):
        answer["pullRequests"] = rows("pulls", "refs/pr/")
    return answer


def create_branch(call: Call) -> dict[str, Any]:
    payload = call.json()
    call.repo(write=True).create_branch(call.args["branch"], payload.text("startingPoint") or "main")
    return {}


def delete_branch(call: Call) -> dict[str, Any]:
    call.repo(write=True).delete_ref("branches", call.args["branch"])
    return {}


def create_tag(call: Call) -> dict[str, Any]:
    payload = call.json()
    call.repo(write=True).create_tag(payload.text("tag"), call.args["rev"], payload.text("message"))
    return {}


def delete_tag(call: Call) -> dict[str, Any]:
    call.repo(write=True).delete_ref("tags", call.args["tag"])
    return {}


def commits(call: Call) -> Response:
    repo = call.repo()
    oid = repo.resolve(call.args["rev"])
    page, limit = call.number("p", 0, 1_000_000, least=0), call.number("limit", PAGE, PAGE)
    found = list(islice(repo.log(oid), page * limit, (page + 1) * limit + 1))
    rows = []
    for commit in found[:limit]:
        row: dict[str, Any] = {"id": commit.oid, "title": commit.title, "message": commit.message, "date": commit.date}
        row["authors"] = [{"user": commit.author}]
        if "formatted" in call.request.query_params.getlist("expand[]"):
            row["formatted"] = {"title": commit.title, "message": commit.message}
        rows.append(row)
    response = JSONResponse(rows)
    if len(found) > limit:
        query = urlencode([*((k, v) for k, v in call.request.query_params.multi_items() if k != "p"), ("p", page + 1)])
        response.headers["Link"] = f'<{call.base}{call.request.scope["raw_path"].decode()}?{query}>; rel="next"'
    return response


def squash(call: Call) -> dict[str, Any]:
    repo, branch = call.repo(write=True), call.args["branch"]
    if branch not in repo.refs()["branches"]:
        raise no_revision(branch)
    message = call.json().text("message") or f"Super-squash branch '{branch}'"
    return {"commitOid": repo.squash(branch, message, call.writer().name)}


ROUTES: list[Route] = [
    ("GET", "/api/{kind}/{ns}/{name}/refs", refs),
    ("GET", "/api/{kind}/{ns}/{name}/commits/{rev}", commits),
    ("POST", "/api/{kind}/{ns}/{name}/branch/{branch*}", create_branch),
    ("DELETE", "/api/{kind}/{ns}/{name}/branch/{branch*}", delete_branch),
    ("POST", "/api/{kind}/{ns}/{name}/tag/{rev}", create_tag),
    ("DELETE", "/api/{kind}/{ns}/{name}/tag/{tag}", delete_tag),
    ("POST", "/api/{kind}/{ns}/{name}/super-squash/{branch}", squash),
]
