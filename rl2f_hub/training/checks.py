"""Whether a training can happen and whether it did: for `rl2f doctor`, the stages of a run and the trainer alike.

A check raises the `UsageError` that a user is to read, so that a command prints it and the doctor lists it. Needs none
of torch, trl and datasets.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe.sections import TrainSpec
from rl2f_hub.recipe.whole import Recipe
from rl2f_hub.runtime import processes


def tell(message: str) -> None:
    """Says on standard error, once per job, what a user should know while work goes on."""
    if processes.is_main():
        print(f"note: {RL2FError(message)}", file=sys.stderr, flush=True)


def check_tasks(tasks: int, prompts: int, at: str, fix: str) -> None:
    """Refuses fewer tasks than a step asks: TRL's sampler drops what fills no step, and then no step is made.

    Args:
        at, fix: the setting that the error names, and what to change.
    Raises:
        UsageError: there are fewer `tasks` than `prompts`.
    """
    if tasks < prompts:
        raise UsageError(f"{at}: {prompts} tasks per step, and there are {tasks}: no step could be made; {fix}")


def check_training(recipe: Recipe, tasks: int, world: int) -> None:
    """Whether RL of a recipe can make its steps from `tasks` tasks on `world` processes.

    Raises:
        UsageError: the setting, its value and what to change.
    """
    prompts = recipe.train.prompts_per_step
    check_groups(recipe.train, world)
    check_tasks(tasks, prompts, "train.prompts_per_step", f"lower it to {tasks} or raise tasks.train.*.count")


def check_groups(spec: TrainSpec, world: int) -> None:
    """Refuses a step that does not divide into backward passes and processes.

    Args:
        world: processes of the job.
    Raises:
        UsageError: the setting, its value and what to change.
    """
    parts, dialogues = spec.accumulation * world, spec.prompts_per_step * spec.num_generations
    if dialogues % parts:
        among, product = f"{spec.accumulation}", "it"
        if world > 1:
            among, product = f"{among} on {world} processes", f"{world} times it"
        raise UsageError(
            f"train.accumulation: {among} does not divide the {dialogues} dialogues of a step (prompts_per_step x "
            f"num_generations); choose a number so that {product} divides {dialogues}"
        )
    if spec.resample_rounds and spec.prompts_per_step % world:
        raise UsageError(
            f"train.resample_rounds: with {world} processes it needs whole groups in each, and prompts_per_step "
            f"{spec.prompts_per_step} does not divide among them; make it a multiple of {world} or set resample_rounds to 0"
        )


def check_solved(solved: int, dialogues: int) -> None:
    """Says after generation that nothing was solved: a warm-up on solved dialogues has no row, and RL may have no reward."""
    if dialogues and not solved:
        tell(
            f"generate: none of {dialogues} dialogues was solved: `warmup.rows: solved` has nothing to learn, and RL learns "
            "only where some dialogues earn more than others; use easier tasks, a stronger student or rows: all"
        )


def untrained(result: Mapping[str, Any]) -> str | None:
    """Why the adapter of a training is not what its name says; None where it is.

    Args:
        result: a training's entry in the outputs of the stage `train`.
    """
    if not result.get("steps"):
        return str(result.get("note", "it made no update"))
    if result.get("rewarded_batches", 1) == 0:
        return f"in {result['steps']} updates no two dialogues about one task earned different rewards"
    return None
