"""Will it learn? What a student's dialogues hold for RL to reinforce, measured in minutes before hours are spent.

On some training tasks the student (the warm-up if it is there, else the base) plays greedily with the teacher, with "try
again" and with shuffled feedback, and samples groups of dialogues with the teacher as an update of RL would. From that:

- `unequal`: share of groups whose returns differ. A group of equal returns has no gradient.
- `unequal_first`: share of groups whose first attempts differ in being right: all that single-turn RL has.
- `reads`: solved with the teacher minus solved with the better control, sampled, at the last turn; and how much likelier
  feedback makes the right answer than shuffled feedback does (nats, from the suites' `gold_logp`).
- `repeats`: share of greedy attempts after a wrong one that repeat it word for word.

`advise` turns the figures into a verdict: a forecast with stated bounds, not a proof. Left out: whether the gain will
carry over to other tasks, and how many updates it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from rl2f_hub.dialogue.runner import Student
from rl2f_hub.evaluation.metrics import solved_by_turn
from rl2f_hub.evaluation.plasticity import changes
from rl2f_hub.evaluation.suites import Settings, play
from rl2f_hub.records import Task
from rl2f_hub.training.credit import dialogue_returns

SUITES = ("teacher", "try_again", "shuffled")
Rows = list[dict[str, Any]]
ENOUGH_GROUPS = (
    0.1  # below this share of unequal groups RL has next to nothing: 24 of 30 equal gained nothing on SmolLM2
)
READS = 0.05  # solved with the teacher must be this far above the controls
SOLVED = 0.9  # above this nothing is left to learn


@dataclass(frozen=True)
class Headroom:
    """The figures; shares from 0 to 1. `greedy` and `sampled`: suite -> solved by turn 1, 2, ..."""

    tasks: int
    group: int
    greedy: dict[str, list[float]]
    sampled: dict[str, list[float]]
    unequal: float
    unequal_first: float
    repeats: float
    gold: dict[str, float | None]  # suite -> mean change of log p(reference) over an exchange, nats

    @property
    def reads(self) -> float:
        """Solved with the teacher minus solved under the better control: sampled, last turn."""
        return self.sampled["teacher"][-1] - max(self.sampled[suite][-1] for suite in SUITES[1:])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"reads": round(self.reads, 4), **advise(self)}


def measure_headroom(
    student: Student,
    tasks: Sequence[Task],
    settings: Settings,
    *,
    temperature: float,
    discount: float,
    group: int,
    seed: int,
    advance: Callable[[int, str], None] = lambda count, note: None,
) -> Headroom:
    """Play and count.

    Args:
        settings: limits, teacher and rules; decoding is set here.
        temperature: of the sampled dialogues, as in training.
        discount: of the returns, as in training.
        group: dialogues per task, as in training; each has a seed of its own.
        advance: called with the number of dialogues just played and what they were.
    """

    def played(suite: str, heat: float, number: int) -> Rows:
        now = replace(settings, temperature=heat, plays_on=False, gold_tasks=0 if heat else len(tasks))
        rows = play(suite, tasks, student, now, seed + number)
        advance(len(rows), f"{suite}, {'sampled' if heat else 'greedy'}")
        return rows

    greedy = {suite: played(suite, 0.0, 0) for suite in SUITES}
    groups = [played("teacher", temperature, number) for number in range(1, group + 1)]
    sampled = {"teacher": [row for rows in groups for row in rows]}
    sampled |= {suite: played(suite, temperature, 1) for suite in SUITES[1:]}
    solved = np.array([[row["solved_at"] for row in rows] for rows in groups])  # (group, tasks)
    returns = np.array([dialogue_returns(list(row), discount) for row in solved])
    return Headroom(
        tasks=len(tasks),
        group=group,
        greedy={suite: _by_turn(rows, settings.max_turns) for suite, rows in greedy.items()},
        sampled={suite: _by_turn(rows, settings.max_turns) for suite, rows in sampled.items()},
        unequal=_share_unequal(returns),
        unequal_first=_share_unequal((solved == 1).astype(float)),
        repeats=_repeats(greedy["teacher"]),
        gold={suite: _gold(greedy[suite], settings.max_turns) for suite in ("teacher", "shuffled")},
    )


def advise(h: Headroom) -> dict[str, Any]:
    """`verdict` (`rl2f`, `single_turn`, `nothing`, `unread` or `solved`), `because`, and `change`: what would help."""
    first, last = h.sampled["teacher"][0], h.sampled["teacher"][-1]
    if h.greedy["teacher"][0] >= SOLVED:
        return _said("solved", f"{h.greedy['teacher'][0]:.0%} are solved at turn 1", "take harder tasks")
    if h.unequal < ENOUGH_GROUPS:
        why = f"only {h.unequal:.0%} of the groups of {h.group} have unequal returns"
        if last < 0.5:
            return _said(
                "nothing",
                why,
                "take easier tasks, a teacher that says more, or warm up on solved dialogues; larger groups",
            )
        return _said("nothing", why, "take harder tasks, or sample at a higher temperature")
    if h.unequal_first >= 0.5 * h.unequal and last - first < READS:
        return _said(
            "single_turn",
            f"first attempts differ in {h.unequal_first:.0%} of the groups, and later turns add {last - first:.0%}",
            "single-turn RL would do as well; for RL2F take tasks that are hard at turn 1",
        )
    if h.reads < READS:
        return _said(
            "unread",
            f"with the teacher {last:.0%} are solved, {h.reads:+.0%} beside the better control",
            "the student does not use the words: other phrasing, a stronger teacher, or a warm-up that heeds feedback",
        )
    more = (
        " Single-turn RL has something to reinforce too: compare with it." if h.unequal_first >= ENOUGH_GROUPS else ""
    )
    return _said(
        "rl2f",
        f"{h.unequal:.0%} of the groups have unequal returns, and the teacher is worth {h.reads:+.0%} beside the controls",
        f"nothing.{more}",
    )


def _said(verdict: str, because: str, change: str) -> dict[str, Any]:
    return {"verdict": verdict, "because": because, "change": change}


def _by_turn(rows: Rows, turns: int) -> list[float]:
    return [round(float(x), 4) for x in solved_by_turn([row["solved_at"] for row in rows], turns).mean(0)]


def _share_unequal(values: np.ndarray) -> float:
    """Share of columns of a (group, tasks) array whose values are not all equal."""
    return round(float((values != values[:1]).any(0).mean()), 4)


def _repeats(rows: Rows) -> float:
    later = [(a["attempt"], b["attempt"]) for row in rows for a, b in zip(row["turns"], row["turns"][1:], strict=False)]
    return round(sum(a.strip() == b.strip() for a, b in later) / max(len(later), 1), 4)


def _gold(rows: Rows, turns: int) -> float | None:
    value, known = changes(rows, turns)
    return round(float(value.sum() / known.sum()), 4) if known.any() else None
