"""A repository's files at one commit: path -> hash and size, flat, and what a commit does to them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import NamedTuple

from .names import check_path
from .refusal import Refusal, no_entry


class Entry(NamedTuple):
    sha256: str
    size: int
    oid: str
    lfs: bool


class Change(NamedTuple):
    """One line of a commit. `entry` is None for "delete" (a file) and "delete_folder"."""

    action: str
    path: str
    entry: Entry | None = None


Tree = dict[str, Entry]

MOST_FILES = 100_000  # of a repository, as the Hub advises
MOST_FOLDER_TEXT = 64 * 1024 * 1024  # characters of the folders above every file, written out
MOST_FOLDER_DELETIONS = 1000  # of a commit: each looks through all files


@lru_cache(maxsize=16)
def load_tree(file: str) -> Tree:
    # Trees never change, so the path is a safe cache key; callers copy before they edit.
    with open(file, encoding="utf-8") as opened:
        return {path: Entry(*values) for path, values in json.load(opened).items()}


def folders_of(path: str) -> list[str]:
    """Every folder above a path: "a/b/c" -> ["a", "a/b"]."""
    return [path[:i] for i, c in enumerate(path) if c == "/"]


def apply(tree: Tree, changes: list[Change]) -> Tree:
    if sum(change.action == "delete_folder" for change in changes) > MOST_FOLDER_DELETIONS:
        raise Refusal(400, f"A commit deletes at most {MOST_FOLDER_DELETIONS} folders: send several commits")
    for change in changes:
        if change.action == "delete_folder":
            inside = [path for path in tree if path.startswith(change.path.rstrip("/") + "/")]
            if not inside:
                raise no_entry(change.path, "the branch")
            for path in inside:
                del tree[path]
        elif change.action == "delete":
            if tree.pop(change.path, None) is None:
                raise no_entry(change.path, "the branch")
        elif change.entry is not None:
            tree[check_path(change.path)] = change.entry
    if len(tree) > MOST_FILES:
        raise Refusal(413, f"A repository holds at most {MOST_FILES} files: pack them into archives or Parquet")
    folders: set[str] = set()
    text = 0
    for path in tree:
        above = folders_of(path)
        text += sum(map(len, above))
        if text > MOST_FOLDER_TEXT:
            raise Refusal(
                413, f"The folders of all files have more than {MOST_FOLDER_TEXT} characters: use shorter paths"
            )
        folders.update(above)
    for path in folders & tree.keys():
        raise Refusal(400, f"{path!r} would be a file and a folder at once: delete one of them in the same commit")
    return tree
