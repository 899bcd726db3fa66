"""README.md as data: the YAML front matter of a card, made safe to send as JSON, and its text.

Cards come from anybody, so YAML is loaded without Python objects, and what it expands to is bounded: a few lines of
nested aliases can stand for billions of values.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Any

CARD_BYTES = 2 * 1024 * 1024
_MOST_VALUES, _DEEPEST, _MOST_BITS = 50_000, 40, 1024

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


def _plain(value: Any, left: list[int], depth: int = 0) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth > _DEEPEST:
        raise BadCard(f"the YAML expands to more than {_MOST_VALUES} values or {_DEEPEST} levels")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:  # YAML reads hexadecimal ones that JSON cannot write
        raise BadCard(f"a number has more than {_MOST_BITS} bits")
    if isinstance(value, str):  # YAML's escapes can write halves of surrogate pairs, which UTF-8 cannot
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {str(_plain(k, left, depth + 1)): _plain(v, left, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(v, left, depth + 1) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)


def load_yaml(text: str) -> Any:
    """YAML of a stranger as JSON-ready data, or BadCard."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except Exception as error:  # beside YAMLError, PyYAML lets out what its constructors of dates and numbers raise
        raise BadCard(" ".join(str(error).split()) or "the YAML is nested too deeply") from None
    return _plain(value, [_MOST_VALUES])


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


def read_metadata(text: str) -> dict[str, Any]:
    """As `metadata`, but a broken card counts as an empty one: listing repositories must not fail for it."""
    try:
        return metadata(text)
    except BadCard:
        return {}


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
