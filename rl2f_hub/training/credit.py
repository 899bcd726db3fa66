"""Credit: from when a dialogue was solved to what the policy gradient sees. Pure functions over plain numbers.

Dialogue credit (the default of arXiv 2602.16488, on which RL2F's undisclosed settings are filled in here): reward 1 at
the first correct attempt and 0 otherwise, discounted per turn; TRL turns the returns of a group into advantages.

Turn credit gives every turn an advantage of its own: the rewards from that turn on, discounted from the dialogue's
start so that their gradient is that of the expected return, less a baseline. A student decides by its attempts which
dialogues get as far as turn t. Normalising the returns over those that did, as is often done, multiplies each turn's
gradient by a factor that depends on how many there were and on how their returns spread: a dialogue that is alone at
its turn teaches nothing, and the sum points elsewhere than the gradient does. Here the baseline of a dialogue is made
of the group's *other* dialogues alone. Whatever function of them it is, it cannot depend on what this dialogue's
student does, so it changes the variance and not the mean (`tests/test_credit_critique.py` sums over all outcomes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

Scale = Literal["group", "batch", "none"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a credit scheme sees of a dialogue: the turn it was `solved_at` (0: never), and how many `turns` it had."""

    solved_at: int
    turns: int


# (outcomes, group, discount, scale) -> one advantage per turn for each dialogue; None leaves them to TRL, which gives all
# turns of a dialogue the advantage of its return. Groups of `group` dialogues about the same task follow each other.
CreditScheme = Callable[[Sequence[Outcome], int, float, Scale], "list[list[float]] | None"]


def dialogue_credit(outcomes: Sequence[Outcome], group: int, discount: float, scale: Scale) -> None:
    """All turns of a dialogue share the advantage of its return, which TRL takes.

    `outcomes`, `group`, `discount` and `scale` as in every `CreditScheme`; none of them is used.
    """


def turn_credit(outcomes: Sequence[Outcome], group: int, discount: float, scale: Scale) -> list[list[float]]:
    """An advantage per turn of `outcomes`; `group`, `discount`, `scale` as in `turn_rewards` and `turn_advantages`."""
    return turn_advantages([turn_rewards(o.solved_at, o.turns, discount) for o in outcomes], group, scale)


def dialogue_returns(solved_at: Sequence[int], discount: float) -> list[float]:
    """`discount ** (t - 1)` for a dialogue solved at turn t (1-based), 0.0 for one never solved (t = 0)."""
    return [discount ** (t - 1) if t > 0 else 0.0 for t in solved_at]


def turn_rewards(solved_at: int, turns: int, discount: float) -> list[float]:
    """The discounted reward of each of a dialogue's `turns` turns: the return of `dialogue_returns` at the last.

    A dialogue ends when it is solved, so that is the turn of the first right attempt. Where a doubting teacher kept it
    going, the attempt had to be held until the end.
    """
    return [0.0] * (turns - 1) + dialogue_returns([solved_at], discount) if turns else []


def turn_advantages(rewards: Sequence[Sequence[float]], group: int, scale: Scale = "none") -> list[list[float]]:
    """Advantages by dialogue and turn.

    Args:
        rewards: for every dialogue one reward a turn, discounted from the dialogue's start; groups of `group`
            dialogues about the same task follow each other.
        scale: what the advantages are divided by: the standard deviation of the returns of the group, of the batch, or
            nothing. A common divisor keeps a group's direction but not, across groups, the mean: only `none` is unbiased.
    Returns:
        One list a dialogue, one advantage a turn: the return from that turn on less the mean of the same over the
        group's other dialogues that got to that turn or, if none did, less the mean of their whole returns.
    Raises:
        ValueError: groups of one, or a number of dialogues that `group` does not divide.
    """
    if group < 2 or len(rewards) % group:
        raise ValueError(f"{len(rewards)} dialogues cannot be told apart in groups of {group}")
    to_go = [[sum(row[t:]) for t in range(len(row))] for row in rewards]
    out: list[list[float]] = []
    for i, row in enumerate(to_go):
        start = i - i % group
        others = [to_go[j] for j in range(start, start + group) if j != i]
        whole = fmean(sum(rewards[j]) for j in range(start, start + group) if j != i)
        out.append([])
        for t, value in enumerate(row):
            reached = [other[t] for other in others if len(other) > t]
            out[-1].append(value - (fmean(reached) if reached else whole))
    return out if scale == "none" else _scaled(out, [sum(row) for row in rewards], group, scale)


def _scaled(advantages: list[list[float]], returns: list[float], group: int, scale: Scale) -> list[list[float]]:
    out = []
    for i, row in enumerate(advantages):
        start = i - i % group
        divisor = stdev(returns[start : start + group] if scale == "group" else returns) + 1e-4  # as TRL's
        out.append([value / divisor for value in row])
    return out


def equal_groups(returns: Sequence[float], group: int) -> list[int]:
    """Indices of the groups of `group` consecutive returns that are all the same: they teach nothing."""
    starts = range(0, len(returns), group)
    return [n for n, start in enumerate(starts) if len(set(returns[start : start + group])) == 1]
