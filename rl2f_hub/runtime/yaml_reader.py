"""YAML from outside (cards, recipes) as plain data, with bounds on its size, its depth and what its aliases stand for.

PyYAML's `safe_load` builds no Python objects, yet a few lines can cost it minutes or the memory: base-60 numbers take
square time, merge keys and aliases double with every line. Here its parser gives events and nothing else. Numbers and
truth values are read where YAML 1.1, 1.2 and JSON agree, so what `yaml.safe_dump` wrote is read back alike; every
other plain scalar (a date, `yes`, `1:30`, `0o7`) is text. Left out: merge keys, tags beyond the core schema, more
than one document. This module imports nothing of ours: the embedded Hub, which stands alone, reads cards with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

MOST_CHARACTERS = 1 << 19  # of the text
MOST_VALUES, DEEPEST, MOST_EXPANDED = 50_000, 40, 1 << 20  # values, levels and characters, aliases written out

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+][0-9]+)?")
_NAMED: dict[str, Any] = {"": None, "~": None}
_NAMED |= {form: value for word, value in (("null", None), ("true", True), ("false", False))
           for form in (word, word.capitalize(), word.upper())}  # fmt: skip
_NAMED |= {f"{sign}.{form}": float(f"{sign}inf") for sign in ("", "+", "-") for form in ("inf", "Inf", "INF")}
_NAMED |= {f".{form}": float("nan") for form in ("nan", "NaN", "NAN")}
_CORE = "tag:yaml.org,2002:"
_TAGGED: dict[str, tuple[type, ...]] = {
    "null": (type(None),), "bool": (bool,), "int": (int,), "float": (int, float),
}  # fmt: skip


class YamlError(ValueError):
    """The text is not YAML, or asks for more than the bounds."""


def read_yaml(text: str) -> Any:
    """Dicts, lists, texts, ints, floats, truth values and None; no two places share a part.

    Raises:
        YamlError: one line that says what is wrong.
    """
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise YamlError(f"the YAML is longer than {MOST_CHARACTERS} characters")
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader  # the same language; libyaml is faster
    try:
        return _Reader(yaml.parse(text, Loader=loader)).document()
    except (yaml.YAMLError, UnicodeError, OverflowError) as error:
        raise YamlError(" ".join(str(error).split())[:200]) from None


class _Reader:
    """Builds values from events, and counts while it does."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Any, int, int] | None] = {}  # value, values and characters; None: still open
        self._values = self._characters = 0

    def document(self) -> Any:
        import yaml

        next(self._events)
        value = None
        if isinstance(next(self._events), yaml.DocumentStartEvent):
            value = self._node(next(self._events), 0)
            next(self._events)
            if isinstance(next(self._events), yaml.DocumentStartEvent):
                raise YamlError("more than one YAML document")
        return value

    def _count(self, values: int, characters: int, depth: int) -> None:
        self._values, self._characters = self._values + values, self._characters + characters
        if self._values > MOST_VALUES or depth > DEEPEST or self._characters > MOST_EXPANDED:
            bounds = f"{MOST_VALUES} values, {DEEPEST} levels or {MOST_EXPANDED} characters"
            raise YamlError(f"more than {bounds}, its YAML aliases written out; use fewer of them")

    def _node(self, event: Any, depth: int) -> Any:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)
            if (known := self._anchors.get(name)) is None:
                problem = "stands inside of what it names" if name in self._anchors else "names no anchor"
                raise YamlError(f"the alias *{name[:40]} {problem}")
            value, values, characters = known
            self._count(values, characters, depth)
            return deepcopy(value)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        before = self._values, self._characters
        self._count(1, len(event.value) if isinstance(event, yaml.ScalarEvent) else 0, depth)
        if isinstance(event, yaml.ScalarEvent):
            event.value.encode()  # PyYAML without libyaml lets an escape write half of a surrogate pair
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event.tag, "seq")
            value = []
            while not isinstance(part := next(self._events), yaml.SequenceEndEvent):
                value.append(self._node(part, depth + 1))
        else:
            _check_tag(event.tag, "map")
            value = {}
            while not isinstance(part := next(self._events), yaml.MappingEndEvent):
                key = self._node(part, depth + 1)
                if isinstance(key, dict | list):
                    raise YamlError("a key is a list or a mapping: use a text")
                if key == "<<" and isinstance(part, yaml.ScalarEvent) and not part.style:
                    raise YamlError("merge keys (<<) are not read: write the keys out")
                value[key] = self._node(next(self._events), depth + 1)
        if event.anchor is not None:
            size = self._values - before[0], self._characters - before[1]
            self._anchors[event.anchor] = (value, *size)
        return value


def _check_tag(tag: str | None, wanted: str) -> None:
    if tag not in (None, "!", _CORE + wanted):
        raise YamlError(f"the tag {str(tag)[:80]!r} is not read: leave it out, or put a text in quotes")


def _scalar(event: Any) -> Any:
    if event.tag in (None, "!"):
        return _plain(event.value) if not event.style and event.tag is None else event.value
    kind = event.tag.removeprefix(_CORE)
    if kind == "str" or kind not in _TAGGED:
        _check_tag(event.tag, "str")
        return event.value
    value: Any = _plain(event.value)
    if not isinstance(value, _TAGGED[kind]) or (kind == "int" and isinstance(value, bool)):
        raise YamlError(f"{event.value[:40]!r} is no {kind}")
    return value * 1.0 if kind == "float" and isinstance(value, int) else value


def _plain(text: str) -> Any:
    """A scalar without quotes: a number, truth value or null where it is written as one, else text."""
    if text in _NAMED:
        return _NAMED[text]
    if _INTEGER.fullmatch(text):
        try:
            return int(text, 16) if text.startswith("0x") else int(text)
        except ValueError:
            raise YamlError(f"a whole number of {len(text)} digits is too long") from None
    return float(text) if _FLOAT.fullmatch(text) else text
