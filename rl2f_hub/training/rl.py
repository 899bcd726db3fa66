"""Stage `train`: RL of the warm adapter on whole dialogues, a critique phase if there is one, and the baselines.

All of them start from the same adapter. RL baselines use the same code, settings and number of updates; an update of
the single-turn baseline has as many more prompts as it takes to sample as many student tokens as RL2F did. Whatever is
finished has a `result.json` and is not done again when an interrupted stage goes on.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.runner import Student
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe import Recipe
from rl2f_hub.records import Task
from rl2f_hub.runs import Run, write_json
from rl2f_hub.runtime import processes
from rl2f_hub.students.load import engine_in_vllm, load_tokenizer
from rl2f_hub.teachers import Teacher, build_teacher, teacher_record
from rl2f_hub.teachers.controls import DoubtingTeacher
from rl2f_hub.teachers.curriculum import CurriculumTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.judging import build_judge
from rl2f_hub.training.baselines import offline_baselines
from rl2f_hub.training.checks import check_training, untrained
from rl2f_hub.training.curriculum import Curriculum
from rl2f_hub.training.phase import arguments, base_of, fit, save_adapter, trainable
from rl2f_hub.training.rows import critique_rows, repeated
from rl2f_hub.training.warmup import chat_of, fit_sft, published, published_dialogues


@dataclass(frozen=True, slots=True)
class Training:
    """One RL training: its name, what its progress bar says, how long its dialogues are and who answers in them."""

    name: str
    label: str
    max_turns: int
    prompts_per_step: int
    teacher: str | None = None  # a control's kind in place of the recipe's teacher


def train(run: Run) -> dict[str, Any]:
    """Trains `rl2f` and the recipe's baselines; returns their figures by name, with `untrained` saying why one is not."""
    run.recipe.check_trainable()
    run.outputs("warmup")
    check_training(run.recipe, len(published(run, "tasks")), processes.world())
    spec = run.recipe.train
    warm = run.path("warmup", "adapter")
    phase = spec.critique_phase if spec.critique == "separate" else None
    outputs: dict[str, Any] = {}
    start = warm
    if phase is not None and phase.when == "before":
        outputs["critique"] = _once(run, "critique", lambda: _critique_phase(run, "critique", warm))
        start = run.path("train", "critique", "adapter")
    turns, prompts = run.recipe.dialogue.max_turns, spec.prompts_per_step
    rl = Training("rl2f", "train (RL2F)", turns, prompts)
    if phase is not None and phase.when == "after":
        outputs["rl2f"] = _once(run, "rl2f", lambda: _then_critique(run, rl, start))
    else:
        outputs["rl2f"] = _once(run, "rl2f", lambda: _reinforce(run, rl, start))
    tokens, attempt = outputs["rl2f"]["student_tokens"], outputs["rl2f"]["tokens_per_attempt"]
    single = math.ceil(tokens / (spec.steps * spec.num_generations * attempt))
    by_rl = {
        "single_turn_rl": Training("single_turn_rl", "train (single-turn RL)", 1, single),
        "try_again_rl": Training("try_again_rl", 'train (RL, "try again")', turns, prompts, "try_again"),
        "shuffled_rl": Training("shuffled_rl", "train (RL, shuffled feedback)", turns, prompts, "shuffled"),
    }
    for name in spec.baselines:
        if name in by_rl:
            outputs[name] = _once(run, name, lambda name=name: _reinforce(run, by_rl[name], warm))
        else:
            baseline = offline_baselines()[name]
            outputs[name] = _once(run, name, lambda b=baseline: b(run, warm, outputs["rl2f"]))
    return outputs


def _once(run: Run, name: str, work: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The result of a training, from its file if it was finished before."""
    finished = run.path("train", name, "result.json")
    if finished.is_file():
        return json.loads(finished.read_text(encoding="utf-8"))
    result = work()
    result["untrained"] = untrained(result)
    if processes.is_main():
        write_json(finished, result)
    return result


def _critique_phase(run: Run, name: str, start: Path) -> dict[str, Any]:
    """SFT on the teacher's words in the published dialogues, from the adapter `start`."""
    spec = run.recipe.train.critique_phase
    rows = list(critique_rows(chat_of(run), published_dialogues(run)))
    if not rows:
        raise RL2FError(
            "train.critique: separate finds no feedback in the published dialogues; use critique: off or a teacher that "
            "speaks"
        )
    return fit_sft(
        run, ("train", name), rows, "train (critique)", spec.steps, spec.batch_size, spec.learning_rate, start
    )


def _then_critique(run: Run, training: Training, start: Path) -> dict[str, Any]:
    """RL, then the critique phase on what it made; both are kept, and the last is RL2F's adapter."""
    reinforced = run.path("train", "before_critique", "adapter")
    result = _once(run, "before_critique", lambda: _reinforce(run, training, start, folder="before_critique"))
    critique = _once(run, "critique", lambda: _critique_phase(run, "critique", reinforced))
    if processes.is_main():
        final = run.path("train", "rl2f", "adapter")
        shutil.copytree(run.path("train", "critique", "adapter"), final, dirs_exist_ok=True)
    processes.wait()
    return {**result, "critique": critique}


def _reinforce(run: Run, training: Training, start: Path, folder: str | None = None) -> dict[str, Any]:
    """One RL training from the adapter `start`; its adapter goes to `train/<folder>/adapter`."""
    from rl2f_hub.training.trainer import RL2FTrainer

    recipe, where = run.recipe, ("train", folder or training.name)
    tasks, origin = published(run, "tasks"), base_of(run)
    args = _config(run, where, training)
    prompts = args.generation_batch_size // recipe.train.num_generations
    stack = recipe.train.adapter == "stack"
    spec = recipe.teacher
    guard = Guard(spec.guard.max_retries, check_code=spec.guard.check_code)
    curriculum = _curriculum(run, tasks)

    def teacher_of(student: Student) -> Teacher:
        guard.judge = build_judge(spec, student, run.dir / "train")  # its model may be the student's own base
        return _teacher(run, student, curriculum, training.teacher)

    trainer = RL2FTrainer(
        trainable(run, start, stack),
        args,
        repeated(tasks, prompts) if training.name == "single_turn_rl" else tasks,
        teacher=teacher_of,
        guard=guard,
        curriculum=curriculum,
        processing_class=load_tokenizer(origin),
        engine=_engine(run),
    )
    steps, turns = args.max_steps, training.max_turns
    notes = {"reward": "reward", f"accuracy/turn_{turns}": f"solved by turn {turns}"}
    made = fit(trainer, run, where, training.label, steps, notes)
    save_adapter(trainer, run.path(*where, "adapter"), origin, below=start if stack else None)
    return {
        "max_turns": turns,
        "steps": made,
        "rewarded_batches": trainer.rewarded_batches,
        "prompts_per_step": prompts,
        "student_tokens": trainer.student_tokens,
        "tokens_per_attempt": trainer.student_tokens / max(trainer.attempts, 1),
        "guard": dict(guard.counts),
        "teacher": teacher_record(trainer.teacher),
        "curriculum": curriculum.state() if curriculum else None,
    }


def _engine(run: Run) -> Any:
    """The engine that holds the base itself, if the recipe names one; the same for all trainings of a run."""
    spec = run.recipe.engine
    return engine_in_vllm(base_of(run), spec, run.recipe.model.dtype) if spec.kind == "vllm" else None


def _curriculum(run: Run, rows: Iterable[dict[str, Any]]) -> Curriculum | None:
    spec = run.recipe.teacher.curriculum
    if spec is None:
        return None
    return Curriculum([Task.from_row(row) for row in rows], **spec.model_dump(), seed=run.recipe.seed)


def _teacher(run: Run, student: Student, curriculum: Curriculum | None, control: str | None) -> Teacher:
    if control is not None:
        return build_teacher(control, student, run.dir / "train")
    spec = run.recipe.teacher
    plain = spec.model_copy(update={"doubt_rate": 0.0})
    teacher = build_teacher(plain, student, run.dir / "train")
    if curriculum is not None and curriculum.hints:
        inner = None if spec.kind == "scripted" else teacher
        teacher = CurriculumTeacher(curriculum.level, inner, spec.phrasings)
    return DoubtingTeacher(teacher, spec.doubt_rate) if spec.doubt_rate else teacher


def _pushing(recipe: Recipe, training: str) -> dict[str, Any]:
    """For `grpo: {push_to_hub: true}`: what the trainer itself pushes as it goes, each training to a repository of its own."""
    name = f"{recipe.hub.adapter}-{training.replace('_', '-')}-trainer"
    settings: dict[str, Any] = {
        "hub_model_id": f"{recipe.hub.namespace}/{name}" if recipe.hub.namespace else name,
        "hub_private_repo": recipe.hub.private,
    }
    if recipe.hub.endpoint == "local":
        settings["trackio_static_space_id"] = False  # no Space runs there; the dashboard stays on this machine
    return settings


def _config(run: Run, where: tuple[str, ...], training: Training) -> Any:
    from rl2f_hub.training.trainer import RL2FConfig

    recipe, spec, count = run.recipe, run.recipe.train, processes.world()
    parts = spec.accumulation * count
    prompts = training.prompts_per_step
    whole = count if spec.resample_rounds else 1  # resampling needs whole groups in each process
    while prompts * spec.num_generations % parts or prompts % whole:  # the single-turn baseline's: rounded up
        prompts += 1
    several = training.max_turns > 1
    settings: dict[str, Any] = (
        arguments(run, where, spec.steps, spec.learning_rate)
        | {
            "project": recipe.name,  # what a tracker (`grpo: {report_to: trackio}`) files the run under
            "run_name": f"{training.name}-{recipe.fingerprint[:8]}",
            **_pushing(recipe, training.name),
            "per_device_train_batch_size": prompts * spec.num_generations // parts,
            "gradient_accumulation_steps": spec.accumulation,
            "num_generations": spec.num_generations,
            "temperature": spec.temperature,
            "max_turns": training.max_turns,
            "turn_tokens": recipe.dialogue.turn_tokens,
            "discount": recipe.dialogue.discount,
            "credit": spec.credit,
            "thinking": recipe.dialogue.thinking,
            "on_cut": recipe.dialogue.on_cut,
            "critique_coef": spec.critique_coef if several and spec.critique == "joint" else 0.0,
            "first_turn_kl": spec.first_turn_kl if several else 0.0,
            "resample_rounds": spec.resample_rounds,
            "cache_tokens": recipe.engine.cache_tokens,
            "overlap": recipe.engine.overlap,
            "max_completion_length": training.max_turns * (recipe.dialogue.turn_tokens + 64),
            "save_steps": spec.save_steps,
            "logging_steps": max(1, spec.steps // 50),
        }
    )
    try:
        return RL2FConfig(**settings | spec.grpo)
    except TypeError as error:
        raise UsageError(f"train.grpo: {error}; use field names of TRL's GRPOConfig") from None
