"""Endpoints of discussions and pull requests: open, list, comment, rename, close, merge.

    discussions/<number>.json    in the repository: what was said; for a discussion its title and status too

A pull request is a ref, so its title, status and base live in refs.json beside its commit: merging is one write. A
merge takes every file that the pull request changed since it left its branch, and refuses when the branch changed
one of them too. Left out: diffs (an empty string is given), rendered comments, reactions, locking and pinning.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .app import Call, Route
from .blobs import write_atomically
from .history import Repo, held, now
from .names import URL_PREFIX
from .refusal import Refusal

PAGE, MOST_CHARACTERS = 50, 65_536


def _event(kind: str, author: str, **data: Any) -> dict[str, Any]:
    made = {"id": secrets.token_hex(12), "type": kind, "createdAt": now(), "author": {"name": author}}
    return made | {"data": data}


def _comment(author: str, text: str) -> dict[str, Any]:
    latest = {"raw": text, "html": "", "updatedAt": now(), "author": {"name": author}}
    return _event("comment", author, edited=False, hidden=False, latest=latest, history=[])


def _file(repo: Repo, number: int) -> Path:
    return repo.folder / "discussions" / f"{number}.json"


def _said(repo: Repo, number: int) -> dict[str, Any]:
    """{events, title?, status?, author?, date?}; without a file nothing was said yet."""
    try:
        return json.loads(_file(repo, number).read_bytes())
    except FileNotFoundError:
        return {"events": []}


def _write(repo: Repo, number: int, said: dict[str, Any]) -> None:
    write_atomically(_file(repo, number), json.dumps(said).encode())


def _numbers(repo: Repo) -> list[int]:
    """Of all discussions and pull requests. A file without a title belongs to a pull request, or to nothing."""
    pulls = repo.refs()["pulls"]
    files = (int(file.stem) for file in (repo.folder / "discussions").glob("[0-9]*.json"))
    return [*map(int, pulls), *(n for n in files if str(n) not in pulls and "title" in _said(repo, n))]


def _head(repo: Repo, number: int) -> dict[str, Any]:
    """{title, status, author, date} and for a pull request {base, commit, merged?}; 404 when there is none."""
    pull = repo.refs()["pulls"].get(str(number))
    said = _said(repo, number)
    if pull is None and "title" not in said:
        raise Refusal(404, f"Discussion {number} not found in {repo.id}")
    found = pull or said
    if pull is not None and "date" not in pull:  # written by an older version
        found = {**pull, "date": repo.commit(pull["commit"]).date}
    return {"status": "open", **{k: v for k, v in found.items() if k != "events"}}


def _row(repo: Repo, number: int, head: dict[str, Any]) -> dict[str, Any]:
    return {
        "num": number, "title": head["title"], "status": head["status"], "author": {"name": head["author"]},
        "createdAt": head["date"], "isPullRequest": "base" in head, "numComments": len(_said(repo, number)["events"]),
        "repo": {"name": repo.id, "type": repo.kind},
    }  # fmt: skip


def listing(call: Call) -> dict[str, Any]:
    repo, page = call.repo(), call.number("p", 0, 1_000_000, least=0)
    kind, status, author = call.query("type"), call.query("status"), call.query("author")
    rows = []
    for number in sorted(_numbers(repo), reverse=True):
        row = _row(repo, number, _head(repo, number))
        if kind in ("discussion", "pull_request") and row["isPullRequest"] != (kind == "pull_request"):
            continue
        if status in ("open", "closed") and (row["status"] in ("open", "draft")) != (status == "open"):
            continue
        if author in ("", row["author"]["name"]):
            rows.append(row)
    start = page * PAGE
    return {"discussions": rows[start : start + PAGE], "count": len(rows), "start": start}


def _branch(head: dict[str, Any]) -> str:
    return head["base"].removeprefix("refs/heads/")


def _changes(repo: Repo, head: dict[str, Any], target: str) -> tuple[dict[str, Any], list[str]]:
    """(path -> entry or None of what the pull request changed, paths that its branch changed otherwise)."""
    on_branch = {commit.oid for commit in repo.log(target)}
    left = next((commit.oid for commit in repo.log(head["commit"]) if commit.oid in on_branch), head.get("start"))
    base = repo.tree(left) if left else {}
    mine, theirs = repo.tree(head["commit"]), repo.tree(target)
    changed = {path: mine.get(path) for path in mine.keys() | base.keys() if mine.get(path) != base.get(path)}
    bad = [p for p, entry in changed.items() if theirs.get(p) != base.get(p) and theirs.get(p) != entry]
    return changed, sorted(bad)


def _commits(repo: Repo, head: dict[str, Any]) -> list[dict[str, Any]]:
    """An event for each commit of a pull request, the first one first."""
    target = repo.refs()["branches"].get(_branch(head))
    on_branch = {commit.oid for commit in repo.log(target)} if target else set()
    rows: list[dict[str, Any]] = []
    for commit in repo.log(head["commit"]):
        if commit.oid in on_branch or commit.oid == head.get("start"):
            break
        row = {"id": commit.oid[:24], "type": "commit", "createdAt": commit.date, "author": {"name": commit.author}}
        rows.append(row | {"data": {"subject": commit.title, "oid": commit.oid}})
    return rows[::-1]


def details(call: Call) -> dict[str, Any]:
    repo, number = call.repo(), _number(call)
    head = _head(repo, number)
    found = {**_row(repo, number, head), "diff": "", "filesWithConflicts": []}
    events = list(_said(repo, number)["events"])
    if "base" in head:
        target = repo.refs()["branches"].get(_branch(head))
        found["changes"] = {"base": head["base"], "mergeCommitId": head.get("merged")}
        events = sorted([*_commits(repo, head), *events], key=lambda event: event["createdAt"])
        if head["status"] in ("open", "draft") and target:
            found["filesWithConflicts"] = _changes(repo, head, target)[1]
    return found | {"events": events}


def _number(call: Call) -> int:
    text = call.args["num"]
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Refusal(404, f"Discussion {text[:20]!r} not found")
    return int(text)


def _text(call: Call, name: str, most: int = MOST_CHARACTERS) -> str:
    text = call.json().text(name).strip()
    if not 0 < len(text) <= most:
        raise Refusal(400, f"{name} has {len(text)} characters: use 1 to {most}")
    return text


def create(call: Call) -> dict[str, Any]:
    repo, author, payload = call.repo(), call.writer().name, call.json()
    title, description = _text(call, "title", 500), payload.text("description")[:MOST_CHARACTERS]
    said: dict[str, Any] = {"events": [_comment(author, description)] if description else []}
    with held(repo._lock):
        number = repo.next_number(repo.refs())
        if payload.get("pullRequest"):
            refs = repo.refs()
            start = refs["branches"]["main"]
            pull = {"commit": start, "start": start, "title": title, "author": author, "base": "refs/heads/main"}
            refs["pulls"][str(number)] = pull | {"status": "draft", "date": now()}
            repo._write_refs(refs)
            _write(repo, number, said)
        else:
            _write(repo, number, {**said, "title": title, "author": author, "date": now(), "status": "open"})
    url = f"{call.base}/{URL_PREFIX[repo.kind]}{repo.id}/discussions/{number}"
    return {"num": number, "url": url, "pullRequest": bool(payload.get("pullRequest"))}


def _say(repo: Repo, number: int, edit: Callable[[dict[str, Any]], Any]) -> Any:
    """Change what was said, under the lock, which the caller holds."""
    said = _said(repo, number)
    result = edit(said)
    _write(repo, number, said)
    return result


def _append(repo: Repo, number: int, *events: dict[str, Any] | None) -> None:
    _say(repo, number, lambda said: said["events"].extend(filter(None, events)))


def _set(repo: Repo, number: int, **fields: Any) -> None:
    """Title or status, where they live."""
    refs = repo.refs()
    if str(number) in refs["pulls"]:
        refs["pulls"][str(number)] |= fields
        repo._write_refs(refs)
    else:
        _say(repo, number, lambda said: said.update(fields))


def comment(call: Call) -> dict[str, Any]:
    repo, number, made = call.repo(), _number(call), _comment(call.writer().name, _text(call, "comment"))
    with held(repo._lock):
        _head(repo, number)
        _append(repo, number, made)
    return {"newMessage": made}


def _steward(call: Call, repo: Repo, author: str) -> str:
    """The user, who must be the author of the thing or own the repository."""
    user = call.writer()
    if user.name != author and not user.owns(repo.namespace):
        raise Refusal(403, f"Only {author!r} and the owner of {repo.id} may do this")
    return user.name


def rename(call: Call) -> dict[str, Any]:
    repo, number, title = call.repo(), _number(call), _text(call, "title", 500)
    with held(repo._lock):
        head = _head(repo, number)
        author = _steward(call, repo, head["author"])
        made = _event("title-change", author, **{"from": head["title"], "to": title})
        _set(repo, number, title=title)
        _append(repo, number, made)
    return {"newTitle": made}


def status(call: Call) -> dict[str, Any]:
    repo, number, payload = call.repo(), _number(call), call.json()
    wanted, words = payload.text("status"), payload.text("comment").strip()[:MOST_CHARACTERS]
    if wanted not in ("open", "closed"):
        raise Refusal(400, f"status={wanted[:40]!r}: use 'open' or 'closed'")
    with held(repo._lock):
        head = _head(repo, number)
        author = _steward(call, repo, head["author"])
        if head["status"] in ("merged", wanted):
            raise Refusal(400, f"Discussion {number} is {head['status']} already")
        made = _event("status-change", author, status=wanted)
        _set(repo, number, status=wanted)
        _append(repo, number, _comment(author, words) if words else None, made)
    return {"newStatus": made}


def merge(call: Call) -> dict[str, Any]:
    repo, number = call.repo(write=True), _number(call)
    author, words = call.writer().name, call.json().text("comment").strip()[:MOST_CHARACTERS]
    with held(repo._lock):
        head, refs = _head(repo, number), repo.refs()
        if "base" not in head or head["status"] != "open":
            raise Refusal(400, f"Discussion {number} is {head['status']}: only an open pull request can be merged")
        branch = _branch(head)
        if branch not in refs["branches"]:
            raise Refusal(409, f"Branch {branch!r} is gone: the pull request cannot be merged")
        target = refs["branches"][branch]
        changed, conflicts = _changes(repo, head, target)
        if conflicts:
            raise Refusal(409, f"{branch} changed {conflicts[0]!r} meanwhile: the pull request cannot be merged")
        oid = repo.merged(target, changed, f"{head['title']} (#{number})", author)
        refs["branches"][branch] = oid
        refs["pulls"][str(number)] |= {"status": "merged", "merged": oid}
        repo._write_refs(refs)
        _append(
            repo, number, _comment(author, words) if words else None, _event("status-change", author, status="merged")
        )
    return {"mergeCommitId": oid}


def _edit_comment(call: Call, edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    repo, number, wanted = call.repo(), _number(call), call.args["comment"]

    def change(said: dict[str, Any]) -> dict[str, Any]:
        for event in said["events"]:
            if event["id"] == wanted and event["type"] == "comment":
                _steward(call, repo, event["author"]["name"])
                edit(event["data"])
                return event
        raise Refusal(404, f"No comment {wanted[:40]!r} in discussion {number}")

    with held(repo._lock):
        _head(repo, number)
        return {"updatedComment": _say(repo, number, change)}


def edit_comment(call: Call) -> dict[str, Any]:
    text, author = _text(call, "content"), call.writer().name

    def edit(data: dict[str, Any]) -> None:
        if data["hidden"]:
            raise Refusal(400, "A hidden comment cannot be edited")
        data["history"].append(data["latest"])
        data["edited"], data["latest"] = True, _comment(author, text)["data"]["latest"]

    return _edit_comment(call, edit)


def hide_comment(call: Call) -> dict[str, Any]:
    def edit(data: dict[str, Any]) -> None:
        data |= {"hidden": True, "history": []}
        data["latest"] |= {"raw": "This comment has been hidden", "html": ""}

    return _edit_comment(call, edit)


_PATH = "/api/{kind}/{ns}/{name}/discussions"
ROUTES: list[Route] = [
    ("GET", _PATH, listing),
    ("POST", _PATH, create),
    ("GET", f"{_PATH}/{{num}}", details),
    ("POST", f"{_PATH}/{{num}}/comment", comment),
    ("POST", f"{_PATH}/{{num}}/comment/{{comment}}/edit", edit_comment),
    ("POST", f"{_PATH}/{{num}}/comment/{{comment}}/hide", hide_comment),
    ("POST", f"{_PATH}/{{num}}/title", rename),
    ("POST", f"{_PATH}/{{num}}/status", status),
    ("POST", f"{_PATH}/{{num}}/merge", merge),
]
