"""95 % intervals of shares and sums: one bootstrap over tasks for everything that an evaluation reports.

Every figure is a `Ratio`: per task a numerator and a denominator, in one or more columns (turns). All dialogues of a
task (its seeds) are added up before anything is drawn, so a task is drawn with all that happened on it: a clustered
bootstrap. Figures over the same tasks share the draw, which makes differences paired. Students trained with several
seeds are drawn in two levels, seeds and tasks.

Percentile intervals; with fewer than about 30 tasks they are too narrow. A share of 0 or of everything has no spread to
draw from: there the exact binomial bound over tasks stands (0 of 100 tasks: up to 3.6 %). Differences have no such
bound, and there is no correction for many comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

CONFIDENCE = 0.95
DIGITS = 4


@dataclass(frozen=True)
class Ratio:
    """sum(num) / sum(den) over tasks; both (n_tasks, k). A column whose den is 0 everywhere has no value.

    `listed` figures have one column a turn and are shown as lists, the others have one column and are shown plainly.
    A `share` is never outside 0 and 1; other figures are counts.
    """

    num: np.ndarray
    den: np.ndarray
    listed: bool = False
    share: bool = True

    @classmethod
    def of(cls, num: np.ndarray, den: np.ndarray, share: bool = True) -> Ratio:
        """From (n,), or, listed, from (n, k)."""
        a, b = (np.asarray(x, dtype=float) for x in (num, den))
        return cls(a[:, None], b[:, None], False, share) if a.ndim == 1 else cls(a, b, True, share)

    @classmethod
    def mean(cls, values: np.ndarray) -> Ratio:
        """The mean over rows of (n,) or (n, k)."""
        table = np.asarray(values, dtype=float)
        return cls.of(table, np.ones_like(table))

    def by_task(self, task_of_row: np.ndarray) -> Ratio:
        """Rows of the same task added up; `task_of_row` (n_rows,) counts tasks from 0."""
        size = int(task_of_row.max()) + 1 if len(task_of_row) else 0
        num, den = (np.zeros((size, self.num.shape[1])) for _ in range(2))
        np.add.at(num, task_of_row, self.num)
        np.add.at(den, task_of_row, self.den)
        return Ratio(num, den, self.listed, self.share)

    @property
    def value(self) -> np.ndarray:
        """(k,), nan without a denominator."""
        return _divided(self.num.sum(0), self.den.sum(0))

    def drawn(self, weights: np.ndarray) -> np.ndarray:
        """(resamples, k) values under weights (resamples, n_tasks)."""
        return _divided(weights @ self.num, weights @ self.den)


def _divided(num: np.ndarray, den: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(den > 0, num / np.where(den > 0, den, 1), np.nan)


@lru_cache(maxsize=4)
def draws(tasks: int, resamples: int, seed: int) -> np.ndarray:
    """How often each task is drawn: (resamples, tasks), rows sum to `tasks`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=resamples).astype(float)


def interval(drawn: np.ndarray) -> np.ndarray:
    """(k, 2) percentile intervals of drawn values (resamples, k); draws without a value do not count, nan if all are."""
    tail = (1 - CONFIDENCE) / 2
    out = np.full((drawn.shape[1], 2), np.nan)
    for k in range(drawn.shape[1]):
        column = drawn[:, k][~np.isnan(drawn[:, k])]
        if len(column):
            out[k] = np.quantile(column, [tail, 1 - tail])
    return out


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(k, 2): intervals of the column means of `values` (n, k), drawing rows `resamples` times from `seed`."""
    return interval(Ratio.mean(values).drawn(draws(len(values), resamples, seed)))


def estimate(ratio: Ratio, resamples: int, seed: int) -> dict[str, Any]:
    """`value`, `ci95` and `n` (the denominator): lists where the figure is listed.

    None where there is nothing to divide by.
    """
    k = ratio.num.shape[1]
    if len(ratio.num):
        bounds = interval(ratio.drawn(draws(len(ratio.num), resamples, seed)))
        if ratio.share:
            bounds = _at_the_ends(ratio, bounds)
    else:
        bounds = np.full((k, 2), np.nan)
    n = [int(x) if float(x).is_integer() else round(float(x), 2) for x in ratio.den.sum(0)]
    return shown(ratio.value, bounds, ratio.listed) | {"n": n if ratio.listed else n[0]}


def _at_the_ends(ratio: Ratio, bounds: np.ndarray) -> np.ndarray:
    """Clopper-Pearson instead of no width at all, where a share is exactly 0 or 1; n is the tasks that count."""
    out = bounds.copy()
    for k, value in enumerate(ratio.value):
        if value in (0.0, 1.0):
            reach = 1 - ((1 - CONFIDENCE) / 2) ** (1 / max((ratio.den[:, k] > 0).sum(), 1))
            out[k] = (0.0, reach) if value == 0 else (1 - reach, 1.0)
    return out


def difference(a: Ratio, b: Ratio, resamples: int, seed: int) -> dict[str, Any]:
    """`difference` a - b with its paired `ci95`; rows of both are the same tasks in the same order."""
    weights = draws(len(a.num), resamples, seed)
    bounds = interval(a.drawn(weights) - b.drawn(weights))
    out = shown(a.value - b.value, bounds, a.listed)
    return {"difference": out["value"], "ci95": out["ci95"]}


def paired_difference(a: np.ndarray, b: np.ndarray, resamples: int, seed: int) -> dict[str, Any]:
    """Mean of a - b over tasks, both (n,), with a paired interval from `resamples` draws of `seed`."""
    return difference(Ratio.mean(a), Ratio.mean(b), resamples, seed)


def statistic(
    of: Callable[[np.ndarray], np.ndarray], tasks: int, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Value (k,) and interval (k, 2) of any figure that can be had from task weights: `of` maps (m, tasks) to (m, k)."""
    return of(np.ones((1, tasks)))[0], interval(of(draws(tasks, resamples, seed)))


def over_seeds(
    runs: Sequence[Ratio], resamples: int, seed: int, minus: Sequence[Ratio] | None = None
) -> dict[str, Any]:
    """A figure of several training runs (seeds) on the same tasks: its mean over runs, drawing runs and then tasks.

    `by_seed` lists the value of each run. With one run it is the plain bootstrap over tasks. `minus` are the same runs'
    figures to subtract, on the same tasks as `runs`, so the difference is paired in runs and in tasks. Runs may also
    have as many tasks of their own each.
    """
    rng = np.random.default_rng(seed)
    weights = draws(len(runs[0].num), resamples, seed)
    per_run = np.stack([run.drawn(weights) for run in runs])  # (seeds, resamples, k)
    values = np.stack([run.value for run in runs])
    if minus is not None:
        per_run = per_run - np.stack([run.drawn(weights) for run in minus])
        values = values - np.stack([run.value for run in minus])
    picked = rng.integers(0, len(runs), (len(runs), resamples))
    drawn = per_run[picked, np.arange(resamples)[None, :]].mean(0)
    bounds, listed = interval(drawn), runs[0].listed
    if minus is None and runs[0].share:  # all runs' tasks count where a share is 0 or everything
        num, den = (np.concatenate([getattr(run, side) for run in runs]) for side in ("num", "den"))
        bounds = _at_the_ends(Ratio(num, den, listed), bounds)
    out = shown(values.mean(0), bounds, listed)
    return out | {"by_seed": [_plain(v, listed) for v in values]}


def shown(values: np.ndarray, bounds: np.ndarray, listed: bool) -> dict[str, Any]:
    """`value` and `ci95` for JSON, from (k,) and (k, 2)."""
    ends = [None if np.isnan(pair).any() else [rounded(x) for x in pair] for pair in bounds]
    return {"value": _plain(values, listed), "ci95": ends if listed else ends[0]}


def _plain(values: np.ndarray, listed: bool) -> Any:
    out = [rounded(x) for x in values]
    return out if listed else out[0]


def rounded(x: float) -> float | None:
    """For JSON: four digits after the point, None for nan, no negative zero."""
    return None if np.isnan(x) else round(float(x), DIGITS) + 0.0
