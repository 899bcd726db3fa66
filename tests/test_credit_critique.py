"""Returns and the critique term, against sums by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.credit import dialogue_returns
from rl2f_hub.critique import critique_loss


def test_returns_by_hand() -> None:
    assert dialogue_returns([1, 2, 3, 0], 0.5) == [1.0, 0.5, 0.25, 0.0]
    assert dialogue_returns([], 0.5) == []


@given(st.lists(st.integers(0, 20), max_size=10), st.floats(0.01, 1, exclude_min=True))
def test_sooner_is_never_worse_and_unsolved_is_worst(solved: list[int], discount: float) -> None:
    returns = dialogue_returns(solved, discount)
    assert all(0 <= r <= 1 for r in returns)
    for t, r in zip(solved, returns, strict=True):
        assert (r == 0) == (t == 0)
        for u, s in zip(solved, returns, strict=True):
            if 0 < t <= u:
                assert r >= s


def test_without_discount_every_solved_dialogue_counts_the_same() -> None:
    assert dialogue_returns([1, 5, 0], 1.0) == [1.0, 1.0, 0.0]


def test_the_critique_term_is_the_mean_over_the_teachers_tokens() -> None:
    logps = torch.tensor([[-1.0, -2.0, -4.0], [-8.0, -16.0, -32.0]])
    mask = torch.tensor([[0, 1, 0], [1, 1, 0]])
    assert critique_loss(logps, mask).item() == pytest.approx((2 + 8 + 16) / 3)


def test_no_teacher_no_critique() -> None:
    logps = torch.full((2, 3), -5.0, requires_grad=True)
    loss = critique_loss(logps, torch.zeros(2, 3))
    loss.backward()
    assert loss.item() == 0
    assert logps.grad is not None
    assert not logps.grad.any()


def test_the_critique_term_moves_the_teachers_tokens_alone() -> None:
    logps = torch.randn(2, 4, requires_grad=True)
    mask = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 1]])
    critique_loss(logps, mask).backward()
    assert logps.grad is not None
    assert torch.equal(logps.grad, -mask / 3)
