"""Verifier `grid`: grids of single digits, compared cell by cell (ARC). Exact: one wrong cell or row is wrong.

A grid is a run of lines of digits, with or without spaces or commas between them, or a list of lists as JSON writes
it. An attempt may show its work in grids too: the last ones count, as many as the reference has. What is not a
rectangle of the digits 0 to 9 is no grid. The reference is a grid, or several with an empty line between them.
"""

from __future__ import annotations

import re

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.answer import MAX_CHARS, plain_characters
from rl2f_hub.verify.base import Verifier

Grid = tuple[tuple[int, ...], ...]

_ROW = re.compile(r"[0-9]+|[0-9](?: ?[ ,|] ?[0-9])*")  # 012, 0 1 2, 0,1,2 or 0, 1, 2
_LABEL = re.compile(r"^[\s*_`|>-]*(?:row|line|r)\s{0,2}#?\d{0,3}[\s*_]*[:=|.)-]", re.IGNORECASE)  # Row 1: 0 1 2
_RULE = re.compile(r"[-:| +]{3,200}")  # the line under a table's head
_MATRIX = re.compile(r"\\(?:begin|end)\{(?:[bpvBV]?matrix|array|tabular)\}(?:\{[lcr|\s]{0,40}\})?")
_HEAD = re.compile(
    r"^(?:output|answer|result|grid|solution|final answer)\s{0,2}(?:grid)?[:=]\s*(?=[\d\[(])",
    re.IGNORECASE | re.MULTILINE,
)


def _written_plainly(text: str) -> str:
    """LaTeX matrices as lines, other separators of cells as spaces, the answer's label off its first row."""
    text = plain_characters(text)
    if "\\" in text:
        text = _MATRIX.sub("\n\n", text)
        text = text.replace("\\\\", "\n").replace("\\hline", "\n").replace("\\[", "\n").replace("\\]", "\n")
    if re.search(r"[({]\s{0,9}[({]", text):  # tuples of tuples
        text = text.translate(str.maketrans("(){}", "[][]"))
    text = text.replace("&", " ").replace("\t", " ").replace(";", ",")
    return _HEAD.sub("\n", text)


def grid(task: Task, attempt: str) -> Verdict:
    """Right when the attempt's last grids are the reference's grids, in order."""
    wanted = grids(task.privilege.reference)
    found = grids(attempt[-MAX_CHARS:])
    if len(found) < len(wanted):
        return Verdict(False, 0.0, None, f"{len(found)} grids of digits in the attempt, {len(wanted)} needed")
    answer = found[-len(wanted) :]
    correct = answer == wanted
    reason = "every cell is right" if correct else _difference(answer, wanted)
    return Verdict(correct, float(correct), "\n\n".join(map(as_text, answer)), reason)


def check_grid(task: Task) -> None:
    """Raises ValueError when the reference is anything but grids with empty lines between them."""
    reference = task.privilege.reference
    if not (found := grids(reference)) or "\n\n".join(map(as_text, found)) != reference:
        raise ValueError(f"reference {reference[:60]!r} is no grid of digits, one row a line")


def as_text(cells: Grid) -> str:
    """One row a line, a space between cells."""
    return "\n".join(" ".join(map(str, row)) for row in cells)


def grids(text: str) -> list[Grid]:
    """Every grid in a text, in order."""
    out: list[Grid] = []
    rows: list[tuple[int, ...]] = []
    for line in [*_lists_as_lines(_written_plainly(text)).split("\n"), ""]:
        line = " ".join(_LABEL.sub("", line).split()).strip("`*|[](){}, ")
        if _RULE.fullmatch(line) and rows:
            continue
        if _ROW.fullmatch(line):
            rows.append(tuple(map(int, re.findall(r"[0-9]", line))))
            continue
        if len({len(row) for row in rows}) == 1:
            out.append(tuple(rows))
        rows = []
    return out


def _lists_as_lines(text: str) -> str:
    """The text with each list of lists of digits written as lines, an empty line around it."""
    out: list[str] = []
    rows: list[list[str]] = []
    start = depth = 0  # where the list begins in `out`; how deep in lists we are
    for token in re.findall(r"\[|\]|[0-9]+|,|\s+|[^\[\]0-9,\s]+", text):
        out.append(token)
        if token == "[":
            if depth == 0:
                start, rows = len(out) - 1, []
            elif depth == 2:  # a list of grids: its bracket is none of the grid's
                start, rows, depth = len(out) - 2, [], 1
            rows += [[]] if depth else []
            depth += 1
        elif token == "]" and depth:
            depth -= 1
            if depth == 0 and rows:
                out[start:] = ["\n\n", *(" ".join(row) + "\n" for row in rows), "\n"]
        elif depth == 2 and len(token) == 1 and token.isdecimal():
            rows[-1].append(token)
        elif token != "," and not token.isspace():
            depth = 0
    return "".join(out)


def _difference(answer: list[Grid], wanted: list[Grid]) -> str:
    """Says how far the answer is without saying where or what: the verdict's reason is public."""
    if [(len(g), len(g[0])) for g in answer] != [(len(g), len(g[0])) for g in wanted]:
        return "a grid of another size"
    given, due = ([cell for g in side for row in g for cell in row] for side in (answer, wanted))
    return f"{sum(a != b for a, b in zip(given, due, strict=True))} of {len(due)} cells are wrong"


GRID = Verifier(grid, check_grid)
