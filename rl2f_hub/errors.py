"""The two errors a user sees: one line that names the field or file, the value, and the fix.

Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RL2FError(Exception):
    """Something failed while running. The command line prints the message and exits with `exit_code`."""

    exit_code = 1


class UsageError(RL2FError):
    """The request itself is wrong: bad arguments or a bad recipe. Nothing was started."""

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` or the list of what is known."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known and len(known) <= 30 else ""
