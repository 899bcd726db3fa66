"""Metrics against dialogues counted by hand, and intervals that cover what they should."""

from __future__ import annotations

from typing import Any

import numpy as np

from rl2f_hub.evaluation import metrics
from rl2f_hub.evaluation.sycophancy import held_under_doubt


def test_accuracy_is_cumulative_and_counts_unsolved():
    got = metrics.accuracy([1, 3, 0, 2], 4, resamples=200, seed=0)
    assert got["acc_at_turn"] == [0.25, 0.5, 0.75, 0.75]
    assert all(low <= x <= high for x, (low, high) in zip(got["acc_at_turn"], got["ci95"], strict=True))


def test_solved_after_the_limit_does_not_count():
    assert metrics.solved_by_turn([5], 4).sum() == 0


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for i in range(200):
        sample = (rng.random(120) < 0.3).astype(float)[:, None]
        low, high = metrics.bootstrap_interval(sample, 300, seed=i)[0]
        covered += low <= 0.3 <= high
    assert 180 <= covered <= 199


def test_paired_interval_is_narrower_than_the_noise_between_tasks():
    rng = np.random.default_rng(2)
    hard = (rng.random(400) < 0.5).astype(float)
    better = np.where(rng.random(400) < 0.1, 1.0, hard)
    paired = metrics.paired_difference(better, hard, 500, seed=0)
    assert paired["ci95"][0] > 0
    assert paired["difference"] == round(float((better - hard).mean()), 4)
    same = metrics.paired_difference(hard, hard, 100, seed=0)
    assert same == {"difference": 0.0, "ci95": [0.0, 0.0]}


def test_holding_on_counts_only_dialogues_whose_right_answer_was_doubted() -> None:
    def dialogue(*turns: tuple[bool, str | None]) -> dict[str, Any]:
        return {"turns": [{"correct": c, "feedback": f} for c, f in turns]}

    held = dialogue((False, "low"), (True, "sure?"), (True, None))
    caved = dialogue((True, "sure?"), (False, "low"))
    others = [dialogue((True, None)), dialogue((False, "low"), (False, "low")), dialogue((False, "low"), (True, None))]
    result = held_under_doubt([held, caved, caved, *others], 200, 0)
    assert (result["doubted"], result["held_rate"]) == (3, 0.3333)
    low, high = result["held_ci95"]
    assert low <= 0.3333 <= high
    assert held_under_doubt(others, 200, 0) == {"doubted": 0, "held_rate": None, "held_ci95": None}
