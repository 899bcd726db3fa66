"""README.md as data: the YAML front matter of a card, made safe to send as JSON, and its text.

Cards come from anybody and are asked for by every list: `runtime/yaml_reader.py` bounds what reading one may cost, and
`parsed` remembers by content what was read, so that a card costs once and not once a request.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from rl2f_hub.runtime.yaml_reader import YamlError, read_yaml

CARD_BYTES = 2 * 1024 * 1024
_MOST_BITS = 1024
_REMEMBERED = 64 * 1024 * 1024  # characters of JSON

_TAGS = {
    "tags": "",
    "task_categories": "task_categories:",
    "language": "",
    "license": "license:",
    "size_categories": "size_categories:",
    "datasets": "dataset:",
    "base_model": "base_model:",
}


class BadCard(ValueError):
    pass


def split(text: str) -> tuple[str | None, str]:
    """(front matter or None, text after it)."""
    lines = text.lstrip("\ufeff").splitlines(keepends=True)
    if not lines or lines[0].strip() != "---":
        return None, text
    for i, line in enumerate(lines[1:], 1):
        if line.strip() == "---":
            return "".join(lines[1:i]), "".join(lines[i + 1 :])
    raise BadCard("the front matter that begins with --- has no closing ---")


def _plain(value: Any) -> Any:
    """What JSON can write."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:  # hexadecimal ones can be longer than JSON writes
        raise BadCard(f"a number has more than {_MOST_BITS} bits")
    if isinstance(value, dict):
        return {str(_plain(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def load_yaml(text: str) -> Any:
    """YAML of a stranger as JSON-ready data, or BadCard."""
    try:
        return _plain(read_yaml(text))
    except YamlError as error:
        raise BadCard(str(error)) from None


def metadata(text: str) -> dict[str, Any]:
    """The front matter as JSON-ready data; {} without one; BadCard when it is not a mapping that can be read."""
    matter, _ = split(text)
    if matter is None or not matter.strip():
        return {}
    value = load_yaml(matter)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadCard(f"the front matter is a {type(value).__name__}, not a mapping of names to values")
    return value


_known: OrderedDict[tuple[str, str], tuple[Any, str, int]] = OrderedDict()  # value, what is wrong, characters
_lock = threading.Lock()


def parsed(sha256: str, text: Callable[[], str], read: Callable[[str], Any]) -> Any:
    """`read(text())` of a file's content; remembered by its hash, a failure too. Not to be changed by the caller.

    Raises:
        BadCard: `read` did.
    """
    key = (sha256, read.__name__)
    with _lock:  # one at a time: a crowd that asks for the same card has it read once
        if key in _known:
            _known.move_to_end(key)
        else:
            try:
                value = read(text())
                _known[key] = (value, "", len(json.dumps(value)))
            except BadCard as error:
                _known[key] = (None, str(error), len(str(error)))
            while len(_known) > 1 and sum(size + 200 for *_, size in _known.values()) > _REMEMBERED:
                _known.popitem(last=False)
        value, problem, _ = _known[key]
    if problem:
        raise BadCard(problem)
    return value


def tags(data: dict[str, Any]) -> list[str]:
    """The searchable tags the Hub derives from a card."""
    found: list[str] = []
    for key, prefix in _TAGS.items():
        values = data.get(key)
        found += [prefix + v for v in (values if isinstance(values, list) else [values]) if isinstance(v, str)]
    for key in ("library_name", "pipeline_tag"):
        if isinstance(data.get(key), str):
            found.append(data[key])
    return list(dict.fromkeys(found))
