"""All repositories of a root folder: create, find, list, move, copy, delete.

    repos/<kind>/<namespace>/<name>/    see history.py
    blobs/  tmp/  locks/                see blobs.py and history.py
    secret                              key for signed upload URLs (owner-readable only)

Several processes may share a root: every change happens under a file lock and ends with one rename. Left out:
redirects from a moved repository's old name, and collecting blobs that no repository needs any more.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .blobs import Blobs, git_oid, make_folder, sync_folder, sync_tree, write_atomically
from .history import Repo, held, now
from .names import KINDS, check_kind, check_repo_id, name_problem
from .refusal import Refusal, no_repo
from .tree import Entry

# A download in progress never takes this long; older files in tmp/ belong to processes that were killed.
ABANDONED_SECONDS = 24 * 3600

_LARGE_SUFFIXES = [
    "7z", "arrow", "avro", "bin", "bz2", "ckpt", "ftz", "gguf", "gif", "gz", "h5", "jpeg", "jpg", "joblib", "lz4",
    "mlmodel", "model", "mp3", "mp4", "msgpack", "npy", "npz", "onnx", "ot", "parquet", "pb", "pickle", "pkl",
    "png", "pt", "pth", "rar", "safetensors", "tar", "tflite", "tgz", "wasm", "wav", "webp", "xz", "zip", "zst",
]  # fmt: skip
GITATTRIBUTES = "".join(f"*.{s} filter=lfs diff=lfs merge=lfs -text\n" for s in _LARGE_SUFFIXES).encode()
# Bigger files travel on their own, streamed, instead of base64 inside the commit.
REGULAR_BYTES = 1024 * 1024


def is_large(path: str, size: int) -> bool:
    """Whether clients must send this file by LFS / Xet. Parquet always: `datasets` deletes it right after."""
    return size > REGULAR_BYTES or path.rsplit(".", 1)[-1].lower() in _LARGE_SUFFIXES


class Store:
    def __init__(self, root: Path):
        self.root = Path(root).resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(self.root)

    def _folder(self, kind: str, repo_id: str) -> Path:
        return self.root / "repos" / kind / repo_id

    def _repo(self, kind: str, repo_id: str, folder: Path | None = None) -> Repo:
        lock = self.root / "locks" / f"{kind}--{repo_id.replace('/', '--')}.lock"
        return Repo(self.blobs, folder or self._folder(kind, repo_id), lock, kind, repo_id)

    def repo(self, kind: str, repo_id: str) -> Repo:
        """The repository, or RepoNotFound (also for names that could never exist)."""
        parts = repo_id.split("/")
        if len(parts) != 2 or any(name_problem(part) for part in parts):
            raise no_repo(kind, repo_id)
        repo = self._repo(kind, repo_id)
        if not (repo.folder / "repo.json").exists():
            raise no_repo(kind, repo_id)
        return repo

    def repos(self, kind: str) -> Iterator[Repo]:
        for file in sorted((self.root / "repos" / kind).glob("*/*/repo.json")):
            yield self._repo(kind, f"{file.parent.parent.name}/{file.parent.name}")

    def all_repos(self) -> Iterator[Repo]:
        for kind in KINDS:
            yield from self.repos(kind)

    def _place(self, kind: str, repo_id: str, fill: Any) -> Repo:
        """Fill a new repository in tmp/ and rename it into place: half a repository is never visible."""
        draft = self.root / "tmp" / f"repo-{secrets.token_hex(8)}"
        repo = self._repo(kind, repo_id)
        try:
            fill(self._repo(kind, repo_id, draft))
            with held(repo._lock):
                if repo.folder.exists():
                    raise Refusal(409, f"You already created this {kind} repo: {repo_id}")
                make_folder(repo.folder.parent)
                os.rename(draft, repo.folder)
                sync_folder(repo.folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return repo

    def create(self, kind: str, namespace: str, name: str, author: str, **settings: Any) -> Repo:
        """`settings` go into repo.json: private, sdk, variables, ..."""
        repo_id = check_repo_id(namespace, name)

        def fill(repo: Repo) -> None:
            sha256 = self.blobs.put([GITATTRIBUTES])
            repo.begin({".gitattributes": Entry(sha256, len(GITATTRIBUTES), git_oid(GITATTRIBUTES), False)}, author)
            made = {"private": False, "created": now(), "author": author, "key": secrets.token_hex(12)}
            write_atomically(repo.folder / "repo.json", json.dumps({**made, **settings}).encode())

        return self._place(check_kind(kind), repo_id, fill)

    def duplicate(self, source: Repo, namespace: str, name: str, author: str, **settings: Any) -> Repo:
        """A copy with its history, branches and tags; discussions, pull requests, Space secrets and variables stay behind."""
        repo_id = check_repo_id(namespace, name)

        def fill(repo: Repo) -> None:
            with held(source._lock):
                shutil.copytree(source.folder, repo.folder, ignore=shutil.ignore_patterns("discussions"))
            made = {k: v for k, v in repo.settings().items() if k in ("private", "sdk", "gated")}
            made |= {"created": now(), "author": author, "key": secrets.token_hex(12), "from": source.id, **settings}
            write_atomically(repo.folder / "repo.json", json.dumps(made).encode())
            repo._write_refs({**repo.refs(), "pulls": {}})
            sync_tree(repo.folder)

        return self._place(source.kind, repo_id, fill)

    def move(self, repo: Repo, namespace: str, name: str) -> Repo:
        target = self._repo(repo.kind, check_repo_id(namespace, name))
        if target.id == repo.id:
            raise Refusal(409, f"{repo.kind} {repo.id} already has this name")
        first, second = sorted((repo, target), key=lambda r: r.id)  # one order for all, so two moves cannot deadlock
        with held(first._lock), held(second._lock):
            if target.folder.exists():
                raise Refusal(409, f"Cannot move {repo.id}: {target.id} exists already")
            make_folder(target.folder.parent)
            os.rename(repo.folder, target.folder)
            sync_folder(target.folder.parent)
            sync_folder(repo.folder.parent)
        return target

    def delete(self, repo: Repo) -> None:
        grave = self.root / "tmp" / f"deleted-{secrets.token_hex(8)}"
        grave.parent.mkdir(exist_ok=True)
        with held(repo._lock):
            os.rename(repo.folder, grave)
            sync_folder(repo.folder.parent)
        shutil.rmtree(grave, ignore_errors=True)

    def secret(self) -> bytes:
        file = self.root / "secret"
        with held(self.root / "locks" / "secret.lock"):
            if not file.exists():
                write_atomically(file, secrets.token_bytes(32), mode=0o600)
        return file.read_bytes()

    def tidy(self) -> None:
        """Remove what killed processes left in tmp/."""
        for path in (self.root / "tmp").glob("*"):
            try:
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except FileNotFoundError:
                continue
