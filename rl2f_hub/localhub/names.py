"""Which names may exist: users, repositories, files, branches and tags.

Every name that reaches the disk, a URL or a client's file system passes here first. Files are stored by content
hash, so a bad path could not escape the store; it could escape the folder of whoever downloads the repository.
"""

from __future__ import annotations

import re

from .refusal import Refusal

KINDS = ("model", "dataset", "space")
URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}

PATH_BYTES, PATH_PARTS = (
    1024,
    64,
)  # every folder above a file is written out by lists: depth times length is what it costs

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
# First segments of our own URLs: a user of that name would own pages that can never be reached.
_RESERVED = {"api", "datasets", "spaces", "models", "lfs", "cas", "jobs", "buckets", "collections", "papers", "kernels"}
_SHA = re.compile(r"[0-9a-f]{40}")
# Also what turns the direction of writing: by it a name ends in something else than it seems to.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|" + _CONTROL.pattern)


def name_problem(name: object) -> str | None:
    """Why `name` can be neither a user nor a repository; None when it can."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "use 1 to 96 of A-Z a-z 0-9 . _ -, beginning and ending with a letter, digit or _"
    if ".." in name or "--" in name or name.lower().endswith((".git", ".ipynb")):
        return "'..', '--' and a final '.git' or '.ipynb' are not allowed"
    return None


def user_problem(name: object) -> str | None:
    problem = name_problem(name)
    return problem or (f"{name!r} is a word of the Hub's own URLs" if str(name).lower() in _RESERVED else None)


def check_repo_id(namespace: object, name: object) -> str:
    """`namespace/name`, or a 400 that says what is wrong with it."""
    for value in (namespace, name):
        if problem := name_problem(value):
            raise Refusal(400, f"Invalid repository name {value!r}: {problem}")
    return f"{namespace}/{name}"


def check_kind(kind: object) -> str:
    if kind not in KINDS:
        raise Refusal(400, f"Invalid repository type {kind!r}: use one of {', '.join(KINDS)}")
    return str(kind)


def check_path(path: object) -> str:
    """A relative POSIX path without anything that could leave the folder it is downloaded into."""
    if not isinstance(path, str) or not path or len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES:
        raise Refusal(400, f"Invalid path in repo {str(path)[:80]!r}: use 1 to {PATH_BYTES} bytes")
    parts = path.split("/")
    if len(parts) > PATH_PARTS:
        raise Refusal(400, f"Invalid path in repo {path[:80]!r}: it has {len(parts)} parts, use at most {PATH_PARTS}")
    # "C:" in front would be an absolute path for a client on Windows.
    if any(p in ("", ".", "..") or p.lower() == ".git" for p in parts) or re.match(r"[A-Za-z]:", path):
        raise Refusal(400, f"Invalid path in repo {path[:80]!r}: use a relative path without '.', '..' or '.git'")
    if _CONTROL.search(path) or "\\" in path or any("\ud800" <= c <= "\udfff" for c in path):
        raise Refusal(400, f"Invalid path in repo {path[:80]!r}: control characters and '\\' are not allowed")
    if any(len(p.encode()) > 255 for p in parts):
        raise Refusal(400, f"Invalid path in repo {path[:80]!r}: a part is longer than 255 bytes")
    return path


def check_ref(name: object, what: str) -> str:
    """A branch or tag name; the rules are the part of git's that matters for URLs and files."""
    ok = isinstance(name, str) and 0 < len(name) <= 200 and not _BAD_IN_REF.search(name)
    ok = ok and not str(name).startswith(("/", "-", ".", "refs/")) and not str(name).endswith(("/", ".", ".lock"))
    if not ok or _SHA.fullmatch(str(name)) or name == "HEAD":
        raise Refusal(400, f"Invalid {what} name {str(name)[:80]!r}: use letters, digits, '.', '_', '-' and '/'")
    return str(name)
