"""The fuzz tests' own eyes: a hang is seen, cases are counted, and the long form leaves no test out."""

from __future__ import annotations

from pathlib import Path

import fuzzing
import pytest
import test_fuzz_models
import test_fuzz_recipes
import test_fuzz_rows
from fuzz import PART, SHARES, parts
from hypothesis import given
from hypothesis import strategies as st


def test_a_case_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "LIMIT_S", 0.2)

    @fuzzing.fuzz
    @given(number=st.just(1))
    def forever(number: int) -> None:
        while number:
            pass

    with pytest.raises(AssertionError, match="longer than"):
        forever()


def test_every_case_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fuzzing, "COUNTS", str(tmp_path / "counts"))
    seen = []

    @fuzzing.fuzz
    @given(number=st.integers())
    def counted(number: int) -> None:
        seen.append(number)

    counted()
    assert (tmp_path / "counts").read_text().split() == ["counted"] * len(seen)
    assert len(seen) >= fuzzing.CASES


def test_the_long_form_runs_every_test_with_as_many_cases_as_asked() -> None:
    here = {
        f"{module.__name__}.py::{name}"
        for module in (test_fuzz_models, test_fuzz_recipes, test_fuzz_rows)
        for name, value in vars(module).items()
        if name.startswith("test_") and hasattr(value, "hypothesis")
    }
    assert here == set(SHARES)
    made = parts(100_000)
    assert sum(count for _, count in made) >= 100_000
    assert max(count for _, count in made) <= PART
    assert all(sum(count for test, count in made if test == one) >= 2_000 for one in SHARES)
