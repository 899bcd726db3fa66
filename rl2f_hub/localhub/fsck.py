"""Check a root on disk: that every ref, commit, tree and blob is there and is what its name says.

A finding is "damage" (something that was acknowledged is lost or changed) or "leftover" (harmless: what a killed
process, a deleted repository or a gone collection item left behind). Nothing is repaired. `tidy` removes leftovers
of killed processes that are older than a day. Not checked: that a xorb is the Merkle hash it is named after; a wrong
one can only make an upload fail.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .blobs import git_oid, is_sha256, pointer
from .collections_api import every, slug_of
from .history import Commit, Repo
from .names import KINDS, check_path, name_problem
from .refusal import Refusal
from .store import ABANDONED_SECONDS, Store
from .tree import Entry, load_tree

_DRAFT = re.compile(r"\..+\.[0-9a-f]{12}")
PRIVATE_FILES = ("users.json", "orgs.json", "secret", "server.log")


class Finding(NamedTuple):
    level: str  # "damage" or "leftover"
    where: str
    what: str


class Report(NamedTuple):
    findings: list[Finding]
    repos: int
    commits: int
    blobs: int
    bytes: int

    @property
    def damaged(self) -> bool:
        return any(finding.level == "damage" for finding in self.findings)


def drafts(root: Path) -> Iterator[Path]:
    """Files and folders that a killed process did not finish."""
    yield from (root / "tmp").glob("*")
    for folder in ("repos", "blobs", "jobs", "collections"):
        yield from (path for path in (root / folder).rglob(".*") if _DRAFT.fullmatch(path.name))
    yield from (path for path in root.glob(".*") if _DRAFT.fullmatch(path.name))


def tidy(root: Path) -> int:
    """Remove drafts older than a day; returns how many."""
    store, count = Store(root), 0
    before = list(drafts(store.root))
    store.tidy()
    for path in before:
        if path.is_file() and time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            path.unlink(missing_ok=True)
        count += not path.exists()
    return count


class _Check:
    def __init__(self, root: Path, hash_content: bool):
        self.store, self.hash_content = Store(root), hash_content
        self.findings: list[Finding] = []
        self.used: set[str] = set()
        self.good: dict[str, int | None] = {}  # sha256 -> size on disk, None when the blob is damaged or gone
        self.commits = 0

    def damage(self, where: str, what: str) -> None:
        self.findings.append(Finding("damage", where, what))

    def leftover(self, where: str, what: str) -> None:
        self.findings.append(Finding("leftover", where, what))

    # -- blobs ----------------------------------------------------------------------------------------------------

    def blob(self, sha256: str) -> int | None:
        """Size of a blob that is whole, else None; each is reported once."""
        if sha256 in self.good:
            return self.good[sha256]
        size, found = self.store.blobs.size(sha256), sha256
        if size is None:
            self.damage(f"blobs/{sha256[:2]}/{sha256}", "is missing")
        elif self.hash_content:
            found = _sha256(self.store.blobs.path(sha256))
            if found != sha256:
                self.damage(f"blobs/{sha256[:2]}/{sha256}", f"has other content: its sha256 is {found}")
        self.good[sha256] = size if found == sha256 else None
        return self.good[sha256]

    def entry(self, where: str, path: str, entry: Entry) -> None:
        try:
            check_path(path)
        except Refusal as refusal:
            self.damage(where, refusal.message)
        if not is_sha256(entry.sha256):
            self.damage(where, f"{path[:80]!r} names no blob but {str(entry.sha256)[:80]!r}")
            return
        self.used.add(entry.sha256)
        size = self.blob(entry.sha256)
        if size is not None and size != entry.size:
            self.damage(where, f"{path[:80]!r} should have {entry.size} bytes, its blob has {size}")
        elif size is not None and self.hash_content:
            data = pointer(entry.sha256, size) if entry.lfs else self.store.blobs.read(entry.sha256)
            if git_oid(data) != entry.oid:
                self.damage(where, f"{path[:80]!r} has the wrong git oid")

    # -- repositories ---------------------------------------------------------------------------------------------

    def json(self, where: str, file: Path, kind: type = dict) -> Any:
        try:
            value = json.loads(file.read_bytes())
        except FileNotFoundError:
            self.damage(where, f"{file.name} is missing")
        except (ValueError, OSError) as error:
            self.damage(where, f"{file.name} cannot be read: {str(error)[:120]}")
        else:
            if isinstance(value, kind):
                return value
            self.damage(where, f"{file.name} is not a {kind.__name__}")
        return None

    def repo(self, repo: Repo) -> None:
        where = f"{repo.kind} {repo.id}"
        settings = self.json(where, repo.folder / "repo.json")
        if settings is not None and not ({"private", "created", "key"} <= settings.keys()):
            self.damage(where, "repo.json lacks private, created or key")
        refs = self.json(where, repo.folder / "refs.json")
        if refs is None:
            return
        heads: list[tuple[str, Any]] = []
        try:
            heads += [(f"branch {name}", oid) for name, oid in refs["branches"].items()]
            heads += [(f"tag {name}", tag["commit"]) for name, tag in refs["tags"].items()]
            for name, pull in refs["pulls"].items():
                heads += [(f"pull request {name}", pull[key]) for key in ("commit", "merged") if key in pull]
        except (KeyError, TypeError, AttributeError) as error:
            self.damage(where, f"refs.json is not what it should be: {error!r}")
        if "main" not in refs.get("branches", {}):
            self.damage(where, "has no branch main")
        seen: set[str] = set()
        trees: set[str] = set()
        for name, oid in heads:
            self.history(repo, f"{where}, {name}", str(oid), seen, trees)
        self.commits += len(seen)
        for file in sorted((repo.folder / "discussions").glob("[0-9]*.json")):
            self.json(f"{where}, discussion {file.stem}", file)
        for mark in sorted((repo.folder / "lfs").glob("*")):
            if is_sha256(mark.name):
                self.used.add(mark.name)
                if self.blob(mark.name) is None:
                    self.damage(where, f"says that {mark.name} was uploaded, which is not whole")

    def history(self, repo: Repo, where: str, oid: str, seen: set[str], trees: set[str]) -> None:
        at: str | None = oid
        while at and at not in seen:
            seen.add(at)
            row = self.json(f"{where}, commit {at[:12]}", repo.folder / "commits" / f"{at}.json")
            if row is None:
                return
            try:
                commit = Commit(**row)
            except TypeError:
                self.damage(f"{where}, commit {at[:12]}", "is not what it should be")
                return
            if commit.oid != at:
                self.damage(f"{where}, commit {at[:12]}", f"calls itself {commit.oid[:40]}")
            if commit.tree not in trees:
                trees.add(commit.tree)
                self.tree(repo, f"{where}, commit {at[:12]}", commit.tree)
            at = commit.parent

    def tree(self, repo: Repo, where: str, tree_id: str) -> None:
        file = repo.folder / "trees" / f"{tree_id}.json"
        if not file.exists():
            self.damage(where, f"tree {tree_id[:12]} is missing")
            return
        if _sha256(file) != tree_id:
            self.damage(where, f"tree {tree_id[:12]} has other content")
            return
        try:
            entries = load_tree(str(file))
        except (ValueError, TypeError, AttributeError) as error:
            self.damage(where, f"tree {tree_id[:12]} cannot be read: {str(error)[:120]}")
            return
        for path, entry in entries.items():
            self.entry(where, path, entry)

    # -- the rest of the root -------------------------------------------------------------------------------------

    def root(self) -> None:
        root = self.store.root
        for name in PRIVATE_FILES:
            file = root / name
            if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
                self.damage(name, "can be read by other users of this machine: chmod 600 it")
        for name in ("users.json", "orgs.json"):
            if (root / name).exists():
                self.json(name, root / name)
        for kind in KINDS:
            for folder in sorted((root / "repos" / kind).glob("*/*")):
                if name_problem(folder.name) is None and not (folder / "repo.json").exists():
                    self.damage(f"{kind} {folder.parent.name}/{folder.name}", "has no repo.json")
        for file in sorted((root / "collections").glob("*/*.json")):
            self.json(f"collection {file.stem}", file)

    def collections(self) -> None:
        for owner, kept in every(self.store):
            for item in kept["items"]:
                if item["type"] in KINDS:
                    try:
                        self.store.repo(item["type"], item["id"])
                    except Refusal:
                        self.leftover(f"collection {slug_of(owner, kept)}", f"{item['type']} {item['id']} is gone")

    def leftovers(self) -> tuple[int, int]:
        for path in drafts(self.store.root):
            self.leftover(str(path.relative_to(self.store.root)), "was not finished by a killed process")
        blobs, size, free, free_size = 0, 0, 0, 0
        for file in self.store.blobs.folder.glob("??/*"):
            if is_sha256(file.name):
                length = file.stat().st_size
                blobs, size = blobs + 1, size + length
                if file.name not in self.used:
                    free, free_size = free + 1, free_size + length
        if free:
            self.leftover("blobs", f"{free} of no repository, {free_size:,} bytes")
        return blobs, size


def _sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check(root: Path, hash_content: bool = True) -> Report:
    """Read the whole root (all content too, unless `hash_content` is false) and report what is not as it should be."""
    run, repos = _Check(root, hash_content), 0
    run.root()
    for repo in run.store.all_repos():
        repos += 1
        run.repo(repo)
    if not any(finding.where.startswith("collection ") for finding in run.findings):
        run.collections()
    blobs, size = run.leftovers()
    return Report(run.findings, repos, run.commits, blobs, size)
