"""The reproduction's plan, verdicts and page, without any training: tests/e2e/test_reproduction.py runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl2f_hub.errors import UsageError
from rl2f_hub.evaluation.intervals import Ratio, over_seeds
from rl2f_hub.recipe import load_recipe
from rl2f_hub.reproduction.claims import above, below
from rl2f_hub.reproduction.page import read_results, readme
from rl2f_hub.reproduction.plan import SIZES, Play, examined, make_plan
from rl2f_hub.reproduction.work import prepare

FOLDER = Path(__file__).parents[1] / "recipes" / "reproduction"


def test_the_committed_page_is_what_its_results_give() -> None:
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == readme(read_results(FOLDER))


def test_committed_results_are_of_the_whole_plan() -> None:
    """Nothing shrunken, quick or changed by hand is ever shown as the result."""
    for value in read_results(FOLDER).values():
        assert not value["plan"]["quick"] and not value["plan"]["changed_by_hand"]


def test_variants_differ_from_main_in_what_they_are_named_for(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert plan.seeds == (1, 2, 3)
    same = ("model", "tasks", "dialogue", "generate", "warmup", "evaluate", "seed", "engine")
    main = next(p for p in plan.parts if p.variant == "main" and p.size == plan.work_size).recipe
    for part in (p for p in plan.parts if p.seed == 1 and p.size == plan.work_size and p.variant != "main"):
        mine, theirs = part.recipe.model_dump(), main.model_dump()
        assert {k: mine[k] for k in same} == {k: theirs[k] for k in same}
        changed = {k for k in mine["train"] if mine["train"][k] != theirs["train"][k]} - {"baselines"}
        assert changed | {k for k in mine["teacher"] if mine["teacher"][k] != theirs["teacher"][k]}
        seen = examined(part, Play(("rl2f",), ("teacher",)), main.teacher)
        assert seen.teacher == main.teacher and not seen.tasks.ood


def test_sizes_read_the_same_lessons_and_are_as_large_as_they_say(tmp_path: Path) -> None:
    from rl2f_hub.training.pretraining.scratch import build_model, build_tokenizer

    parts = [p for p in make_plan(tmp_path, seeds=[1]).parts if p.variant == "main"]
    scratch = [p.recipe.model.scratch for p in parts]
    shape = set(SIZES["1M"])  # and the number of steps
    assert len({s.model_dump_json(exclude=shape) for s in scratch if s}) == 1
    tokenizer = build_tokenizer(["What is 12 * 34? Wrong: tens 4 too low."], 512, 64)
    for part, spec in zip(parts, scratch, strict=True):
        assert spec is not None
        model = build_model(tokenizer, spec, 0)
        words = spec.vocab - len(tokenizer)  # of the full vocabulary, which this text is too short for
        size = sum(p.numel() for p in model.parameters()) + words * spec.hidden
        assert 0.8 < size / (float(part.size.removesuffix("M")) * 1e6) < 1.25


def test_families_held_out_are_read_in_pre_training_and_never_trained_on() -> None:
    recipe = load_recipe("reproduction")
    assert recipe.model.scratch is not None
    read, trained, out = (
        {s.source for s in x} for x in (recipe.model.scratch.tasks, recipe.tasks.train, recipe.tasks.ood)
    )
    assert len(out) >= 4 and out <= read and not out & trained


def test_a_plan_refuses_seeds_given_twice_and_another_plans_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="each seed once"):
        make_plan(tmp_path, seeds=[1, 1])
    prepare(make_plan(tmp_path, seeds=[1]), tmp_path / "r", overwrite=False)
    prepare(make_plan(tmp_path, seeds=[1]), tmp_path / "r", overwrite=False)
    with pytest.raises(UsageError, match="other settings"):
        prepare(make_plan(tmp_path, seeds=[1], overrides=["train.steps=3"]), tmp_path / "r", overwrite=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("kept")
    with pytest.raises(UsageError, match="holds no reproduction"):
        prepare(make_plan(tmp_path, seeds=[1]), tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def figure(low: float | None, high: float | None, n: int = 100) -> dict[str, Any]:
    ends = None if low is None or high is None else [low, high]
    middle = None if low is None or high is None else (low + high) / 2
    return {"value": middle, "ci95": ends, "by_seed": [middle], "n": n}


@pytest.mark.parametrize(
    ("low", "high", "n", "holds", "against"),
    [
        (0.01, 0.2, 100, True, False),
        (0.0, 0.2, 100, False, False),  # touches the bound
        (-0.1, 0.2, 100, False, False),
        (-0.2, -0.1, 100, False, True),
        (0.01, 0.2, 29, False, False),  # too few tasks for any verdict
        (None, None, 0, False, False),
    ],
)
def test_a_verdict_follows_from_the_whole_interval(
    low: float | None, high: float | None, n: int, holds: bool, against: bool
) -> None:
    found = above("x", figure(low, high, n))
    assert (found["holds"], found["against"]) == (holds, against)
    if low is not None and high is not None:
        mirrored = below("x", figure(-high, -low, n))
        assert (mirrored["holds"], mirrored["against"]) == (holds, against)


def test_a_difference_over_seeds_is_paired_in_seeds_and_tasks() -> None:
    """Seeds that differ much, and a student that is always a little better: only a paired interval sees it."""
    rng = np.random.default_rng(0)
    worse = [(rng.random(200) < p).astype(float) for p in (0.1, 0.5, 0.9)]
    better = [np.where(np.arange(200) % 10 == 0, 1.0, w) for w in worse]
    pairs = [[Ratio.mean(x) for x in side] for side in (better, worse)]
    found = over_seeds(pairs[0], 500, 0, minus=pairs[1])
    assert found["ci95"][0] > 0
    assert found["value"] == pytest.approx(
        np.mean([b.mean() - w.mean() for b, w in zip(better, worse, strict=True)]), abs=1e-3
    )
    alone = over_seeds(pairs[0], 500, 0)["ci95"]
    assert alone[1] - alone[0] > 3 * (found["ci95"][1] - found["ci95"][0])


def test_a_share_of_nothing_over_seeds_is_not_certain() -> None:
    none = over_seeds([Ratio.mean(np.zeros(10)) for _ in range(3)], 200, 0)
    assert none["ci95"][0] == 0 and 0.05 < none["ci95"][1] < 0.2


def result(**claim: Any) -> dict[str, Any]:
    test = above("slope", figure(-0.2, -0.1)) | {"by_seed": [-0.15]}
    whole = {
        "statement": "Feedback helps",
        "seeds": [1],
        "n": 100,
        "table": {"columns": ["student", "turn 1"], "rows": [["base", figure(0.1, 0.2)]]},
        "tests": [test],
        "rule": "all tests",
        "holds": False,
        "contradicted": True,
        "curves": {},
    } | claim
    plan = {"family": "scratch", "quick": True, "seeds": [1], "changed_by_hand": ["a.b=c"], "fingerprints": {}}
    hardware = {"cpu": "a processor", "cores": 2, "memory_gib": 4.0}
    return {"schema": 1, "claims": {"1": whole}, "hardware": hardware, "commit": None, "wall_s": 60.0, "plan": plan}


def test_the_page_says_first_what_differs_and_what_the_run_was() -> None:
    page = readme({"scratch": result()})
    assert (
        page.index("claim 1, contradicted") < page.index("### Claim 1") < page.index("| base | 15.0 (10.0 to 20.0) |")
    )
    for words in ("A quick run", "One seed", "`a.b=c`", "a processor, 2 cores"):
        assert words in page
    assert "Not run yet" not in page and "Not run yet" in readme({})
    assert "not the paper's" not in readme({"scratch": result(holds=True, contradicted=False)})


def test_results_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="run it again"):
        read_results(tmp_path)
