"""No pin, and no version that pyproject admits at the lowest, is one that SECURITY.md knows to be vulnerable."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
KNOWN = {
    name: Version(fixed)
    for name, fixed in re.findall(
        r"(?m)^\| ([\w-]+) \| ([\d.]+) \|", (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    )
}


def pins(file: str) -> dict[str, Version]:
    found = re.findall(r"(?m)^([\w.-]+)==([\w.]+)", (ROOT / file).read_text(encoding="utf-8"))
    return {name.lower().replace("_", "-"): Version(version) for name, version in found}


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-lowest.txt"])
def test_no_pin_is_within_a_known_range(file: str) -> None:
    pinned = pins(file)
    assert len(KNOWN.keys() & pinned.keys()) >= 10
    assert {name: str(pinned[name]) for name in KNOWN if name in pinned and pinned[name] < KNOWN[name]} == {}


def test_no_lower_bound_is_within_a_known_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = [Requirement(text) for names in lists for text in names]
    lowest = [(r.name.lower(), Version(b.version)) for r in asked for b in r.specifier if b.operator == ">="]
    assert [(name, str(low)) for name, low in lowest if name in KNOWN and low < KNOWN[name]] == []
