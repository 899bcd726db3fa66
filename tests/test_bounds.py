"""The lower bounds of pyproject.toml are the versions of constraints-lowest.txt, with which `make test-lowest` runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
APART = {"torch": "2.10", "vllm": "0.22"}  # torch is installed first (Makefile); vllm needs a GPU and is not run


def test_every_lower_bound_is_the_version_that_is_tested() -> None:
    pins = {_name(name): version for name, _, version in _pins("constraints-lowest.txt")} | APART
    untested = [requirement for requirement in _asked() if not _is_lowest(requirement, pins)]
    assert untested == [], "run `make lowest`, then `make test-lowest`, or raise the bound to what is pinned"


def test_no_lower_bound_is_above_what_is_installed_by_default() -> None:
    lowest, newest = (
        {_name(n): v for n, _, v in _pins(file)} for file in ("constraints-lowest.txt", "constraints.txt")
    )
    direct = {_name(re.split(r"[\[<>=; ]", r)[0]) for r in _asked()}
    both = direct & lowest.keys() & newest.keys()
    assert len(both) > 20
    assert [name for name in sorted(both) if _parts(lowest[name]) > _parts(newest[name])] == []


def _asked() -> list[str]:
    """Everything that pyproject.toml asks for, but its own extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    return [requirement for requirement in every if not requirement.startswith("rl2f-hub")]


def _is_lowest(requirement: str, pins: dict[str, str]) -> bool:
    found = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?(?:>=([0-9.]+))?", requirement)
    assert found, requirement
    pinned = pins.get(_name(found[1]))
    return pinned is not None and (found[2] is None or _parts(pinned) == _parts(found[2]))


def _pins(file: str) -> list[tuple[str, str, str]]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [line.partition("==") for line in text.splitlines() if "==" in line and not line.startswith("#")]


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _parts(version: str) -> tuple[int, ...]:
    """Zeros at the end say nothing: 3 is 3.0.0."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
