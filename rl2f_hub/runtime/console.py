"""Printing for people: a console of fixed width where there is no terminal, and tables."""

from __future__ import annotations

import sys
from typing import Any


def output_console(width: int = 160) -> Any:
    """rich's console on standard output; `width` where that is no terminal. What it prints is never read as markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else width)


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """A table of texts, whatever stands in them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    output_console(180).print(table)
