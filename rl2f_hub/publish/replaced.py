"""What goes when a data set of ours takes the place of what a repository holds: its data files, and the configs of its card.

Where the repository is one of ours already (it has an `rl2f.json`), that is what we once wrote; configs that its owner has
added stay, with their files. Where it is anybody else's, it is every config of the card with its files, what `push_to_hub`
wrote, and a program that reads the data set, beside which the loader reads nothing. Everything else stays: sections of the
card, a licence, notes, files that no config names. The history keeps what went.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from rl2f_hub.hub.card_merge import front_matter
from rl2f_hub.hub.commit import Remote
from rl2f_hub.publish.schema import COLUMNS

INDEX = "rl2f.json"
_PUSHED = re.compile(
    r"data/[^/]+-\d{5}-of-\d{5}[^/]*\.parquet|dataset_infos\.json"
)  # by `push_to_hub`, also without a card
_NO_DATA = ("README", "LICENSE", "NOTICE", "CITATION", ".")  # what a config of everything (`*`) does not mean


def replaced(remote: Remote, files: Collection[str], *, append: bool = False) -> tuple[tuple[str, ...], frozenset[str]]:
    """(paths to delete, names of configs to take out of the card) when `files` are all that the data set is.

    Args:
        append: earlier runs' traces, which no index names, are still part of it.
    """
    card, ours = front_matter(remote.text("README.md") or ""), _is_ours(remote)
    configs, info = (_by_name(card.get(key)) for key in ("configs", "dataset_info"))
    # `default` is a name with a meaning, and ours is another config's
    gone = {name for name in {**configs, **info} if not ours or name in COLUMNS or name == "default"}
    patterns = [pattern for name in gone & set(configs) for pattern in _patterns(configs[name])]

    def goes(path: str) -> bool:
        if path in files or path.split("/")[-1].startswith(_NO_DATA):
            return False
        if is_shard(path) or any(_matches(path, pattern) for pattern in patterns):
            return True
        if ours:
            return not append and path.startswith("traces/") and path.endswith(".jsonl")
        return path == f"{remote.repo_id.split('/')[1]}.py" or _PUSHED.fullmatch(path) is not None

    return tuple(path for path in remote.files if goes(path)), frozenset(gone)


def is_shard(path: str) -> bool:
    """Whether a path is one that some version of us gave to a shard of a config."""
    config, slash, name = path.partition("/")
    return bool(slash) and config in COLUMNS and "/" not in name and name.endswith(".parquet") and "-0" in name


def _is_ours(remote: Remote) -> bool:
    try:
        return "shards" in json.loads(remote.text(INDEX) or "{}")
    except ValueError:
        return False


def _by_name(value: Any) -> dict[str, dict[str, Any]]:
    """The entries of a key of the card, which is one mapping or a list of them."""
    entries = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict)]
    return {str(entry.get("config_name", "default")): entry for entry in entries}


def _patterns(config: dict[str, Any]) -> Iterator[str]:
    """The paths and patterns of a config's files, however the card writes them."""
    if isinstance(folder := config.get("data_dir"), str):
        yield f"{folder.strip('/')}/**"
    waiting = [config.get("data_files")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value.removeprefix("./")
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += [value["path"]] if "path" in value else list(value.values())


def _matches(path: str, pattern: str) -> bool:
    if "**" in pattern:
        return fnmatchcase(path, pattern) or fnmatchcase(path, pattern.replace("**/", ""))
    try:
        return PurePosixPath(f"/{path}").match(f"/{pattern}")
    except ValueError:  # no pattern
        return False
