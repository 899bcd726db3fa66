"""What RL would have to reinforce: figures counted from dialogues, and the forecast made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rl2f_hub.evaluation.headroom import Headroom, advise, measure_headroom
from rl2f_hub.evaluation.suites import Settings
from rl2f_hub.records import Task

SOME = Headroom(
    tasks=50,
    group=4,
    greedy={"teacher": [0.1, 0.3, 0.4], "try_again": [0.1, 0.1, 0.1], "shuffled": [0.1, 0.15, 0.2]},
    sampled={"teacher": [0.1, 0.3, 0.4], "try_again": [0.1, 0.12, 0.15], "shuffled": [0.1, 0.2, 0.2]},
    unequal=0.6,
    unequal_first=0.05,
    repeats=0.5,
    gold={"teacher": 0.4, "shuffled": 0.1},
)


def sampled(*teacher: float, others: float = 0.0) -> dict[str, list[float]]:
    return {"teacher": list(teacher), "try_again": [others] * 3, "shuffled": [others] * 3}


@pytest.mark.parametrize(
    ("changes", "verdict", "named"),
    [
        ({}, "rl2f", "nothing."),
        ({"unequal_first": 0.3}, "rl2f", "compare with it"),
        ({"greedy": {**SOME.greedy, "teacher": [0.95, 1.0, 1.0]}}, "solved", "harder"),
        ({"unequal": 0.05, "sampled": sampled(0.0, 0.0, 0.01)}, "nothing", "easier"),
        ({"unequal": 0.05, "sampled": sampled(0.8, 0.9, 0.95)}, "nothing", "harder"),
        ({"unequal_first": 0.5, "sampled": sampled(0.4, 0.42, 0.43)}, "single_turn", "hard at turn 1"),
        ({"sampled": sampled(0.1, 0.3, 0.4, others=0.38)}, "unread", "does not use the words"),
    ],
)
def test_the_forecast_follows_from_the_figures(changes: dict[str, Any], verdict: str, named: str) -> None:
    said = advise(replace(SOME, **changes))
    assert said["verdict"] == verdict and named in said["change"]


def test_figures_are_counted_from_dialogues(saying: Any, make_task: Callable[..., Task]) -> None:
    tasks = [make_task(i, "408") for i in range(4)]
    settings = Settings(max_turns=3, turn_tokens=12)
    asked: list[str] = []

    def measured(student: Any) -> Headroom:
        return measure_headroom(
            student, tasks, settings, temperature=1.0, discount=0.7, group=3, seed=1,
            advance=lambda count, note: asked.append(note),
        )  # fmt: skip

    heeding = measured(saying(["111", "408"]))
    assert heeding.greedy["teacher"] == [0.0, 1.0, 1.0] and heeding.unequal == 0.0 and heeding.repeats == 0.0
    assert asked.count("teacher, sampled") == 3 and len(asked) == 8
    stubborn = measured(saying(["111"]))
    assert stubborn.repeats == 1.0 and stubborn.sampled["teacher"][-1] == 0.0
    assert advise(stubborn)["verdict"] == "nothing"
    rounds = iter(range(1_000_000))
    moody = measured(saying(lambda row, turn: "408" if turn == 2 and next(rounds) % 3 else "111"))
    assert moody.unequal > 0 and moody.unequal_first == 0.0
