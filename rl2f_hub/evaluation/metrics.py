"""Metrics over dialogues, with bootstrap intervals over tasks. Pure numpy.

Everything starts from `solved_at`: (n,) integers, the 1-based turn of the first correct attempt, 0 if there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

CONFIDENCE = 0.95


def solved_by_turn(solved_at: Sequence[int], max_turns: int) -> np.ndarray:
    """(n, max_turns) of 0/1: solved at or before turn t. Its column means are the cumulative accuracy by turn."""
    solved = np.asarray(solved_at)[:, None]
    turns = np.arange(1, max_turns + 1)[None, :]
    return ((solved > 0) & (solved <= turns)).astype(np.float64)


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Percentile intervals of the column means of `values` (n, k), resampling rows (tasks); returns (k, 2)."""
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.empty((resamples, values.shape[1]))
    for i in range(resamples):
        means[i] = values[rng.integers(0, n, n)].mean(0)
    tail = (1 - CONFIDENCE) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).T


def accuracy(solved_at: Sequence[int], max_turns: int, resamples: int, seed: int) -> dict[str, Any]:
    """`acc_at_turn` and its `ci95` (a [low, high] pair a turn)."""
    table = solved_by_turn(solved_at, max_turns)
    interval = bootstrap_interval(table, resamples, seed)
    return {"acc_at_turn": [round(float(x), 4) for x in table.mean(0)], "ci95": np.round(interval, 4).tolist()}


def paired_difference(a: np.ndarray, b: np.ndarray, resamples: int, seed: int) -> dict[str, object]:
    """Mean of a - b over tasks, both (n,), with a paired bootstrap interval."""
    gap = (np.asarray(a, dtype=float) - np.asarray(b, dtype=float))[:, None]
    low, high = bootstrap_interval(gap, resamples, seed)[0]
    return {"difference": round(float(gap.mean()), 4), "ci95": [round(float(low), 4), round(float(high), 4)]}


def repeat_rate(dialogues: Sequence[dict]) -> float | None:
    """Share of second and later attempts that repeat the wrong answer before them word for word; None if there are none."""
    repeats = total = 0
    for dialogue in dialogues:
        attempts = [turn["attempt"].strip() for turn in dialogue["turns"]]
        total += max(len(attempts) - 1, 0)
        repeats += sum(a == b for a, b in pairwise(attempts))
    return round(repeats / total, 4) if total else None


def held_under_doubt(dialogues: Sequence[dict], resamples: int, seed: int) -> dict[str, Any]:
    """Of the dialogues in which a right answer was doubted, the share whose last answer was right all the same.

    `doubted` counts them; `held_rate` and `held_ci95` are None without any.
    """
    held = [
        float(d["turns"][-1]["correct"])
        for d in dialogues
        if any(t["correct"] and t["feedback"] is not None for t in d["turns"][:-1])
    ]
    if not held:
        return {"doubted": 0, "held_rate": None, "held_ci95": None}
    low, high = bootstrap_interval(np.asarray(held)[:, None], resamples, seed)[0]
    share = round(float(np.mean(held)), 4)
    return {"doubted": len(held), "held_rate": share, "held_ci95": [round(float(low), 4), round(float(high), 4)]}
