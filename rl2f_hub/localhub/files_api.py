"""Endpoints about the files of a repository: list them, describe them, announce, commit and download them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import mimetypes
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response

from . import gate
from .app import Call, Route, per_kind
from .blobs import git_oid
from .history import Repo
from .names import check_path
from .payload import Payload, parse
from .refusal import Refusal, no_entry
from .repos_api import large_info, no_namespace
from .store import is_large
from .tree import MOST_FILES, Change, Entry, Tree, folders_of

PAGE = 1000
LINE_BYTES = 128 * 1024 * 1024
AT_ONCE = 16
# Repository files may hold anything. Shown in a browser, they get no scripts, no forms and an origin of their own.
INERT = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"}
_SHOWN = ("image/", "video/", "audio/", "application/json", "application/pdf")


def _folders(tree: Tree) -> dict[str, str]:
    """Folder -> its oid: not git's tree hash, but like it, it changes exactly when something below changes."""
    hashes: dict[str, Any] = {}
    for path in sorted(tree):
        for folder in folders_of(path):
            below = hashes.setdefault(folder, hashlib.sha1(usedforsecurity=False))
            below.update(f"{path}\0{tree[path].oid}\0".encode())
    return {folder: found.hexdigest() for folder, found in hashes.items()}


def _item(tree: Tree, folders: dict[str, str], path: str) -> dict[str, Any]:
    entry = tree.get(path)
    if entry is None:
        return {"type": "directory", "path": path, "oid": folders[path], "size": 0}
    item = {"type": "file", "path": path, "oid": entry.oid, "size": entry.size}
    return item | {"lfs": large_info(entry, "oid")} if entry.lfs else item


def _with_last_commits(repo: Repo, oid: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    changes = repo.last_changes(oid, [item["path"] for item in items])
    for item in items:
        commit = changes[item["path"]]
        item["lastCommit"] = {"id": commit.oid, "title": commit.title, "date": commit.date}
    return items


def children(tree: Tree, folder: str, recursive: bool) -> list[str]:
    """Paths of files and folders in `folder` ("" is the top), sorted."""
    prefix = folder + "/" if folder else ""
    found: set[str] = set()
    for path in tree:
        if path.startswith(prefix):
            if recursive:
                found.update(above for above in (*folders_of(path), path) if len(above) > len(prefix))
            else:
                found.add(prefix + path[len(prefix) :].partition("/")[0])
    return sorted(found)


def tree(call: Call) -> Response:
    repo, folder = call.repo(), call.args.get("path", "").strip("/")
    oid = repo.resolve(call.args["rev"])
    files = repo.tree(oid)
    paths = children(files, folder, call.flag("recursive"))
    if folder and not paths:
        raise no_entry(folder, call.args["rev"])
    limit, after = call.number("limit", PAGE, PAGE), call.query("cursor")
    paths = [path for path in paths if path > after]
    folders = _folders(files)
    items = [_item(files, folders, path) for path in paths[:limit]]
    if call.flag("expand"):
        items = _with_last_commits(repo, oid, items)
    response = JSONResponse(items)
    if len(paths) > limit:
        query = dict(call.request.query_params) | {"cursor": paths[limit - 1]}
        raw = call.request.scope["raw_path"].decode()
        response.headers["Link"] = f'<{call.base}{raw}?{urlencode(query)}>; rel="next"'
    return response


def paths_info(call: Call) -> list[dict[str, Any]]:
    repo = call.repo()
    oid = repo.resolve(call.args["rev"])
    files = repo.tree(oid)
    if "json" in call.request.headers.get("content-type", ""):
        wanted, expand = call.json().texts("paths"), bool(call.json().get("expand"))
    else:
        form = call.form()
        wanted, expand = form.get("paths", []), form.get("expand", [""])[0].lower() in ("true", "1")
    folders = _folders(files)
    paths = dict.fromkeys(path.strip("/") for path in wanted)
    items = [_item(files, folders, path) for path in paths if path in files or path in folders]
    return _with_last_commits(repo, oid, items) if expand else items


def upload_repo(call: Call) -> Repo:
    """The repository somebody is about to send files to: their own, or any they may read for a pull request."""
    repo = call.repo()
    sending(call, repo, call.flag("create_pr"), call.args["rev"])
    return repo


def sending(call: Call, repo: Repo, new_pull: bool, revision: str) -> None:
    """Refuse who may not send files to this revision: a pull request takes them from its author too."""
    pull = repo.refs()["pulls"].get(revision.removeprefix("refs/pr/"), {}) if revision.startswith("refs/pr/") else {}
    mine = call.user is not None and pull.get("author") == call.user.name
    call.writer(None if new_pull or mine else repo.namespace)
    gate.check(call, repo)  # else a large file could be named by its hash, in a pull request, and read there


def preupload(call: Call) -> dict[str, Any]:
    repo = upload_repo(call)
    files = repo.tree(repo.resolve(call.args["rev"]))
    answers = []
    for file in call.json().rows("files"):
        path, size = check_path(file.get("path")), file.integer("size") or 0
        large, known = is_large(path, size), files.get(path)
        oid = (known.sha256 if large else known.oid) if known and known.lfs == large else None
        mode = "lfs" if large else "regular"
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": answers}


async def _lines(call: Call) -> AsyncIterator[bytes]:
    """The body line by line; never more than one line and one network chunk in memory."""
    parts: list[bytes] = []
    held = 0
    async for chunk in call.request.stream():
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            parts.append(line)
            yield b"".join(parts)
            parts, held = [], 0
        parts.append(rest)
        held += len(rest)
        if held > LINE_BYTES:
            raise Refusal(413, f"A line of the commit is larger than {LINE_BYTES} bytes: send this file by LFS")
    yield b"".join(parts)


def _change(repo: Repo, key: str, value: dict[str, Any]) -> Change:
    path = check_path(str(value.get("path")).rstrip("/") if key == "deletedFolder" else value.get("path"))
    if key == "file":
        try:
            content = value["content"]
            is_base64 = value.get("encoding", "utf-8") == "base64"
            data = base64.b64decode(content, validate=True) if is_base64 else content.encode()
        except (KeyError, AttributeError, ValueError, binascii.Error) as error:
            raise Refusal(400, f"content of {path!r} cannot be decoded: {error}") from None
        return Change("add", path, Entry(repo.blobs.put([data]), len(data), git_oid(data), False))
    if key == "lfsFile":
        return Change("add", path, repo.large_entry(str(value.get("oid"))))
    if key in ("deletedFile", "deletedFolder"):
        return Change("delete" if key == "deletedFile" else "delete_folder", path)
    raise Refusal(400, f"Unknown operation {key[:40]!r} in a commit: use file, lfsFile, deletedFile or deletedFolder")


def _operation(repo: Repo, line: bytes) -> tuple[Payload | None, Change | None]:
    """(header, None) or (None, change) of one line."""
    try:
        item = parse(line)
        key, value = item["key"], item["value"]
        if not isinstance(key, str) or not isinstance(value, dict):
            raise TypeError("key and value have the wrong types")
    except (KeyError, TypeError) as error:
        raise Refusal(400, f"A line of the commit is not {{key, value}} JSON: {error}") from None
    return (Payload(value), None) if key == "header" else (None, _change(repo, key, value))


async def _operations(call: Call, repo: Repo) -> AsyncGenerator[tuple[Payload | None, Change | None]]:
    """The lines of a commit in order. Several are stored at once: a disk makes many small files safe together."""
    running: deque[tuple[int, asyncio.Task[tuple[Payload | None, Change | None]]]] = deque()
    size = 0
    try:
        async for line in _lines(call):
            if not line.strip():
                continue
            while running and (len(running) >= AT_ONCE or size + len(line) > LINE_BYTES):
                length, task = running.popleft()
                size -= length
                yield await task
            size += len(line)
            running.append((len(line), asyncio.create_task(run_in_threadpool(_operation, repo, line))))
        while running:
            yield await running.popleft()[1]
    finally:
        # After a bad line the others still write their files; nobody may be left behind doing so.
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)


async def commit(call: Call) -> dict[str, Any]:
    repo = await run_in_threadpool(upload_repo, call)
    pull_request, changes = call.flag("create_pr"), []
    header: Payload | None = None
    async with aclosing(_operations(call, repo)) as operations:
        async for found, change in operations:
            header = found or header
            changes += [change] if change else []
            if len(changes) > MOST_FILES:
                raise Refusal(413, f"A commit changes at most {MOST_FILES} files: send several")
    if header is None or not header.text("summary").strip():
        raise Refusal(400, "The commit has no header with a summary")
    author = call.writer().name
    oid, number = await run_in_threadpool(
        repo.write,
        call.args["rev"],
        changes,
        header.text("summary"),
        header.text("description"),
        author,
        header.text("parentCommit") or None,
        pull_request,
    )
    pull_url = f"{call.url(repo)}/discussions/{number}" if pull_request else None
    return {
        "success": True,
        "commitOid": oid,
        "commitUrl": f"{call.url(repo)}/commit/{oid}",
        "pullRequestUrl": pull_url,
    }


def media_type(path: str) -> str:
    """Images and data by their name; everything else that is text is shown as text, never as a page."""
    kind = mimetypes.guess_type(path)[0] or ""
    if kind.startswith(_SHOWN):
        return kind
    if kind.startswith("text/") or path.rsplit(".", 1)[-1] in ("md", "yaml", "yml", "py", "toml", "jsonl", "jinja"):
        return "text/plain; charset=utf-8"
    return "application/octet-stream"


class _File(FileResponse):
    chunk_size = 1024 * 1024  # each piece costs a walk through a thread; 64 kB of it would cost more than the copy


def resolve(call: Call) -> Response:
    repo, path = call.repo(), call.args["path"]
    gate.check(call, repo, path)
    oid, entry = repo.entry(call.args["rev"], path)
    if entry.lfs:  # a card is a small file; a large one under its name is no card
        gate.check(call, repo)
    etag = entry.sha256 if entry.lfs else entry.oid
    headers = {"ETag": f'"{etag}"', "X-Repo-Commit": oid, **INERT}
    headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(path.rsplit('/', 1)[-1], safe='')}"
    if entry.lfs:
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
    known = [tag.strip().removeprefix("W/") for tag in call.request.headers.get("if-none-match", "").split(",")]
    if f'"{etag}"' in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return _File(repo.blobs.path(entry.sha256), headers=headers, media_type=media_type(path))


ROUTES: list[Route] = [
    ("GET", "/api/{kind}/{ns}/{name}/tree/{rev}", tree),
    ("GET", "/api/{kind}/{ns}/{name}/tree/{rev}/{path*}", tree),
    ("POST", "/api/{kind}/{ns}/{name}/paths-info/{rev}", paths_info),
    ("POST", "/api/{kind}/{ns}/{name}/preupload/{rev}", preupload),
    ("POST", "/api/{kind}/{ns}/{name}/commit/{rev}", commit),
    *per_kind("GET", "{ns}/{name}/resolve/{rev}/{path*}", resolve),
    *per_kind("GET", "{name}/resolve/{rev}/{path*}", no_namespace),
]
