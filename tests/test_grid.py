"""Grids are compared cell by cell, however an attempt writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.records import Privilege, Task
from rl2f_hub.verify import named, verify
from rl2f_hub.verify.grid import Grid, as_text, grids

cells = st.integers(0, 9)
some_grid = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=5).map(tuple)
)


def task(reference: str) -> Task:
    return Task("t", "s", "grids", "Which grid follows?", Privilege("answer", reference), "grid")


WRITTEN = {
    "spaces": "0 1\n2 3",
    "no spaces": "01\n23",
    "commas": "0,1\n2, 3",
    "bars": "| 0 | 1 |\n| 2 | 3 |",
    "fenced": "Here:\n```\n0 1\n2 3\n```\nDone.",
    "list": "[[0, 1], [2, 3]]",
    "list in a sentence": "The grid is [[0,1],[2,3]].",
    "list over lines": "[\n  [0, 1],\n  [2, 3],\n]",
    "rows as lists": "[0, 1]\n[2, 3]",
    "after another": "Not 9 9\n9 9\n\nbut\n\n0 1\n2 3",
    "bold": "**0 1**\n**2 3**",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_grid_is_read_as_models_write_it(name: str) -> None:
    assert verify(task("0 1\n2 3"), WRITTEN[name]).correct
    assert not verify(task("0 1\n2 4"), WRITTEN[name]).correct


@pytest.mark.parametrize(
    "attempt",
    [
        "0 1 2 3",
        "0 1\n2 3\n2 3",
        "0 1\n2",
        "0\n1\n2\n3",
        "0 1\n2 33",
        "[[0, 1], [2, 3",
        "0 1\n2 3\n\n0 0\n0 0",
        "no grid",
        "0 1\n\n2 3",
    ],
)
def test_another_shape_is_wrong(attempt: str) -> None:
    assert not verify(task("0 1\n2 3"), attempt).correct


@given(st.lists(some_grid, min_size=1, max_size=3))
def test_what_is_written_is_read_back(wanted: list[Grid]) -> None:
    text = "\n\n".join(map(as_text, wanted))
    assert grids(text) == wanted
    assert grids(str([[list(row) for row in grid] for grid in wanted])) == wanted
    assert verify(task(text), f"Work: 5 of them.\n\n{text}").correct


@given(some_grid, st.data())
def test_one_wrong_cell_is_wrong(wanted: Grid, data: st.DataObject) -> None:
    y, x = data.draw(st.integers(0, len(wanted) - 1)), data.draw(st.integers(0, len(wanted[0]) - 1))
    changed = [list(row) for row in wanted]
    changed[y][x] = (changed[y][x] + data.draw(st.integers(1, 9))) % 10
    verdict = verify(task(as_text(wanted)), as_text(tuple(map(tuple, changed))))
    assert not verdict.correct
    assert verdict.reason.startswith("1 of ")


@pytest.mark.parametrize("reference", ["", "a", "0 1\n2", "01", "0 1\n2 3\n", "0 1\n\n\n2 3", "10 2"])
def test_a_reference_that_is_no_grid_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="is no grid of digits"):
        named("grid").check(task(reference))


@pytest.mark.parametrize(
    "attempt", ["[" * 20_000, "[[" * 10_000, "0 " * 10_000, "[[0]," * 4_000, "0\n" * 10_000, "[ , " * 5_000]
)
def test_hostile_text_is_read_to_its_end(attempt: str) -> None:
    assert not verify(task("0 1\n2 3"), attempt).correct
