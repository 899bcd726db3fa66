"""What each stage of a run depends on: its own keys of the recipe, and the stages before it.

A change of a key makes the stages that depend on it *invalid*: what they made is of another recipe. Some keys only add
work (another suite, another baseline): what was made stays, and the stage is *open* again. A key that no stage names
counts for all of them, so that a new one is never forgotten; `FREE` has those on which no result depends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rl2f_hub.records import fingerprint

STAGES = ("base", "generate", "publish", "warmup", "train", "evaluate", "push")
FREE = (
    *("name", "description", "hub", "train.save_steps"),
    *("engine.cache_tokens", "engine.overlap", "engine.memory", "engine.server"),
)
_ALL = ("seed", "threads")
_WEIGHTS = ("model.quantization", "model.dtype", "engine.kind")
_ADDED = ("train.baselines", "train.offline")  # trainings beside RL2F's, each in a folder of its own
OFFLINE = ("sft", "rejection_sft", "dpo")  # the baselines that `train.offline` is about
_SUITES = ("evaluate.suites", "evaluate.sampled", "evaluate.bootstrap")


@dataclass(frozen=True, slots=True)
class Needs:
    """Keys of the recipe (each with all that is below it) and stages; `adds`: keys that only add work; `but`: none of `keys`."""

    keys: tuple[str, ...]
    stages: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    but: tuple[str, ...] = ()


NEEDS = {  # `tasks` is no stage: they are made by the first that asks for them
    "tasks": Needs((*_ALL, "tasks", "model.scratch.tasks")),
    "base": Needs((*_ALL, "model.id", "model.revision", "model.wheel", "model.scratch"), ("tasks",)),
    "generate": Needs(
        (*_ALL, *_WEIGHTS, "generate", "dialogue", "teacher"),
        ("tasks", "base"),
        but=("dialogue.discount", "teacher.curriculum"),
    ),
    "publish": Needs((), ("generate",)),
    "warmup": Needs((*_ALL, *_WEIGHTS, "model.lora", "dialogue.thinking", "warmup"), ("publish",)),
    "train": Needs(
        (*_ALL, *_WEIGHTS, "model.lora", "dialogue", "teacher", "train"), ("warmup",), adds=_ADDED, but=_ADDED
    ),
    "evaluate": Needs(
        (*_ALL, *_WEIGHTS, "dialogue", "teacher", "train.temperature", "evaluate"),
        ("train",),
        adds=(*_SUITES, *_ADDED),
        but=_SUITES,
    ),
    "push": Needs((), ("evaluate",)),
}


@dataclass(frozen=True, slots=True)
class Change:
    """Between two recipes: `keys` that differ (key -> before, after), stages that are `invalid` and stages that are `open`."""

    keys: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    invalid: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()

    def touches(self, stage: str) -> bool:
        """Whether a key of the stage itself has changed, and not only what came before it."""
        return any(_is_own(key, NEEDS[stage]) for key in self.keys)


def stage_fingerprints(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Stage -> what is equal for recipes (`Recipe.model_dump`) that must give equal results up to it."""
    leaves = dict(_leaves(recipe))
    known = [key for needs in NEEDS.values() for key in (*needs.keys, *needs.adds)]
    rest = {key: value for key, value in leaves.items() if not _below(key, (*known, *FREE))}
    out: dict[str, str] = {}
    for stage, needs in NEEDS.items():
        own = {key: value for key, value in leaves.items() if _is_own(key, needs)}
        out[stage] = fingerprint([own, rest, [out[name] for name in needs.stages]])[:16]
    return out


def change_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    """What a recipe that was changed leaves of a run; both are `Recipe.model_dump`s."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    keys = {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}
    keys = {key: pair for key, pair in keys.items() if not _below(key, FREE)}
    then, now = stage_fingerprints(before), stage_fingerprints(after)
    invalid = {stage for stage in NEEDS if then[stage] != now[stage]}
    opened: set[str] = set()
    for stage, needs in NEEDS.items():
        if stage not in invalid and (opened & {*needs.stages} or any(_below(key, needs.adds) for key in keys)):
            opened.add(stage)
    return Change(keys, frozenset(invalid), frozenset(opened))


def _is_own(key: str, needs: Needs) -> bool:
    return _below(key, needs.keys) and not _below(key, (*needs.but, *FREE))


def _below(key: str, parents: tuple[str, ...]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _leaves(value: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything that is no mapping; a list is one value."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{at}{name}.")
        else:
            yield f"{at}{name}", inner
