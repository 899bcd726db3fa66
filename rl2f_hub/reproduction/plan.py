"""Which runs a reproduction consists of: seeds, sizes, variants, and who plays which suites. Plain data, nothing runs.

Every (seed, size) has a part `main`. Variants change one thing about its RL and share all that comes before: the base,
the published dialogues and the warm-up. All students of a seed are examined on the same tasks by the same teacher,
the one of `main`, whatever they were trained with.

Left out: RL of the largest size, which serves as a base to compare with only, and variants at more than one size.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import Recipe, load_recipe

Family = Literal["scratch", "smollm2"]
UP_TO_WARMUP = ("base", "generate", "publish", "warmup")
ALL: tuple[str, ...] = (*UP_TO_WARMUP, "train")
# Shapes of about 0.1, 1 and 10 million parameters: more width rather than layers, which a CPU computes faster. The smallest
# needs many steps: with 1,800 (and four heads) 150 updates of RL got nowhere in a development run. The others get what
# three hours on two old cores have time for. RL too: in development runs on one seed apart from 1 to 3 (0.1M, 240 tasks, from
# 4.2 % at turn 1) 300 updates of 5 prompts at a rate of 4e-3 reached 10.0 % at turn 4, and 300 of 10 at 2e-3 11.2 %.
SIZES: dict[str, dict[str, Any]] = {
    "0.1M": {"hidden": 48, "layers": 3, "heads": 3, "intermediate": 128, "steps": 5000},
    "1M": {"hidden": 160, "layers": 4, "heads": 5, "intermediate": 320, "steps": 1600},
    "10M": {"hidden": 384, "layers": 5, "heads": 6, "intermediate": 1152, "steps": 240},
}
RL_STEPS = {"0.1M": 300, "1M": 120}  # of all kinds of RL; the largest size has none
# What each variant changes in the recipe of `main`; a leak rate of 0.3 is a careless teacher, 1 the leaked control.
VARIANTS: dict[str, dict[str, Any]] = {
    "no-critique": {"train.critique": "off"},
    "doubts": {"teacher.doubt_rate": 0.3},
    "guarded": {"teacher.kind": "careless", "teacher.rate": 0.3},
    "unguarded": {"teacher.kind": "leaked", "teacher.rate": 0.3},
    "leaked": {"teacher.kind": "leaked", "teacher.rate": 1.0},
}
QUICK: dict[str, Any] = {"generate.samples_per_task": 1}
QUICK_STEPS = {"0.1M": (1500, 80), "1M": (240, 30), "10M": (40, None)}  # of pre-training and of RL
QUICK_TASKS = {"eval": 0.25, "ood": 0.25, "pretrain": 0.4}  # shares of the tasks
BOTH = ("teacher", "try_again")
PRESSURE = ("are_you_sure", "wrong_answer", "misleading")
GOLD = 80  # dialogues of a suite that log p(reference) is taken of


@dataclass(frozen=True)
class Play:
    """Some students under some suites. `ood`: also on the families held out; `gold`: with log p(reference)."""

    students: tuple[str, ...]
    suites: tuple[str, ...]
    ood: bool = False
    gold: bool = False


@dataclass(frozen=True)
class Part:
    """One run: its place in the plan, its recipe, the stages it goes through and what is played afterwards."""

    seed: int
    size: str
    variant: str
    recipe: Recipe
    stages: tuple[str, ...]
    plays: tuple[Play, ...]

    @property
    def chain(self) -> str:
        """The folder of the parts that share a base, and with it a Hub; below the reproduction's."""
        return _chain(self.seed, self.size)

    @property
    def name(self) -> str:
        """Its folder below the reproduction's."""
        return f"{self.chain}/{self.variant}"


@dataclass(frozen=True)
class Plan:
    """A whole reproduction. `work_size` is the size at which variants are trained; `sizes` go from small to large."""

    family: Family
    quick: bool
    seeds: tuple[int, ...]
    sizes: tuple[str, ...]
    trained: tuple[str, ...]
    work_size: str
    claims: tuple[str, ...]
    parts: tuple[Part, ...]
    overrides: tuple[str, ...] = field(default=())

    def record(self) -> dict[str, Any]:
        """What `results.json` says about the settings; equal records have equal results."""
        return {
            "family": self.family,
            "quick": self.quick,
            "seeds": list(self.seeds),
            "changed_by_hand": list(self.overrides),
            "fingerprints": {part.name: part.recipe.fingerprint for part in self.parts},
        }


def make_plan(
    out: Path,
    family: Family = "scratch",
    *,
    quick: bool = False,
    seeds: Sequence[int] | None = None,
    overrides: Sequence[str] = (),
) -> Plan:
    """The plan of a reproduction whose files and embedded Hub are below `out`.

    Args:
        overrides: `a.b=value` texts that go into every recipe last, for trying the machinery out.
    Raises:
        UsageError: a seed given twice or none, or an override that a recipe refuses.
    """
    chosen = tuple(seeds) if seeds is not None else ((1,) if quick or family == "smollm2" else (1, 2, 3))
    if not chosen or len(set(chosen)) != len(chosen):
        raise UsageError(
            f"--seeds: {','.join(map(str, chosen)) or 'nothing'} is refused; name each seed once, as 1,2,3"
        )
    trained: tuple[str, ...]
    if family == "scratch":
        sizes, trained, variants, claims = tuple(SIZES), ("0.1M", "1M"), tuple(VARIANTS), tuple("123456789")
    else:
        sizes, trained, variants, claims = ("135M",), ("135M",), ("no-critique", "doubts"), tuple("1278")
    work = trained[0]
    parts: list[Part] = []
    for seed in chosen:
        for size in sizes:
            stages: tuple[str, ...] = ALL if size in trained else ("base",)
            for variant in ("main", *(variants if size == work else ())):
                recipe = _recipe(out, family, seed, size, variant, quick, work, overrides)
                parts.append(
                    Part(seed, size, variant, recipe, stages, _plays(recipe, variant, size in trained, size == work))
                )
    return Plan(family, quick, chosen, sizes, trained, work, claims, tuple(parts), tuple(overrides))


def _chain(seed: int, size: str) -> str:
    return f"seed-{seed}/{size}"


def _recipe(
    out: Path, family: Family, seed: int, size: str, variant: str, quick: bool, work: str, overrides: Sequence[str]
) -> Recipe:
    known = family == "scratch"
    stem, chain = f"reproduction-{size}-seed-{seed}", _chain(seed, size)
    sets: dict[str, Any] = {
        "name": f"{stem}-{variant}",
        "seed": seed,
        "hub.root": str(out / chain / "hub"),
        "hub.dataset": stem,
        "hub.adapter": f"{stem}-{variant}",
        "hub.base": f"{stem}-base",
        "evaluate.bootstrap": 100,  # of the stage's own summary; the claims draw more
    }
    if known:
        sets |= {f"model.scratch.{key}": value for key, value in SIZES[size].items()}
        sets["model.scratch.steps"], rl = QUICK_STEPS[size] if quick else (SIZES[size]["steps"], RL_STEPS.get(size))
        if rl is not None:
            sets["train.steps"] = rl
        if quick:
            sets |= QUICK | _fewer_tasks()
        if size != work:
            sets["train.baselines"] = ["single_turn_rl"]
    else:
        sets |= SMOLLM2 | ({"train.steps": 10} if quick else {})
    if variant != "main":
        sets |= {"train.baselines": []} | VARIANTS[variant]
    texts = [f"{key}={json.dumps(value)}" for key, value in sets.items()]
    return load_recipe("reproduction" if known else "smollm2-135m-cpu", [*texts, *overrides])


# The short form on a real model, on the shipped recipe's tasks: a few turns, the baselines that the claims need.
SMOLLM2: dict[str, Any] = {
    "train.baselines": ["single_turn_rl"],
    "evaluate.max_turns": 4,
    "evaluate.sampled": True,
    "evaluate.critique": "asked",
    "evaluate.critique_tokens": 32,
}


def _fewer_tasks() -> dict[str, Any]:
    recipe = load_recipe("reproduction")
    assert recipe.model.scratch is not None
    sources = {
        "eval": ("tasks.eval", recipe.tasks.eval),
        "ood": ("tasks.ood", recipe.tasks.ood),
        "pretrain": ("model.scratch.tasks", recipe.model.scratch.tasks),
    }
    return {
        f"{key}.{i}.count": max(1, int(source.count * QUICK_TASKS[split]))
        for split, (key, listed) in sources.items()
        for i, source in enumerate(listed)
    }


def _plays(recipe: Recipe, variant: str, trained: bool, works: bool) -> tuple[Play, ...]:
    if variant == "no-critique":
        return (Play(("rl2f",), ("teacher", "resample", "autodidact")),)
    if variant == "doubts":
        return (Play(("rl2f",), ("teacher", "are_you_sure", "wrong_answer", "misleading")),)
    if variant != "main":
        return (Play(("rl2f",), ("teacher", "leaked")),)
    if not trained:
        return (Play(("base",), BOTH),)
    ood = works and bool(recipe.model.scratch)  # what claim 4 reads
    others = tuple(name for name in recipe.students if name not in ("base", "rl2f"))
    plays: tuple[Play, ...] = (Play(("base", "rl2f"), BOTH, ood, works), Play(others, BOTH, ood))
    if works:
        plays += (
            Play(("base", "rl2f"), (*PRESSURE, "leaked")),
            Play(("rl2f",), ("shuffled", "resample", "autodidact")),
        )
    return plays


def examined(part: Part, play: Play, teacher: Any) -> Recipe:
    """The recipe that a play goes by: the part's own, with the teacher of `main` and only the tasks that it asks for."""
    recipe = part.recipe
    tasks = recipe.tasks if play.ood else recipe.tasks.model_copy(update={"ood": []})
    gold = min(recipe.evaluate.gold_tasks or GOLD, GOLD) if play.gold else 0
    evaluate = recipe.evaluate.model_copy(update={"gold_tasks": gold})
    return recipe.model_copy(update={"tasks": tasks, "evaluate": evaluate, "teacher": teacher})
