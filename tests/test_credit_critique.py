"""Returns, advantages and the critique term, against sums by hand; credit by turn against an exact gradient.

The exact comparison sums an estimator over every outcome that a group of dialogues can have, so nothing is sampled.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.training.credit import dialogue_returns, equal_groups, turn_advantages, turn_rewards
from rl2f_hub.training.critique import critique_loss


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


# -- credit by turn ----------------------------------------------------------------------------------------------------


def test_turn_advantages_by_hand() -> None:
    """Three dialogues: solved at turn 1; at turn 2 (worth 0.5); never, in two turns."""
    rewards = [turn_rewards(1, 1, 0.5), turn_rewards(2, 2, 0.5), turn_rewards(0, 2, 0.5)]
    assert rewards == [[1.0], [0.0, 0.5], [0.0, 0.0]]
    assert turn_advantages(rewards, 3) == [[1 - 0.25], [0.5 - 0.5, 0.5 - 0.0], [0 - 0.75, 0 - 0.5]]


def test_a_dialogue_alone_at_its_turn_is_measured_by_the_others_whole_returns() -> None:
    assert turn_advantages([[1.0], [0.0, 0.5]], 2) == [[0.5], [-0.5, -0.5]]
    assert turn_advantages([[0.0], [0.0, 0.5]], 2) == [[-0.5], [0.5, 0.5]]


def test_a_reward_is_for_the_turns_up_to_it() -> None:
    """After turn 1 has earned what there is to earn, turn 2 is not praised for it."""
    first, second = turn_advantages([[1.0, 0.0], [0.0, 0.0]], 2)
    assert (first, second) == ([1.0, 0.0], [-1.0, 0.0])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=6, max_size=6), st.floats(0.1, 1))
def test_equal_groups_have_no_advantage_and_a_scale_keeps_the_signs(
    raw: list[tuple[int, int]], discount: float
) -> None:
    ends = [(solved, solved or turns) for solved, turns in raw]
    rewards = [turn_rewards(solved, turns, discount) for solved, turns in ends]
    returns = [sum(row) for row in rewards]
    assert returns == dialogue_returns([solved for solved, _ in ends], discount)
    plain = turn_advantages(rewards, 3)
    for n in equal_groups(returns, 3):
        if returns[3 * n] == 0 or discount < 1:  # else the same return may come at different turns
            assert all(a == pytest.approx(0) for row in plain[3 * n : 3 * n + 3] for a in row)
    for scale in ("group", "batch"):
        for one, two in zip(plain, turn_advantages(rewards, 3, scale), strict=True):
            assert [math.copysign(1, a) for a in one] == [math.copysign(1, a) for a in two]


def test_groups_that_do_not_come_out_even_are_refused() -> None:
    with pytest.raises(ValueError, match="5 dialogues cannot be told apart in groups of 2"):
        turn_advantages([[0.0]] * 5, 2)


Outcome = tuple[list[tuple[int, int]], list[float]]  # (state, action) of every turn, and its discounted reward
STATES, ACTIONS, TURNS, DISCOUNT = 4, 4, 3, 0.7
RIGHT = {(0, 0), (1, 0), (2, 0), (2, 1), (3, 2)}  # where an action is a right attempt
GIVE_UP = 3  # the action by which the student ends the dialogue itself


def _outcomes() -> list[Outcome]:
    """All dialogues: the state after a wrong attempt tells which attempt it was and, at the third turn, no more."""
    found: list[Outcome] = []

    def go_on(path: list[tuple[int, int]], state: int) -> None:
        for action in range(ACTIONS):
            here = [*path, (state, action)]
            right = (state, action) in RIGHT
            if right or action == GIVE_UP or len(here) == TURNS:
                found.append((here, turn_rewards(len(here) if right else 0, len(here), DISCOUNT)))
            else:
                go_on(here, action if state == 0 else 3)

    go_on([], 0)
    return found


def _logits() -> torch.Tensor:
    return torch.tensor(
        [[-0.5, 0.8, 0.2, -1.0], [0.3, -0.2, 0.9, -0.6], [0.1, -0.4, 0.2, 0.4], [-0.7, 0.5, -0.1, 0.0]],
        dtype=torch.float64,
        requires_grad=True,
    )


def _exact_gradient() -> torch.Tensor:
    logits = _logits()
    logp = logits.log_softmax(-1)
    value = sum(
        torch.exp(sum((logp[s, a] for s, a in path), torch.zeros(()))) * sum(rewards) for path, rewards in _outcomes()
    )
    (gradient,) = torch.autograd.grad(value, logits)
    return gradient.flatten()


def _expected_estimate(estimate: Callable[[Sequence[Sequence[float]]], list[list[float]]], group: int) -> torch.Tensor:
    """The mean of the policy gradient with the advantages of `estimate`, over all outcomes of a group of dialogues."""
    logits = _logits()
    logp = logits.log_softmax(-1)
    outcomes = _outcomes()
    scores = {}
    for state, action in itertools.product(range(STATES), range(ACTIONS)):
        scores[state, action] = torch.autograd.grad(logp[state, action], logits, retain_graph=True)[0].flatten()
    chances = [math.exp(sum(logp[s, a].item() for s, a in path)) for path, _ in outcomes]
    assert sum(chances) == pytest.approx(1)
    weights = dict.fromkeys(scores, 0.0)
    for members in itertools.product(range(len(outcomes)), repeat=group):
        chance = math.prod(chances[m] for m in members)
        advantages = estimate([outcomes[m][1] for m in members])
        for m, row in zip(members, advantages, strict=True):
            for step, advantage in zip(outcomes[m][0], row, strict=True):
                weights[step] += chance * advantage / group
    return sum((weight * scores[step] for step, weight in weights.items()), torch.zeros(()))


def _by_turn_index(rewards: Sequence[Sequence[float]], spread: bool) -> list[list[float]]:
    """What is often done: at every turn index, less the mean over the group's dialogues that got there, own included."""
    to_go = [[sum(row[t:]) for t in range(len(row))] for row in rewards]
    out = []
    for row in to_go:
        out.append([])
        for t, value in enumerate(row):
            there = [other[t] for other in to_go if len(other) > t]
            divisor = stdev(there) + 1e-4 if spread and len(there) > 1 else 1.0
            out[-1].append((value - fmean(there)) / divisor)
    return out


def _off_course(estimate: torch.Tensor, exact: torch.Tensor) -> float:
    """Sine of the angle between two gradients: 0 if a learning rate makes them the same."""
    cosine = torch.nn.functional.cosine_similarity(estimate, exact, dim=0).clamp(-1, 1)
    return float((1 - cosine**2).sqrt())


@pytest.mark.parametrize("group", [2, 3])
def test_credit_by_turn_is_the_exact_gradient_where_the_student_chooses_when_to_stop(group: int) -> None:
    exact = _exact_gradient()
    assert exact.norm() > 0.05
    torch.testing.assert_close(_expected_estimate(lambda r: turn_advantages(r, group), group), exact)


@pytest.mark.parametrize("spread", [False, True], ids=["less-the-mean", "normalised"])
def test_normalising_by_turn_index_points_elsewhere(spread: bool) -> None:
    """No learning rate makes up for it: the direction is wrong, and not by a rounding error."""
    biased = _expected_estimate(lambda rewards: _by_turn_index(rewards, spread), 3)
    assert _off_course(biased, _exact_gradient()) > 0.05
    assert _off_course(_expected_estimate(lambda r: turn_advantages(r, 3), 3), _exact_gradient()) < 1e-6


# -- the critique term -------------------------------------------------------------------------------------------------


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
