"""Whether a training can happen and did: one set of checks for doctor, run and trainer."""

from __future__ import annotations

from typing import Any

import pytest
from recorded_run import recipe

from rl2f_hub.errors import UsageError
from rl2f_hub.training.checks import check_solved, check_training, untrained


def trained(**changes: Any) -> Any:
    base = recipe()
    return base.model_copy(update={"train": base.train.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("changes", "tasks", "world", "said"),
    [
        (
            {"prompts_per_step": 16},
            12,
            1,
            r"^train\.prompts_per_step: 16 tasks per step, and there are 12: .*lower it to 12",
        ),
        (
            {"accumulation": 3},
            99,
            1,
            r"^train\.accumulation: 3 does not divide the 128 dialogues .*; choose .* that it divides 128$",
        ),
        (
            {"accumulation": 2},
            99,
            3,
            r"^train\.accumulation: 2 on 3 processes does not divide .* that 3 times it divides 128$",
        ),
        (
            {"resample_rounds": 1, "prompts_per_step": 3, "num_generations": 4},
            99,
            2,
            r"^train\.resample_rounds: with 2",
        ),
    ],
)
def test_a_step_that_cannot_be_made_is_refused(changes: dict[str, Any], tasks: int, world: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_training(trained(**changes), tasks, world)


def test_a_step_that_can_be_made_is_not_refused() -> None:
    check_training(trained(prompts_per_step=12), 12, 4)


def test_generation_says_when_nothing_was_solved(capsys: pytest.CaptureFixture[str]) -> None:
    check_solved(1, 8)
    check_solved(0, 0)
    assert capsys.readouterr().err == ""
    check_solved(0, 8)
    assert "note: generate: none of 8 dialogues was solved" in capsys.readouterr().err


def test_a_result_says_why_its_adapter_is_not_what_its_name_says() -> None:
    assert untrained({"steps": 6, "rewarded_batches": 1}) is None
    assert untrained({"steps": 6, "pairs": 4}) is None
    assert "it made no update" in str(untrained({"steps": 0}))
    assert untrained({"steps": 0, "rows": 0, "note": "nothing to learn from"}) == "nothing to learn from"
    assert "in 6 updates no two dialogues" in str(untrained({"steps": 6, "rewarded_batches": 0}))
