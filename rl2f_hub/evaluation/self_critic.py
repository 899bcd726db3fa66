"""A student without a teacher: what its own stop is worth, and whether its "correct" means correct.

Pure functions over rows of the suite `autodidact`. There every turn has `accepted` (the student called its own attempt
right) and, where the engine gives log-probabilities, `confidence` (the probability that it gave to saying so). The
student stops where it first accepts. The dialogue is played on as far as the oracle or the own stop would need, so
three endings can be compared on the same words: the own stop, the oracle's stop, and no stop at all.

The last turn is not asked about when it is right, so it takes no part in the calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rl2f_hub.evaluation.intervals import Ratio, estimate, shown, statistic
from rl2f_hub.evaluation.metrics import Dialogues

BINS = 10


def own_stop(row: dict[str, Any], max_turns: int) -> int:
    """The 1-based turn whose attempt the student leaves standing: the first that it accepts, else the last."""
    turns = row["turns"][:max_turns]
    return next((t for t, turn in enumerate(turns, 1) if turn.get("accepted")), len(turns))


def stops(rows: Sequence[dict[str, Any]], max_turns: int) -> dict[str, Ratio]:
    """Accuracy under each way of stopping, with the attempts that it took."""
    d = Dialogues.read(rows, max_turns)
    at = np.array([own_stop(row, max_turns) for row in rows])
    own = np.take_along_axis(d.right, np.maximum(at - 1, 0)[:, None], axis=1)[:, 0]
    made = np.arange(1, max_turns + 1)[None, :] <= at[:, None]
    out = {
        "own_stop_accuracy": d.mean(own),
        "own_stop_calls": d.mean(at, share=False),
        "oracle_stop_accuracy": d.mean(d.cumulative[:, -1]),
        "oracle_stop_calls": d.mean(d.counted.sum(1), share=False),
        "first_attempt_accuracy": d.mean(d.right[:, 0]),
    }
    if not np.isnan(d.tokens).any():
        out["own_stop_tokens"] = d.mean((d.tokens * made).sum(1) + np.nan_to_num((d.heard * made).sum(1)), share=False)
    return out


def judgements(rows: Sequence[dict[str, Any]], max_turns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of every attempt that the student judged: row, accepted, right, confidence (nan where unknown)."""
    found = [
        (i, turn["accepted"], turn["correct"], np.nan if turn.get("confidence") is None else turn["confidence"])
        for i, row in enumerate(rows)
        for turn in row["turns"][: max_turns - 1]
        if turn.get("accepted") is not None
    ]
    table = np.array(found, dtype=float).reshape(-1, 4)
    return table[:, 0].astype(int), table[:, 1], table[:, 2], table[:, 3]


def calibration(rows: Sequence[dict[str, Any]], max_turns: int, resamples: int, seed: int) -> dict[str, Any]:
    """`precision`, `recall` and `accuracy` of "correct", and `ece`, with intervals over tasks.

    The expected calibration error is over ten bins of `confidence`; without log-probabilities the spoken judgement
    counts as a confidence of 0 or 1.
    """
    d = Dialogues.read(rows, max_turns)
    row, accepted, right, confidence = judgements(rows, max_turns)

    def per_row(values: np.ndarray) -> np.ndarray:
        return np.bincount(row, values, minlength=len(rows))

    def share(num: np.ndarray, den: np.ndarray) -> dict[str, Any]:
        return estimate(d.ratio(per_row(num), per_row(den)), resamples, seed)

    ones = np.ones_like(right)
    spoken = bool(np.isnan(confidence).any()) or not len(confidence)
    sure = accepted if spoken else confidence
    return {
        "judged": len(right),
        "precision": share(accepted * right, accepted),
        "recall": share(accepted * right, right),
        "accuracy": share((accepted == right).astype(float), ones),
        "ece": _ece(d, row, right, sure, resamples, seed),
        "confidence_from": "words" if spoken else "log-probabilities",
    }


def _ece(
    d: Dialogues, row: np.ndarray, right: np.ndarray, sure: np.ndarray, resamples: int, seed: int
) -> dict[str, Any]:
    """Mean distance of confidence and accuracy over bins, weighted by how many judgements fall into them."""
    if not len(right):
        return {"value": None, "ci95": None, "n": 0}
    which = np.minimum((sure * BINS).astype(int), BINS - 1)
    gap, count = (np.zeros((len(d.tasks), BINS)) for _ in range(2))
    np.add.at(gap, (d.task[row], which), right - sure)
    np.add.at(count, (d.task[row], which), 1)

    def of(weights: np.ndarray) -> np.ndarray:
        total = (weights @ count).sum(1, keepdims=True)
        return np.abs(weights @ gap).sum(1, keepdims=True) / np.where(total > 0, total, np.nan)

    value, bounds = statistic(of, len(d.tasks), resamples, seed)
    return shown(value, bounds, False) | {"n": len(right)}


def autodidact(rows: Sequence[dict[str, Any]], max_turns: int, resamples: int, seed: int) -> dict[str, Any]:
    """The figures of the suite `autodidact` beyond those of every suite."""
    endings = {name: estimate(ratio, resamples, seed) for name, ratio in stops(rows, max_turns).items()}
    return {"stops": endings, "critic": calibration(rows, max_turns, resamples, seed)}
