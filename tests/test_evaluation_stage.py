"""The stage `evaluate` of a run from its files of dialogues: the layout that cards, summary and people read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.errors import UsageError
from rl2f_hub.evaluation import stage
from rl2f_hub.evaluation.figures import draw_accuracy
from rl2f_hub.evaluation.report import comparison_rows, repeat_rows, sampled_rows, table_rows
from rl2f_hub.evaluation.suites import Settings, play
from rl2f_hub.recipe import load_recipe
from rl2f_hub.records import Task
from rl2f_hub.runs import Run, write_rows

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart" / "recipe.yaml"
SETS = ["evaluate.suites=[teacher, try_again, resample, are_you_sure, autodidact]", "evaluate.bootstrap=200"]


@pytest.fixture
def run(tmp_path: Path, saying: Any, make_task: Callable[..., Task]) -> Run:
    """A run whose students have been played: the base repeats itself, the others hear."""
    opened = Run.open(load_recipe(RECIPE, SETS), tmp_path / "run")
    tasks = [make_task(i, "408") for i in range(6)]
    for split in ("eval", "ood"):
        write_rows(opened.dir / "tasks" / f"{split}.jsonl", [task.to_row() for task in tasks])
    for name in opened.recipe.students:
        student = saying(["111"] if name == "base" else ["111", "408"])
        for suite, _ in stage.suites_of(opened.recipe):
            for decoding in stage.decodings_of(opened.recipe, suite):
                settings = Settings(max_turns=6, turn_tokens=12, plays_on=False, critique="role")
                rows = play(suite.removeprefix("ood_"), tasks, student, settings, 8)
                write_rows(stage._file(opened, name, suite, decoding), rows)
    return opened


def test_a_run_is_summed_up_with_every_suite_and_the_keys_that_cards_read(run: Run, tmp_path: Path) -> None:
    names = list(run.recipe.students)
    result = stage.summarise(run, names, stage.suites_of(run.recipe))
    assert result["schema"] == 2
    for name in names:
        assert set(result["students"][name]) == {
            prefix + suite
            for prefix in ("", "ood_")
            for suite in ("teacher", "try_again", "resample", "are_you_sure", "autodidact")
        }
    base, ours = (result["students"][n]["teacher"] for n in ("base", "rl2f"))
    assert base["acc_at_turn"] == [0.0] * 6 and base["repeat_rate"] == 1.0
    assert ours["acc_at_turn"] == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert ours["sampled"]["acc_at_turn"] == ours["acc_at_turn"]
    assert ours["by_source"] == {"test": {"n": 6, "acc_at_turn": ours["acc_at_turn"]}}
    assert result["comparisons"]["rl2f_minus_base_last_turn"]["difference"] == 1.0
    assert result["comparisons"]["ood_rl2f_minus_base_turn_1"]["difference"] == 0.0
    assert {"over_resample", "ood_over_resample", "over_try_again"} <= set(result["gains"]["rl2f"])
    assert "critic" in result["students"]["base"]["ood_autodidact"]
    for rows in (table_rows, comparison_rows, sampled_rows, repeat_rows):
        assert len(rows(result)) > 1
    json.dumps(result, allow_nan=False)
    draw_accuracy(result, "a title", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_nothing_is_played_twice_and_no_student_is_opened_for_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(run: Run, names: list[str]) -> Any:
        assert names == []  # weights of a run that was never trained
        return ()

    monkeypatch.setattr(stage, "open_students", opened)
    files = [p for p in run.path("evaluation", "dialogues").rglob("*") if p.is_file()]
    before = {p: p.stat().st_mtime_ns for p in files}
    stage._play_and_summarise(run, list(run.recipe.students), stage.suites_of(run.recipe), "metrics.json")
    assert before and {p: p.stat().st_mtime_ns for p in files} == before
    assert run.path("evaluation", "metrics.json").is_file()


def test_a_student_that_was_not_trained_is_compared_with_nobody_and_not_pushed(tmp_path: Path) -> None:
    from rl2f_hub.hub import adapters

    def left_out(rl2f: dict[str, Any], *sets: str, warmup: int = 6) -> dict[str, str]:
        opened = Run.open(
            load_recipe(RECIPE, ["train.baselines=[single_turn_rl, dpo]", *sets]), tmp_path, overwrite=True
        )
        others = {
            "single_turn_rl": {"steps": 6, "max_turns": 1, "rewarded_batches": 0},
            "dpo": {"steps": 0, "note": "no pair"},
        }
        outputs = {"warmup": {"steps": warmup}, "train": {"rl2f": {"max_turns": 4, **rl2f}, **others}}
        for name in ("publish", "warmup", "train", "evaluate"):
            opened.manifest["stages"][name] = {"status": "done", "outputs": outputs.get(name, {})}
        found = stage.unchanged(opened)
        assert set(stage.not_trained(opened)) == {"dpo"} | ({"rl2f", "warmup"} if warmup == 0 else set())
        if "rl2f" in found:
            with pytest.raises(UsageError, match=r"^push: the adapter is the one that RL started from: .*--resume"):
                adapters._all_there(opened)
        else:
            adapters._all_there(opened)
        with pytest.raises(UsageError, match="--student: dpo was not trained: no pair"):
            stage.controls(opened, ["teacher"], ["dpo"])
        return found

    assert set(left_out({"steps": 6, "rewarded_batches": 3})) == {"single_turn_rl", "dpo"}
    assert set(left_out({"steps": 6, "rewarded_batches": 0})) == {
        "single_turn_rl",
        "dpo",
    }  # the critique term taught it
    assert set(left_out({"steps": 6, "rewarded_batches": 0}, "train.critique=off")) == {"single_turn_rl", "dpo", "rl2f"}
    assert set(left_out({"steps": 0}, warmup=0)) == {"single_turn_rl", "dpo", "rl2f", "warmup"}
