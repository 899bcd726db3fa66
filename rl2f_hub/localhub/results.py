"""Evaluation results that a model keeps as `.eval_results/*.yaml`: checked, for the API and for a page.

The format is the Hub's: each file is a list of {dataset: {id, task_id, revision?}, value, date?, source?, notes?}.
A file that is not so is reported with its name and what is wrong, never dropped without a word.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from . import card
from .history import Repo

FOLDER, FILES, ENTRIES = ".eval_results/", 100, 200
BYTES, ALL_BYTES = 64 * 1024, 1024 * 1024  # of one file, of all


def _problem(entry: Any) -> str | None:
    """Why an entry is no result; None when it is one."""
    if not isinstance(entry, dict):
        return "an entry is not a mapping"
    dataset, value = entry.get("dataset"), entry.get("value")
    if not isinstance(dataset, dict) or not all(isinstance(dataset.get(key), str) for key in ("id", "task_id")):
        return "dataset needs the strings id and task_id"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return "value is not a number"
    if isinstance(value, float) and not math.isfinite(value):
        return "value is not a finite number"
    source = entry.get("source")
    if source is not None and not (isinstance(source, dict) and isinstance(source.get("url"), str)):
        return "source needs a url"
    return None


def _results(text: str) -> list[dict[str, Any]]:
    data = card.load_yaml(text)
    if not isinstance(data, list) or not data or len(data) > ENTRIES:
        raise card.BadCard(f"not a list of 1 to {ENTRIES} results")
    if problem := next(filter(None, map(_problem, data)), None):
        raise card.BadCard(problem)
    return data


def entries(repo: Repo, oid: str) -> list[dict[str, Any]]:
    """{filename, data} of every result at a commit, or {filename, error} of a file that holds none."""
    tree, found, left = repo.tree(oid), [], ALL_BYTES
    files = [path for path in sorted(tree) if path.startswith(FOLDER) and path.endswith((".yaml", ".yml"))]
    for path in files[:FILES]:
        sha256, size = tree[path].sha256, tree[path].size
        try:
            if tree[path].lfs or size > min(BYTES, left):
                raise card.BadCard(f"larger than {BYTES} bytes, or than {ALL_BYTES} with those before it")
            left -= size
            data = card.parsed(sha256, partial(repo.blobs.text, sha256), _results)
        except card.BadCard as error:
            found.append({"filename": path, "error": str(error)})
            continue
        found += [{"filename": path, "data": entry} for entry in data]
    return found
