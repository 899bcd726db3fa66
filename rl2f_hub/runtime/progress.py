"""Progress of long work: a bar with rate and time left on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rl2f_hub.runtime import processes, stopping

console = Console(stderr=True, highlight=False, markup=False)  # notes name models, whose paths may hold [brackets]
LINE_EVERY_S = 15.0

Advance = Callable[..., None]  # advance(n, note="loss 0.4")


@contextmanager
def bar(label: str, total: int, unit: str, start: int = 0) -> Iterator[Advance]:
    """Shows the progress of `total` units of work of which `start` are done already.

    A step is also where a stop that was asked for and got lost takes effect.
    """
    if not processes.is_main():  # one bar for all of them
        yield lambda n=1, note="": None
        return
    began = time.monotonic()
    state = {"done": start, "line": began}

    def rate() -> float:
        return (state["done"] - start) / max(time.monotonic() - began, 1e-9)

    if not console.is_terminal:

        def advance(n: int = 1, note: str = "") -> None:
            stopping.check()
            state["done"] += n
            now = time.monotonic()
            if now - state["line"] >= LINE_EVERY_S and state["done"] < total:
                state["line"] = now
                left = (total - state["done"]) / max(rate(), 1e-9)
                console.print(
                    f"{label}: {state['done']}/{total} {unit}, {rate():.1f}/s, {left:.0f} s left  {note}",
                    soft_wrap=True,
                )

        yield advance
        spent = time.monotonic() - began
        console.print(f"{label}: {int(state['done'])}/{total} {unit} in {spent:.1f} s")
        return

    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=total, completed=start, rate="", note="")

        def advance_bar(n: int = 1, note: str = "") -> None:
            stopping.check()
            state["done"] += n
            progress.update(task, completed=state["done"], rate=f"{rate():.1f} {unit}/s", note=note)

        yield advance_bar
