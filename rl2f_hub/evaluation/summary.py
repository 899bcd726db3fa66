"""From dialogue rows to the figures of `metrics.json`: one entry a suite, gains over the controls, paired comparisons.

Pure functions; the layout is written down in docs/evaluation.md and versioned by `SCHEMA`. Keys are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rl2f_hub.evaluation.intervals import difference
from rl2f_hub.evaluation.metrics import Dialogues, profile
from rl2f_hub.evaluation.plasticity import plasticity
from rl2f_hub.evaluation.self_critic import autodidact
from rl2f_hub.evaluation.suites import SUITES, full_budget
from rl2f_hub.evaluation.sycophancy import sycophancy

SCHEMA = 2
Rows = Sequence[dict[str, Any]]


def entry_of(suite: str, rows: Rows, max_turns: int, went_on: bool, resamples: int, seed: int) -> dict[str, Any]:
    """Everything about one student under one suite (without the prefix `ood_`)."""
    entry = profile(rows, max_turns, went_on, resamples, seed)
    if SUITES[suite].pressure:
        entry |= sycophancy(rows, max_turns, resamples, seed)
    if suite == "autodidact":
        entry |= autodidact(rows, max_turns, resamples, seed)
    if (changed := plasticity(rows, max_turns, resamples, seed)) is not None:
        entry["plasticity"] = changed
    entry["by_source"] = by_source(rows, max_turns)
    entry["by_seed"] = by_seed(rows, max_turns)
    return entry


def by_source(rows: Rows, max_turns: int) -> dict[str, Any]:
    """Cumulative accuracy by turn of each task source."""
    out: dict[str, Any] = {}
    for source in sorted({row["source"] for row in rows}):
        d = Dialogues.read([row for row in rows if row["source"] == source], max_turns)
        out[source] = {"n": len(d.tasks), "acc_at_turn": [round(float(x), 4) for x in d.cumulative.mean(0)]}
    return out


def by_seed(rows: Rows, max_turns: int) -> dict[str, list[float]]:
    """Cumulative accuracy by turn of each seed of the evaluation."""
    out: dict[str, list[float]] = {}
    for seed in sorted({row["seed"] for row in rows}):
        d = Dialogues.read([row for row in rows if row["seed"] == seed], max_turns)
        out[str(seed)] = [round(float(x), 4) for x in d.cumulative.mean(0)]
    return out


def gains(suites: Mapping[str, Rows], max_turns: int, resamples: int, seed: int) -> dict[str, Any]:
    """What the teacher's words were worth to one student, paired over tasks, from the rows of its suites.

    - `over_<control>`: cumulative accuracy with the teacher minus that under the control, by turn. For `resample` that
      is at equal calls: t attempts against t attempts, both stopped by the oracle.
    - `over_resample_at_equal_tokens`: solved within the same number of tokens (written and heard), at the budget of a
      dialogue that used all its turns. The budget is one for all tasks: what a solved dialogue happened to use would
      favour the dialogue. `short` are the shares on either side that ended unsolved below the budget.
    - `over_resample_without_format`: the same as at equal calls, without what was gained by form alone.
    """
    if "teacher" not in suites:
        return {}
    out: dict[str, Any] = {}
    for control in ("try_again", "resample", "shuffled", "leaked"):
        if control in suites:
            a, b = _shared(suites["teacher"], suites[control], max_turns)
            out[f"over_{control}"] = difference(a.mean(a.cumulative), b.mean(b.cumulative), resamples, seed)
    if "resample" in suites:
        out["over_resample_without_format"] = _without_format(suites, max_turns, resamples, seed)
        if (tokens := _at_equal_tokens(suites, max_turns, resamples, seed)) is not None:
            out["over_resample_at_equal_tokens"] = tokens
    return out


def _without_format(suites: Mapping[str, Rows], max_turns: int, resamples: int, seed: int) -> dict[str, Any]:
    """Gain at the last turn with dialogues left out of both sides whose first attempt had no readable answer."""
    a, b = _shared(suites["teacher"], suites["resample"], max_turns)
    read = (~a.unanswered[:, 0]).astype(float)
    other = (~b.unanswered[:, 0]).astype(float)
    both = a.ratio(a.cumulative[:, -1] * read, read), b.ratio(b.cumulative[:, -1] * other, other)
    return difference(*both, resamples, seed)


def _at_equal_tokens(suites: Mapping[str, Rows], max_turns: int, resamples: int, seed: int) -> dict[str, Any] | None:
    budget = full_budget(suites["teacher"], max_turns)
    most = max((len(row["turns"]) for row in suites["resample"]), default=0)
    if budget is None or not most:
        return None
    a, _ = _shared(suites["teacher"], suites["resample"], max_turns)
    _, b = _shared(suites["teacher"], suites["resample"], most)
    if np.isnan(a.tokens).any() or np.isnan(b.tokens).any():
        return None
    found = difference(a.budget(budget), b.budget(budget), resamples, seed)
    return {"tokens": budget, **found, "short": [round(a.short_of(budget), 4), round(b.short_of(budget), 4)]}


def _shared(one: Rows, other: Rows, max_turns: int) -> tuple[Dialogues, Dialogues]:
    """Both sides on the tasks that both have, in the same order."""
    known = {row["task_id"] for row in one} & {row["task_id"] for row in other}
    sides = [sorted((r for r in rows if r["task_id"] in known), key=lambda r: r["task_id"]) for rows in (one, other)]
    return Dialogues.read(sides[0], max_turns), Dialogues.read(sides[1], max_turns)


def versus(
    students: Mapping[str, Mapping[str, Rows]], max_turns: int, resamples: int, seed: int, went_on: Mapping[str, bool]
) -> dict[str, Any]:
    """Every later student against the first, suite by suite, paired over tasks: `<name>_minus_<first>`.

    `cumulative` by turn; `final` where dialogues went on; `plasticity` where it was measured.
    """
    first, *rest = students
    out: dict[str, Any] = {}
    for name in rest:
        entry: dict[str, Any] = {}
        for suite in (s for s in students[name] if s in students[first]):
            a, b = _shared(students[name][suite], students[first][suite], max_turns)
            if not a.tasks:
                continue
            entry[suite] = {"cumulative": difference(a.mean(a.cumulative), b.mean(b.cumulative), resamples, seed)}
            if went_on[suite]:
                entry[suite]["final"] = difference(a.mean(a.standing), b.mean(b.standing), resamples, seed)
        out[f"{name}_minus_{first}"] = entry
    return out
