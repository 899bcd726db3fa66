"""Credit: from when a dialogue was solved to the return that the policy gradient sees. Pure functions.

Dialogue credit (the default of arXiv 2602.16488, on which RL2F's undisclosed settings are filled in here): reward 1 at
the first correct attempt and 0 otherwise, discounted per turn; TRL turns the returns of a group into advantages.
Baselines are taken over whole dialogues: normalising per turn index is biased once the policy decides when it stops.
"""

from __future__ import annotations

from collections.abc import Sequence


def dialogue_returns(solved_at: Sequence[int], discount: float) -> list[float]:
    """`discount ** (t - 1)` for a dialogue solved at turn t (1-based), 0.0 for one never solved (t = 0)."""
    return [discount ** (t - 1) if t > 0 else 0.0 for t in solved_at]
