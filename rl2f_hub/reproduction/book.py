"""The dialogues of a reproduction, and figures of them over tasks and seeds. No claim is made here: see `claims`.

A figure is a dictionary `{value, ci95, by_seed, n}`: the mean over seeds, with a 95 % interval that draws seeds and then
tasks. Differences are paired: both sides are of the same seeds and on the same tasks. With one seed the interval is over
tasks alone, and says nothing about another training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl2f_hub.evaluation.intervals import Ratio, over_seeds
from rl2f_hub.evaluation.metrics import Dialogues, ratios
from rl2f_hub.evaluation.plasticity import changes
from rl2f_hub.evaluation.self_critic import stops
from rl2f_hub.evaluation.stage import played
from rl2f_hub.evaluation.suites import full_budget
from rl2f_hub.evaluation.sycophancy import pressure
from rl2f_hub.reproduction.plan import Plan
from rl2f_hub.runs import Run

Figure = dict[str, Any]
Measure = Callable[[list[dict[str, Any]]], Ratio]
RESAMPLES, DRAW_SEED = 2000, 0


@dataclass(frozen=True)
class Who:
    """A student of a part under a suite."""

    student: str = "rl2f"
    suite: str = "teacher"
    size: str = ""  # empty: the size of the variants
    variant: str = "main"
    decoding: str = "greedy"


class Book:
    """All dialogues of a plan's runs, read when they are asked for."""

    def __init__(self, plan: Plan, runs: dict[str, Run]) -> None:
        self.plan, self.runs = plan, runs
        recipe = plan.parts[0].recipe
        self.trained_turns, self.turns = recipe.dialogue.max_turns, recipe.evaluate.max_turns
        self._rows: dict[tuple[Who, int], list[dict[str, Any]]] = {}

    def run(self, seed: int, who: Who) -> Run:
        return self.runs[f"seed-{seed}/{who.size or self.plan.work_size}/{who.variant}"]

    def rows(self, seed: int, who: Who) -> list[dict[str, Any]]:
        """Dialogues of one seed, in the order of their tasks' ids."""
        if (who, seed) not in self._rows:
            rows = played(self.run(seed, who), who.student, who.suite, who.decoding)
            self._rows[who, seed] = sorted(rows, key=lambda row: row["task_id"])
        return self._rows[who, seed]

    def of(self, who: Who, measure: Measure) -> Figure:
        """A figure of one student."""
        parts = [measure(self.rows(seed, who)) for seed in self.plan.seeds]
        return over_seeds(parts, RESAMPLES, DRAW_SEED) | {"n": _counted(parts)}

    def gap(self, one: Who, other: Who, measure: Measure, measure_other: Measure | None = None) -> Figure:
        """The paired difference of a figure between two students."""
        sides = [
            [m(self.rows(seed, who)) for seed in self.plan.seeds]
            for who, m in ((one, measure), (other, measure_other or measure))
        ]
        return over_seeds(sides[0], RESAMPLES, DRAW_SEED, minus=sides[1]) | {"n": _counted(sides[0])}

    # What is measured of the dialogues of one suite. Accuracies are cumulative: an oracle stops at the right attempt.

    def by_turn(self, rows: list[dict[str, Any]]) -> Ratio:
        d = Dialogues.read(rows, self.turns)
        return d.mean(d.cumulative)

    def at(self, turn: int) -> Measure:
        """Solved by a turn, counted from 1."""

        def measure(rows: list[dict[str, Any]]) -> Ratio:
            d = Dialogues.read(rows, self.turns)
            return d.mean(d.cumulative[:, turn - 1])

        return measure

    def slope(self, first: int = 1, last: int | None = None) -> Measure:
        """What the turns after `first` add up to `last` (the last turn of training if none is given)."""

        def measure(rows: list[dict[str, Any]]) -> Ratio:
            d = Dialogues.read(rows, self.turns)
            cumulative = d.cumulative.astype(float)
            return d.mean(cumulative[:, (last or self.trained_turns) - 1] - cumulative[:, first - 1])

        return measure

    def rate(self, name: str) -> Measure:
        """A rate of docs/evaluation.md by name."""
        return lambda rows: ratios(Dialogues.read(rows, self.turns), went_on=False)[name]

    def under_pressure(self, name: str) -> Measure:
        return lambda rows: pressure(rows, self.turns)[name]

    def stop(self, name: str) -> Measure:
        return lambda rows: stops(rows, self.turns)[name]

    def plasticity(self, rows: list[dict[str, Any]]) -> Ratio:
        """Change of log p(reference) an exchange after a wrong attempt, in nats."""
        value, known = changes(rows, self.turns)
        number = {task: i for i, task in enumerate(dict.fromkeys(row["task_id"] for row in rows))}
        task = np.array([number[row["task_id"]] for row in rows])
        return Ratio.of(value.sum(1), known.sum(1), False).by_task(task)

    def source(self, name: str, measure: Measure) -> Measure:
        """The same of the tasks of one source alone."""
        return lambda rows: measure([row for row in rows if row["source"] == name])

    def sources(self, who: Who) -> list[str]:
        return sorted({row["source"] for row in self.rows(self.plan.seeds[0], who)})

    def equal_budget(self, one: Who, other: Who) -> int | None:
        """Tokens that a dialogue of `one` uses when it goes unsolved through all turns, and fresh attempts reach too."""
        found = []
        for seed in self.plan.seeds:
            full = full_budget(self.rows(seed, one), self.turns)
            reached = [
                sum(turn["student_tokens"] for turn in row["turns"])
                for row in self.rows(seed, other)
                if not row["solved_at"]
            ]
            found += [full] if full is not None else []
            found += [min(reached)] if reached else []
        return int(min(found)) if found else None

    def within(self, tokens: int, turns: int | None = None) -> Measure:
        """Solved within so many tokens, written and heard."""

        def measure(rows: list[dict[str, Any]]) -> Ratio:
            most = turns or max(len(row["turns"]) for row in rows)
            return Dialogues.read(rows, most).budget(tokens)

        return measure


def _counted(parts: Sequence[Ratio]) -> int:
    """Tasks that a figure rests on, all seeds together."""
    return int(sum((part.den[:, 0] > 0).sum() for part in parts))
