"""Which processes a command has started, and which of them are left after it has ended. Linux: read from /proc."""

from __future__ import annotations

import time
from pathlib import Path

PATIENCE_S = 120.0  # for the processes of a stopped run to end: one may be in the middle of an import on a busy machine


def descendants(pid: int) -> dict[int, str]:
    """Processes below one, each with the time of its start, which tells it from a later one of the same number."""
    parents: dict[int, int] = {}
    starts: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)], starts[int(entry.name)] = int(stat[1]), stat[19]
    found = {pid: starts.get(pid, "")}
    while more := {child for child, above in parents.items() if above in found and child not in found}:
        found |= {child: starts[child] for child in more}
    return found


def still_there(processes: dict[int, str], patience: float = PATIENCE_S) -> list[str]:
    """Those that have not ended after a while."""
    until = time.monotonic() + patience
    while True:
        left = []
        for pid, start in processes.items():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                if stat[19] == start and stat[0] != "Z":
                    left.append(f"{pid}: {Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')[:100]}")
            except OSError:
                continue
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.05)
