"""A new card of ours over the card on the Hub, which its owner may have edited: theirs is never overwritten.

Our text stands in named sections between invisible lines, `[//]: # (rl2f:begin NAME DIGEST)` and `[//]: # (rl2f:end
NAME)`; the digest is that of the text when we wrote it. `merge` replaces the sections that nobody has touched, keeps
those that somebody has edited, adds those that are new, leaves out those that somebody has removed, and never touches a
line outside. In the front matter the keys that we keep up to date are ours, entry by entry; for all others what stands
on the Hub wins (a licence unless it is the one that we wrote). Plain text and YAML, no network.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from rl2f_hub.errors import RL2FError
from rl2f_hub.runtime.yaml_reader import read_yaml

LARGEST = 2**20  # bytes of a card on the Hub that is still read
_BEGIN = re.compile(r"^\[//\]: # \(rl2f:begin ([a-z-]+)(?: ([0-9a-f]{12}))?\)[ \t]*$", re.M)
_END = re.compile(r"^\[//\]: # \(rl2f:end ([a-z-]+)\)[ \t]*$", re.M)
_LIST = re.compile(r"^\[//\]: # \(rl2f:sections ([a-z,-]*) license ([\w.-]*)\)[ \t]*\n?", re.M)
# Keys of the front matter that follow from what is pushed. Lists of mappings are merged by the entry's name.
_OURS = ("size_categories", "base_model", "base_model_relation", "library_name", "co2_eq_emissions")
_BY_NAME = {"configs": "config_name", "dataset_info": "config_name", "model-index": "name"}
_UNION = ("datasets", "tags")
Ends = dict[str, list[tuple[int, int]]]  # name of a section -> where its end lines start and end


@dataclass(frozen=True, slots=True)
class Merged:
    """`kept`: sections of ours that stay as somebody has edited them; `removed`: those that somebody has taken out."""

    text: str
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def sealed(text: str) -> str:
    """A rendered template with the digest of every section, and the list of all of them, written into it."""
    head, body = _split(text)
    names, ends = [], _ends(body)

    def seal(match: re.Match[str]) -> str:
        names.append(match[1])
        return f"[//]: # (rl2f:begin {match[1]} {_digest(_inside(body, match, ends))})"

    body = _BEGIN.sub(seal, body)
    return f"---\n{head}---\n\n{_listed(names, _load(head))}\n{body.lstrip()}"


def front_matter(text: str) -> dict[str, Any]:
    """The keys of a card.

    Raises:
        RL2FError: they are not YAML, or the card is too large to be one.
    """
    if len(text) > LARGEST:
        raise RL2FError("README.md on the Hub is larger than 1 MiB; shorten it there, then run the same command again")
    return _load(_split(text)[0])


def merge(ours: str, theirs: str | None, gone: Collection[str] = ()) -> Merged:
    """Our sealed card and the text on the Hub (None: there is none) as one.

    Args:
        gone: names of configs whose entries on the Hub do not stand beside ours, as their data are replaced.
    Raises:
        RL2FError: front matter on the Hub that is not YAML, or a card too large to be one.
    """
    if theirs is None or not theirs.strip():
        return merge(ours, ours)  # laid out as it will be after any later merge
    their_keys, their_body = front_matter(theirs), _split(theirs)[1]
    our_head, our_body = _split(ours)
    our_keys = _load(our_head)
    our_ends, ends = _ends(our_body), _ends(their_body)
    new = {m[1]: _inside(our_body, m, our_ends) for m in _BEGIN.finditer(our_body)}
    listed = _LIST.search(their_body)
    known = set(listed[1].split(",")) if listed else set()
    if listed and str(their_keys.get("license")) == listed[2]:  # as we wrote it: it follows the data
        their_keys.pop("license")
    keys = _merged_keys(our_keys, their_keys, gone)
    there = {m[1] for m in _BEGIN.finditer(their_body)}
    removed = [name for name in new if name in known and name not in there]
    kept: list[str] = []
    out, at = [], 0
    for match in _BEGIN.finditer(their_body):
        name, end = match[1], _end(ends, match)
        if match.start() < at or end is None:  # inside another section, or a section whose end somebody has deleted
            continue
        out.append(their_body[at : match.start()])
        if _digest(their_body[match.end() : end[0]]) != match[2]:
            kept.append(name)
            out.append(their_body[match.start() : end[1]])
        elif name in new:
            out.append(_section(name, new[name]))
        at = end[1]
    body = "".join([*out, their_body[at:]])
    added = [_section(name, text) for name, text in new.items() if name not in there and name not in removed]
    body = _LIST.sub("", body)
    joined = "\n\n".join(part.strip("\n") for part in (_listed(list(new), our_keys), body, *added) if part.strip())
    return Merged(f"---\n{_dump(keys)}---\n\n{joined}\n", kept, removed)


def with_section(text: str, name: str, inside: str) -> str | None:
    """A card with another text in one of our sections; None where it has no such section that nobody has touched."""
    head, body = _split(text)
    ends, at = _ends(body), 0
    for match in _BEGIN.finditer(body):
        end = _end(ends, match)
        if match.start() < at or end is None:
            continue
        if match[1] == name and _digest(body[match.end() : end[0]]) == match[2]:
            body = body[: match.start()] + _section(name, inside) + body[end[1] :]
            return f"---\n{head}---\n{body}" if head else body
        at = end[1]
    return None


def _section(name: str, text: str) -> str:
    return f"[//]: # (rl2f:begin {name} {_digest(text)})\n\n{text.strip()}\n\n[//]: # (rl2f:end {name})"


def _listed(names: list[str], keys: dict[str, Any]) -> str:
    """The line that says what we wrote: by it a later merge knows what somebody has taken out or changed."""
    return f"[//]: # (rl2f:sections {','.join(names)} license {keys.get('license', '')})"


def _end(ends: Ends, begin: re.Match[str]) -> tuple[int, int] | None:
    """Where the end line of a section starts and ends."""
    found = ends.get(begin[1], [])
    at = bisect_left(found, (begin.end(), 0))
    return found[at] if at < len(found) else None


def _ends(body: str) -> Ends:
    """Where the end lines of all sections are, by name: one walk, however many begin (a stranger may write thousands)."""
    found: Ends = {}
    for match in _END.finditer(body):
        found.setdefault(match[1], []).append((match.start(), match.end()))
    return found


def _inside(body: str, begin: re.Match[str], ends: Ends) -> str:
    end = _end(ends, begin)
    if end is None:
        raise ValueError(f"the section {begin[1]!r} has no end")
    return body[begin.end() : end[0]]


def _digest(text: str) -> str:
    """Over the text without differences that editors make by themselves."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").strip().split("\n")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _split(text: str) -> tuple[str, str]:
    """(front matter, text after it), the front matter empty if there is none."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n")
    found = re.match(r"---[ \t]*\n(.*?\n)?---[ \t]*(?:\n|$)", text, re.S)
    return (found[1] or "", text[found.end() :]) if found else ("", text)


def _load(head: str) -> dict[str, Any]:
    try:
        data = read_yaml(head) or {}
        _dump(data)  # it will be written again, and hexadecimal numbers can be longer than Python writes
    except ValueError as error:
        reason = str(error)[:120]
        raise RL2FError(
            f"README.md on the Hub: its front matter is not YAML ({reason}); correct it there first"
        ) from None
    if not isinstance(data, dict):
        raise RL2FError(
            "README.md on the Hub: its front matter is not a mapping of names to values; correct it there first"
        )
    return data


def _dump(data: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000) if data else ""


def _merged_keys(ours: dict[str, Any], theirs: dict[str, Any], gone: Collection[str]) -> dict[str, Any]:
    out = dict(theirs)
    for key, value in ours.items():
        there = theirs.get(key)
        if key in _OURS or there is None:
            out[key] = value
        elif key in _BY_NAME and isinstance(value, list):
            names = {*(entry[_BY_NAME[key]] for entry in value), *(gone if _BY_NAME[key] == "config_name" else ())}
            entries = there if isinstance(there, list) else [there]
            others = [e for e in entries if isinstance(e, dict) and str(e.get(_BY_NAME[key], "default")) not in names]
            if any(entry.get("default") for entry in value):  # of which there is one
                others = [{k: v for k, v in entry.items() if k != "default"} for entry in others]
            out[key] = value + others
        elif key in _UNION and isinstance(value, list):
            entries = there if isinstance(there, list) else [there]
            out[key] = entries + [entry for entry in value if entry not in entries]
    return out
