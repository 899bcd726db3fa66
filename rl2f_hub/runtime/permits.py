"""What the user has allowed in this process beyond the safe defaults: three switches, all off.

`local_code` lets a recipe run a task class from a file of the user's own (`source: "python:..."`); `unsafe_code` lets
model-written code run without the sandbox; `outside_files` lets a recipe take tasks from files that lie outside its own
folder, which would be published. Only a flag of the command line or a caller in Python turns them on, never
a recipe, a data set or the environment: what comes from outside cannot permit itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_allowed: set[str] = set()
NAMES = ("local_code", "unsafe_code", "outside_files")


def allowed(name: str) -> bool:
    return name in _allowed


def allow(**switches: bool) -> None:
    """Turn switches on (or off) for the rest of the process: `allow(local_code=True)`."""
    for name, on in switches.items():
        if name not in NAMES:
            raise ValueError(f"{name!r} is no permit; permits are {', '.join(NAMES)}")
        _allowed.add(name) if on else _allowed.discard(name)


@contextmanager
def allowing(**switches: bool) -> Iterator[None]:
    """`allow` for the length of a block."""
    before = set(_allowed)
    allow(**switches)
    try:
        yield
    finally:
        _allowed.clear()
        _allowed.update(before)
