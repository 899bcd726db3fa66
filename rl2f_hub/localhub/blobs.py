"""Content-addressed files on disk: `blobs/ab/<sha256>`, written once, never changed.

A blob is written into `tmp/`, flushed to the disk and renamed, so a file under `blobs/` is always whole, whatever
kills the process. Nothing is ever deleted here: removing a repository leaves its blobs (there is no collector).
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from .refusal import Refusal

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_sha256(value: object) -> bool:
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))


def git_oid(data: bytes) -> str:
    """The sha1 git gives a file of this content; clients compare it to skip files that did not change."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git itself would store for a large file: its oid and pointerSize are part of the wire format."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut (only POSIX can, and only there is it needed)."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def make_folder(folder: Path) -> None:
    """As mkdir -p, and the new folders survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_tree(folder: Path) -> None:
    """Make everything below a folder survive a power cut."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def write_atomically(target: Path, data: bytes, mode: int = 0o644) -> None:
    """Readers of `target` see the old or the new content, never a part of one."""
    make_folder(target.parent)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


class Draft:
    """A blob being received: `write` any number of times, then `keep`, or `drop` and leave no trace."""

    def __init__(self, blobs: Blobs):
        self._blobs, self.size, self._sha = blobs, 0, hashlib.sha256()
        blobs.tmp.mkdir(parents=True, exist_ok=True)
        self.path = blobs.tmp / secrets.token_hex(12)
        self._file = io.BufferedWriter(io.FileIO(self.path, "xb"))

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha.update(data)
        self.size += len(data)

    def keep(self, sha256: str | None = None, size: int | None = None) -> str:
        """Move into the store and return the sha256; a 400 when it is not the announced content."""
        found = self._sha.hexdigest()
        if sha256 not in (None, found) or size not in (None, self.size):
            self.drop()
            raise Refusal(400, f"Upload is not the announced content: got {self.size} bytes with sha256 {found}")
        self.keep_as(self._blobs.path(found))
        return found

    def keep_as(self, target: Path) -> bool:
        """Move to `target` unless that exists; returns whether it was new."""
        if target.exists():
            self.drop()
            return False
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        make_folder(target.parent)
        os.replace(self.path, target)
        sync_folder(target.parent)
        return True

    def drop(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    def __init__(self, root: Path):
        self.folder, self.tmp = root / "blobs", root / "tmp"

    def path(self, sha256: str) -> Path:
        if not is_sha256(sha256):
            raise Refusal(400, f"Invalid sha256 {str(sha256)[:80]!r}: use 64 lower-case hex digits")
        return self.folder / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """Bytes of a stored blob, None when there is none."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, chunks: Iterable[bytes]) -> str:
        draft = Draft(self)
        try:
            for chunk in chunks:
                draft.write(chunk)
        except BaseException:
            draft.drop()
            raise
        return draft.keep()

    def read(self, sha256: str, limit: int | None = None) -> bytes:
        with open(self.path(sha256), "rb") as file:
            return file.read() if limit is None else file.read(limit)

    def text(self, sha256: str) -> str:
        return self.read(sha256).decode("utf-8", "replace")
