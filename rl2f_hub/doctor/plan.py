"""Checks of a recipe: its keys for the trainer, its model, template, tasks and teacher, and whether it fits."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

from rl2f_hub.doctor import Asked, Check, Report, Status, failed
from rl2f_hub.doctor.memory import GIB, PROMPT_TOKENS, Device, estimate
from rl2f_hub.errors import RL2FError, did_you_mean
from rl2f_hub.recipe import Recipe

TIGHT = 0.9  # of the memory: fragments and kernels' own memory are not in the estimate


def stages(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    """What a run asks of its recipe before it starts."""
    from rl2f_hub.pipeline import STAGES, check_stage

    errors: dict[str, RL2FError] = {}
    for stage in STAGES:
        try:
            check_stage(recipe, stage, asked.processes)
        except RL2FError as error:
            errors.setdefault(str(error), error)
    if errors:
        return [failed("stages", error) for error in errors.values()]
    spec = recipe.train
    passes = spec.prompts_per_step * spec.num_generations // (spec.accumulation * asked.processes)
    found = f"{spec.prompts_per_step} groups of {spec.num_generations} per step, {passes} dialogues per backward pass"
    return [Check("stages", "ok", found)]


def trainer_keys(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    from rl2f_hub.training.trainer import RL2FConfig

    known = [f.name for f in fields(RL2FConfig)]
    unknown = [name for name in recipe.train.grpo if name not in known]
    if unknown:
        fix = f"use a field of TRL's GRPOConfig{did_you_mean(unknown[0], known)}"
        return [Check("train.grpo", "fail", f"unknown field {unknown[0]!r}", fix)]
    return [Check("train.grpo", "ok", ", ".join(recipe.train.grpo) or "no field of GRPOConfig is set")]


def template(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    """That turns can be appended to the student's chat template."""
    from rl2f_hub.dialogue.chat_format import ChatFormat
    from rl2f_hub.doctor.model import student_tokenizer

    if recipe.model.scratch is not None:
        return [Check("template", "ok", "a student from scratch has a template made for this")]
    try:
        tokenizer = student_tokenizer(recipe.model)
    except RL2FError as error:
        if asked.model_config is None:
            raise
        why = failed("template", error)
        return [Check("template", "warn", f"not looked at: {why.found}", why.fix)]
    chat = ChatFormat(tokenizer, recipe.dialogue.thinking)
    found = "turns can be appended" + (
        "; thinking of earlier attempts is kept by choice" if chat.drops_thinking else ""
    )
    return [Check("template", "ok", found)]


def tasks(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    """All tasks, loaded as the run will load them, and the sandbox where code is judged."""
    from rl2f_hub.tasks import SPLITS, load_tasks, recipe_sources, recipe_tasks, request_for, stream

    out, sources = [], recipe_sources(recipe)
    for split in SPLITS:
        for number, source in enumerate(sources[split]):
            at = f"tasks.{split}[{number}]"
            try:  # the first of each, so that every source that gives none has its line
                if next(stream(request_for(source, at, recipe.seed, split)), None) is None:
                    load_tasks({split: [source]}, recipe.seed)  # says why
            except RL2FError as error:
                out.append(failed("tasks", error))
    if out:
        return out
    reports: list[dict[str, Any]] = []
    every = [task for split in recipe_tasks(recipe, reports).values() for task in split]
    bad = sum(entry.get("bad_rows", 0) for entry in reports)
    found = f"{len(every)} tasks of {len(reports)} sources" + (f", {bad} bad rows skipped" if bad else "")
    out.append(Check("tasks", "ok", found))
    return [*out, *(_sandbox() if any(task.verifier == "unit_tests" for task in every) else [])]


def _sandbox() -> list[Check]:
    from rl2f_hub.sandbox import Sandbox

    with Sandbox() as sandbox:
        if not sandbox.isolated:
            fix = "install bubblewrap; without it attempts can read and write your files"
            return [Check("sandbox", "warn", "code would run without isolation, as was allowed", fix)]
    return [Check("sandbox", "ok", "bubblewrap isolates model-written code")]


def teacher(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    """The key of an endpoint; that the endpoint answers is not asked."""
    spec = recipe.teacher.endpoint if recipe.teacher.kind == "endpoint" else None
    if spec is None:
        return [Check("teacher", "ok", recipe.teacher.kind)]
    if spec.key_env is not None and not os.environ.get(spec.key_env):
        fix = f"export {spec.key_env}=... before the run"
        return [Check("teacher", "fail", f"teacher.endpoint.key_env: {spec.key_env} is not set", fix)]
    return [
        Check(
            "teacher", "ok", f"endpoint {spec.url or spec.provider}, not asked; key from {spec.key_env or 'HF_TOKEN'}"
        )
    ]


def memory(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    """The peaks of all stages against the device's memory, or the host's."""
    from rl2f_hub.doctor.model import student_config

    device = _device(asked)
    config = student_config(recipe.model, asked.model_config)
    prompt = asked.prompt_tokens or PROMPT_TOKENS
    stages = estimate(recipe, config, device, prompt, asked.feedback_tokens)
    report.memory = [stage.to_row() for stage in stages]
    out = []
    for stage in stages:
        share = stage.total / device.memory
        status: Status = "fail" if share > 1 else "warn" if share > TIGHT else "ok"
        knob = {
            "generate": "lower generate.shard",
            "warmup": "lower warmup.batch_size",
            "train, rollouts": "lower train.prompts_per_step, or take a smaller or 4-bit model",
            "train, updates": "raise train.accumulation, or take a smaller or 4-bit model",
            "evaluate": "lower evaluate.wave",
        }[stage.name]
        found = f"{stage.name}: {stage.total / GIB:.2f} GiB of {device.memory / GIB:.1f}"
        out.append(Check("memory", status, found, "" if status == "ok" else knob))
    return out


def _device(asked: Asked) -> Device:
    import torch

    if asked.gpu_gib is not None:
        return Device(True, int(asked.gpu_gib * GIB), asked.processes)
    if torch.cuda.is_available():
        return Device(True, torch.cuda.mem_get_info()[1], asked.processes)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device(False, pages // asked.processes, asked.processes)


CHECKS = [
    ("stages", stages),
    ("train.grpo", trainer_keys),
    ("template", template),
    ("tasks", tasks),
    ("teacher", teacher),
    ("memory", memory),
]
