"""A whole recipe: what its sections must agree on, and its fingerprint.

The fingerprint covers everything that can change a result; where things are stored does not count.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.base import Positive, Spec
from rl2f_hub.recipe.sections import (
    DialogueSpec,
    EngineSpec,
    EvaluateSpec,
    GenerateSpec,
    HubSpec,
    ModelSpec,
    TrainSpec,
    WarmupSpec,
)
from rl2f_hub.recipe.task_sections import TasksSpec
from rl2f_hub.recipe.teacher_sections import TeacherSpec
from rl2f_hub.records import fingerprint


class Recipe(Spec):
    """A whole run. Its keys: docs/recipe-reference.md, which is made of these classes.

    A recipe whose first key is `extends: <name>` says only what differs from that recipe, a shipped one or a file in the
    same folder: sections merge key by key; lists and plain values replace the other's.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # also names the run's folder
    description: str = ""  # one sentence, for `rl2f recipes list`
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # of tasks, sampling and training
    threads: Positive | None = None  # CPU threads of torch; None: all cores
    hub: HubSpec
    model: ModelSpec
    tasks: TasksSpec
    teacher: TeacherSpec = TeacherSpec()
    dialogue: DialogueSpec = DialogueSpec()
    engine: EngineSpec = EngineSpec()
    generate: GenerateSpec = GenerateSpec()
    warmup: WarmupSpec = WarmupSpec()
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.model.id is None and self.hub.base is None:
            raise ValueError(
                "hub.base: missing; a student from scratch or from a wheel needs a repository for its base"
            )
        if self.engine.kind == "vllm" and self.model.quantization != "none":
            raise ValueError(
                "engine.kind: vllm takes no nf4 base here; set model.quantization none or engine.kind transformers"
            )
        if self.engine.kind == "vllm" and self.train.adapter == "stack":
            raise ValueError(
                "train.adapter: stack trains on a merged base, which engine.kind vllm does not hold; set continue"
            )
        if self.evaluate.max_turns < self.dialogue.max_turns:
            raise ValueError(
                f"evaluate.max_turns: {self.evaluate.max_turns} is below dialogue.max_turns {self.dialogue.max_turns}"
            )
        return self

    def check_trainable(self) -> None:
        """Refuses what generation and evaluation allow and RL does not.

        Raises:
            UsageError: `thinking: strip`, `history: drop_oldest` or an engine that draws nothing.
        """
        if self.engine.kind == "continuous":
            raise UsageError(
                "engine.kind: continuous is greedy only, and training samples; set transformers, or leave out the stage "
                "train (--only)"
            )
        for key, refused, allowed in (("thinking", "strip", "keep"), ("history", "drop_oldest", "stop")):
            if getattr(self.dialogue, key) == refused:
                raise UsageError(
                    f"dialogue.{key}: {refused} is for generation and evaluation only: attempts are not trained on the "
                    f"context that they were sampled from; set {allowed}, or leave out the stage train (--only)"
                )

    def check_pushable(self) -> None:
        """Refuses a base that an adapter on the Hub could not name.

        Raises:
            UsageError: `model.id` is a folder.
        """
        name = self.model.id
        if name is not None and (Path(name).expanduser().exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+|[\w-]+", name)):
            raise UsageError(
                f"model.id: {name!r} is a folder of this machine, and nobody could load an adapter that names it; push the "
                "base to the Hub and give its id, or leave out the stage push (--only)"
            )

    @property
    def students(self) -> tuple[str, ...]:
        """Names of the students of a run, in the order of its tables: what is compared with RL2F, then RL2F."""
        return ("base", "warmup", *self.train.baselines, "rl2f")

    @property
    def fingerprint(self) -> str:
        """Equal for recipes that must give equal results."""
        dumped = self.model_dump(mode="json", exclude={"hub", "description", "name"})
        return fingerprint([_without_unset(dumped)])[:16]


LATER = frozenset(
    {"aliases", "fold", "thinking_marks"}
)  # keys younger than the first fingerprints: unset they change none


def _without_unset(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_unset(value) for key, value in node.items() if not (key in LATER and value is None)}
    return [_without_unset(value) for value in node] if isinstance(node, list) else node
