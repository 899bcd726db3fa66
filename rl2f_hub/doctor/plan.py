"""Checks of a recipe: its keys for the trainer, its model, template, tasks and teacher, and whether it fits."""

from __future__ import annotations

import os
from dataclasses import fields

from rl2f_hub.doctor import Asked, Check, Report, Status
from rl2f_hub.doctor.memory import GIB, PROMPT_TOKENS, Device, estimate
from rl2f_hub.errors import RL2FError, did_you_mean
from rl2f_hub.recipe import Recipe

TIGHT = 0.9  # of the memory: fragments and kernels' own memory are not in the estimate


def batches(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    """What must divide what, counted as the trainer will."""
    spec, n = recipe.train, asked.processes
    dialogues = spec.prompts_per_step * spec.num_generations
    parts = spec.accumulation * n
    out = []
    if dialogues % parts:
        fix = "change train.prompts_per_step, train.num_generations or train.accumulation so that it divides"
        of = f"{spec.accumulation} passes" + (f" on {n} processes" if n > 1 else "")
        out.append(Check("groups", "fail", f"{dialogues} dialogues a step do not divide into {of}", fix))
    tasks = sum(source.count for source in recipe.tasks.train)
    if tasks < spec.prompts_per_step:
        fix = f"lower train.prompts_per_step to {tasks} or raise tasks.train.*.count"
        out.append(Check("groups", "fail", f"{tasks} training tasks, {spec.prompts_per_step} prompts a step", fix))
    found = f"{spec.prompts_per_step} groups of {spec.num_generations}, {dialogues // parts} dialogues a backward pass"
    return out or [Check("groups", "ok", found)]


def trainer_keys(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    from rl2f_hub.training.trainer import RL2FConfig

    recipe.check_trainable()
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
        found, _, fix = str(error).partition("; ")
        return [Check("template", "warn", f"not looked at: {found}", fix)]
    chat = ChatFormat(tokenizer, recipe.dialogue.thinking)
    found = "turns can be appended" + (
        "; thinking of earlier attempts is kept by choice" if chat.drops_thinking else ""
    )
    return [Check("template", "ok", found)]


def tasks(recipe: Recipe, asked: Asked, report: Report) -> list[Check]:
    """The first task of every source, and the sandbox where code is judged."""
    from rl2f_hub.tasks import request_for, stream

    out, code = [], False
    for split in ("train", "eval", "ood"):
        for number, source in enumerate(getattr(recipe.tasks, split)):
            at = f"tasks.{split}[{number}]"
            try:
                first = next(stream(request_for(source, at, recipe.seed, split)), None)
            except RL2FError as error:
                found, _, fix = str(error).partition("; ")
                out.append(Check("tasks", "fail", found, fix))
                continue
            if first is None:
                out.append(Check("tasks", "fail", f"{at}: {source.source} has no tasks", "check split and where"))
                continue
            code |= first.verifier == "unit_tests"
    if not out:
        count = len(recipe.tasks.train) + len(recipe.tasks.eval) + len(recipe.tasks.ood)
        out.append(Check("tasks", "ok", f"{count} sources give tasks"))
    return [*out, *(_sandbox() if code else [])]


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
    ("groups", batches),
    ("train.grpo", trainer_keys),
    ("template", template),
    ("tasks", tasks),
    ("teacher", teacher),
    ("memory", memory),
]
