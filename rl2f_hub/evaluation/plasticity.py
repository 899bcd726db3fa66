"""Plasticity: how much likelier does feedback make the right answer? Paper: arXiv 2602.16066.

Before every attempt the student is asked how likely the reference would be as its next words. The change over one
exchange (attempt and feedback) is what that feedback did. Sums over the reference's tokens in nats, so long references
move more; the mean is over exchanges after wrong attempts. Tasks without a written reference, games, references of more
than `MAX_GOLD` tokens and conversations that were retold (`history: drop_oldest`) are left out and counted as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rl2f_hub.engines.score import can_score, log_likelihoods
from rl2f_hub.evaluation.intervals import Ratio, estimate
from rl2f_hub.records import Task
from rl2f_hub.verify import verifier_of

if TYPE_CHECKING:
    from rl2f_hub.dialogue.runner import Rollout, Student

MAX_GOLD = 64


def gold_of(task: Task) -> str:
    """The right answer as a student would write it; empty where there is none to write."""
    return "" if verifier_of(task).answers_itself else task.privilege.reference.rsplit("####", 1)[-1].strip()


def gold_logps(student: Student, rollouts: Sequence[Rollout]) -> list[list[float | None]]:
    """For each dialogue, log p(reference) in nats before each of its attempts; None where it cannot be had."""
    out: list[list[float | None]] = [[None] * len(r.turns) for r in rollouts]
    if not can_score(student.engine):
        return out
    places, pairs = [], []
    for i, rollout in enumerate(rollouts):
        gold = student.chat.encode(gold_of(rollout.task))
        if rollout.forked or not 0 < len(gold) <= MAX_GOLD:
            continue
        for span in rollout.ledger.spans:
            if span.role == "student" and span.turn <= len(rollout.turns):
                places.append((i, span.turn - 1))
                pairs.append((rollout.ledger.ids[: span.start], gold))
    for (i, t), value in zip(places, log_likelihoods(student.engine, pairs), strict=True):
        out[i][t] = None if np.isnan(value) else round(value, 4)
    return out


def changes(rows: Sequence[dict[str, Any]], max_turns: int) -> tuple[np.ndarray, np.ndarray]:
    """Two (n, max_turns - 1) arrays: the change of log p(reference) over exchange t, and whether it was measured.

    Measured are exchanges after wrong attempts with feedback, where both sides are known.
    """
    value, known = (np.zeros((len(rows), max(max_turns - 1, 1))) for _ in range(2))
    for i, row in enumerate(rows):
        turns = row["turns"][:max_turns]
        for t in range(len(turns) - 1):
            before, after = turns[t].get("gold_logp"), turns[t + 1].get("gold_logp")
            if before is not None and after is not None and not turns[t]["correct"] and turns[t]["feedback"]:
                value[i, t], known[i, t] = after - before, 1
    return value, known


def plasticity(rows: Sequence[dict[str, Any]], max_turns: int, resamples: int, seed: int) -> dict[str, Any] | None:
    """`by_turn` and `overall` mean change in nats with intervals over tasks; None where nothing was measured."""
    value, known = changes(rows, max_turns)
    if not known.any():
        return None
    names = {name: i for i, name in enumerate(dict.fromkeys(row["task_id"] for row in rows))}
    task = np.array([names[row["task_id"]] for row in rows])
    return {
        "by_turn": estimate(Ratio.of(value, known, False).by_task(task), resamples, seed),
        "overall": estimate(Ratio.of(value.sum(1), known.sum(1), False).by_task(task), resamples, seed),
    }
