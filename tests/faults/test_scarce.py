"""The part of `scarce.py` that fits into CI: no right to write, a full disk, and memory that ends in training."""

from __future__ import annotations

from pathlib import Path

import pytest
from scarce import CASES


@pytest.mark.parametrize(
    "name", ["read-only folder, new run", "disk full after 45 % of the writing", "no memory in training"]
)
def test_what_is_refused_is_one_line_and_nothing_is_lost(name: str, finished: Path, tmp_path: Path) -> None:
    case = CASES[name](name, finished, tmp_path)
    assert case.wrong == []
    assert case.exit_code == 1
