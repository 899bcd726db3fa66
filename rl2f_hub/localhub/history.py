"""One repository on disk: immutable trees and commits, and the refs that point at them.

    repo.json              visibility, creation date, Space settings
    refs.json              branches, tags and pull-request refs: the only thing a commit ever changes
    commits/<oid>.json     parent, tree, title, message, date, author
    trees/<id>.json        path -> (sha256, size, git oid, lfs), flat, named by its content
    discussions/<n>.json   what was said about it, see discussions_api.py
    lfs/<sha256>           empty marks: this large file was uploaded to (or copied into) this repository

A commit writes blobs, tree and commit first and moves the ref last, under a file lock, by one rename. Killed at any
point, the repository is at the old or at the new commit. Left out: merges, rebases, and git itself.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .blobs import Blobs, git_oid, pointer, write_atomically
from .names import check_ref
from .refusal import Refusal, no_entry, no_repo, no_revision
from .tree import Change, Entry, Tree, apply, folders_of, load_tree

LOCK_SECONDS = 60


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    tree: str
    title: str
    message: str
    date: str
    author: str


def now() -> str:
    """The Hub's date format: UTC with milliseconds and a Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Exclude every other process and thread that shares the root. A new lock object each time: see filelock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise Refusal(503, f"Busy: {lock.name} is held by another process for {LOCK_SECONDS} s") from None


class Repo:
    def __init__(self, blobs: Blobs, folder: Path, lock: Path, kind: str, id: str):
        self.blobs, self.folder, self.kind, self.id = blobs, folder, kind, id
        self.namespace, self.name = id.split("/")
        self._lock = lock

    # -- settings -------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        return json.loads((self.folder / "repo.json").read_bytes())

    def change_settings(self, edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        with held(self._lock):
            settings = self.settings()
            edit(settings)
            write_atomically(self.folder / "repo.json", json.dumps(settings).encode())
        return settings

    # -- refs -----------------------------------------------------------------------------------------------------

    def refs(self) -> dict[str, dict[str, Any]]:
        try:
            return json.loads((self.folder / "refs.json").read_bytes())
        except FileNotFoundError:  # deleted or moved since the caller looked
            raise no_repo(self.kind, self.id) from None

    def _write_refs(self, refs: dict[str, dict[str, Any]]) -> None:
        write_atomically(self.folder / "refs.json", json.dumps(refs).encode())

    def resolve(self, revision: str) -> str:
        """Branch, tag, `refs/...` or full commit id -> commit id."""
        refs = self.refs()
        if revision == "HEAD":
            revision = "main"
        for prefix, table in (("refs/heads/", "branches"), ("refs/tags/", "tags"), ("refs/pr/", "pulls"), ("", "")):
            if revision.startswith(prefix):
                name = revision[len(prefix) :]
                for found in (refs[table],) if table else (refs["branches"], refs["tags"]):
                    if name in found:
                        return found[name] if isinstance(found[name], str) else found[name]["commit"]
        if len(revision) == 40 and revision.isalnum() and (self.folder / "commits" / f"{revision}.json").exists():
            return revision
        raise no_revision(revision)

    def create_branch(self, branch: str, start: str, exist_ok: bool = False) -> None:
        check_ref(branch, "branch")
        with held(self._lock):
            commit, refs = self.resolve(start), self.refs()
            if branch in refs["branches"]:
                if exist_ok:
                    return
                raise Refusal(409, f"Reference already exists: branch {branch!r}")
            refs["branches"][branch] = commit
            self._write_refs(refs)

    def create_tag(self, tag: str, revision: str, message: str) -> None:
        check_ref(tag, "tag")
        with held(self._lock):
            commit, refs = self.resolve(revision), self.refs()
            if tag in refs["tags"]:
                raise Refusal(409, f"Tag reference exists already: {tag!r}")
            refs["tags"][tag] = {"commit": commit, "message": message, "date": now()}
            self._write_refs(refs)

    def delete_ref(self, table: str, name: str) -> None:
        """`table` is "branches" or "tags"."""
        with held(self._lock):
            refs = self.refs()
            if name not in refs[table]:
                raise no_revision(name)
            if table == "branches" and name == "main":
                raise Refusal(403, "Cannot delete branch 'main': it is the default branch")
            del refs[table][name]
            self._write_refs(refs)

    # -- reading --------------------------------------------------------------------------------------------------

    def commit(self, oid: str) -> Commit:
        try:
            return Commit(**json.loads((self.folder / "commits" / f"{oid}.json").read_bytes()))
        except FileNotFoundError:  # squashed away since the caller looked
            raise no_revision(oid) from None

    def tree(self, commit: Commit | str) -> Tree:
        commit = self.commit(commit) if isinstance(commit, str) else commit
        return load_tree(str(self.folder / "trees" / f"{commit.tree}.json"))

    def entry(self, revision: str, path: str) -> tuple[str, Entry]:
        """Commit id and entry of a file at a revision."""
        oid = self.resolve(revision)
        found = self.tree(oid).get(path)
        if found is None:
            raise no_entry(path, revision)
        return oid, found

    def log(self, oid: str) -> Iterator[Commit]:
        """From `oid` back to the first commit."""
        at: str | None = oid
        while at:
            commit = self.commit(at)
            yield commit
            at = commit.parent

    def last_changes(self, oid: str, paths: list[str]) -> dict[str, Commit]:
        """For files and folders: the last commit that changed each of them."""
        wanted, found = set(paths), {}
        commits = self.log(oid)
        newer = next(commits, None)
        while newer is not None and wanted:
            older = next(commits, None)
            a, b = self.tree(newer), self.tree(older) if older else {}
            changed = {path for path in a.keys() | b.keys() if a.get(path) != b.get(path)}
            folders = {folder for path in changed for folder in folders_of(path)}
            for path in wanted & (changed | folders):
                found[path] = newer
            wanted -= found.keys()
            newer = older
        return found

    # -- large files ----------------------------------------------------------------------------------------------

    def has_large(self, sha256: str) -> bool:
        return (self.folder / "lfs" / sha256).exists() and self.blobs.size(sha256) is not None

    def mark_large(self, sha256: str) -> None:
        """Knowing a hash is no right to the content: a repository may only commit what was sent to it."""
        (self.folder / "lfs").mkdir(exist_ok=True)
        (self.folder / "lfs" / sha256).touch()

    def large_entry(self, sha256: str) -> Entry:
        size = self.blobs.size(sha256)
        if size is None or not self.has_large(sha256):
            raise Refusal(400, f"LFS object {sha256} was not uploaded to {self.kind} {self.id}")
        return Entry(sha256, size, git_oid(pointer(sha256, size)), True)

    # -- writing --------------------------------------------------------------------------------------------------

    def write(
        self,
        revision: str,
        changes: list[Change],
        title: str,
        message: str = "",
        author: str = "system",
        parent: str | None = None,
        pull_request: bool = False,
    ) -> tuple[str, int | None]:
        """Commit `changes` on top of a branch; returns (commit id, number of the new pull request or None).

        `parent` is what the caller believes the head to be: if it moved meanwhile, 412 and nothing changes.
        Without `parent` the changes go on top of whatever the head is by then.
        """
        with held(self._lock):
            refs = self.refs()
            if pull_request:
                head = self.resolve(parent or revision)
            else:
                table, name = self._writable(refs, revision)
                head = refs[table][name] if table == "branches" else refs[table][name]["commit"]
                if parent is not None and parent != head:
                    raise Refusal(412, f"A commit has happened since: {revision} is at {head}, expected {parent}")
            tree = apply(dict(self.tree(head)), changes)
            oid = self._store(tree, head, title, message, author)
            if pull_request:
                number = self.next_number(refs)
                pull = {"commit": oid, "start": head, "title": title, "author": author, "base": revision}
                refs["pulls"][str(number)] = pull | {"status": "open", "date": now()}
            elif table == "branches":
                refs["branches"][name] = oid
            else:
                refs["pulls"][name]["commit"] = oid
            self._write_refs(refs)
        return oid, number if pull_request else None

    def next_number(self, refs: dict[str, dict[str, Any]]) -> int:
        """Of a new discussion or pull request; they share one count. The lock must be held."""
        said = (int(file.stem) for file in (self.folder / "discussions").glob("[0-9]*.json"))
        return max([*map(int, refs["pulls"]), *said], default=0) + 1

    def merged(self, head: str, changed: dict[str, Entry | None], title: str, author: str) -> str:
        """A commit on `head` with each path replaced, or deleted for None. No ref moves; the lock must be held."""
        changes = [Change("add" if entry else "delete", path, entry) for path, entry in changed.items()]
        tree = self.tree(head)
        kept = [change for change in changes if change.entry or change.path in tree]  # else: deleted on both sides
        return self._store(apply(dict(tree), kept), head, title, "", author)

    def squash(self, branch: str, message: str, author: str) -> str:
        """Replace a branch's history by one commit of the same files."""
        with held(self._lock):
            refs = self.refs()
            if branch not in refs["branches"]:
                raise no_revision(branch)
            oid = self._store(self.tree(refs["branches"][branch]), None, message, "", author)
            refs["branches"][branch] = oid
            self._write_refs(refs)
            self._forget(refs)
        return oid

    def _forget(self, refs: dict[str, dict[str, Any]]) -> None:
        """Remove commits that no ref leads to: whoever squashes wants the old ones gone. The lock must be held."""
        ends = [*refs["branches"].values(), *(tag["commit"] for tag in refs["tags"].values())]
        ends += [pull[key] for pull in refs["pulls"].values() for key in ("commit", "start", "merged") if pull.get(key)]
        kept: set[str] = set()
        for end in ends:
            for commit in self.log(end):
                if commit.oid in kept:
                    break
                kept.add(commit.oid)
        for file in (self.folder / "commits").glob("*.json"):
            if file.stem not in kept:
                file.unlink(missing_ok=True)

    def begin(self, tree: Tree, author: str) -> None:
        """The first commit of a repository that is being created."""
        for name in ("commits", "trees", "lfs"):
            (self.folder / name).mkdir(parents=True)
        oid = self._store(tree, None, "initial commit", "", author)
        self._write_refs({"branches": {"main": oid}, "tags": {}, "pulls": {}})

    def _writable(self, refs: dict[str, dict[str, Any]], revision: str) -> tuple[str, str]:
        for prefix, table in (("refs/heads/", "branches"), ("refs/pr/", "pulls"), ("", "branches")):
            if revision.startswith(prefix) and revision[len(prefix) :] in refs[table]:
                return table, revision[len(prefix) :]
        self.resolve(revision)  # unknown: RevisionNotFound; known: a tag or a commit id
        raise Refusal(403, f"Cannot commit to {revision!r}: it is not a branch")

    def _store(self, tree: Tree, parent: str | None, title: str, message: str, author: str) -> str:
        data = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
        tree_id = hashlib.sha256(data).hexdigest()
        file = self.folder / "trees" / f"{tree_id}.json"
        if not file.exists():
            write_atomically(file, data)
        fields = {"parent": parent, "tree": tree_id, "title": title, "message": message, "date": now()}
        salt = f"{time.time_ns()}{secrets.token_hex(8)}"
        oid = hashlib.sha1((json.dumps(fields) + salt).encode(), usedforsecurity=False).hexdigest()
        commit = json.dumps({"oid": oid, **fields, "author": author}).encode()
        write_atomically(self.folder / "commits" / f"{oid}.json", commit)
        return oid
