"""Stage `train`: RL of the warm adapter on whole dialogues, and its baseline on single attempts.

Both runs start from the same adapter and use the same code, settings and number of updates. An update of the
single-turn baseline has as many more prompts as it takes to sample as many student tokens as RL2F did.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl2f_hub.callbacks import MetricsFile, StepProgress, WholeCheckpoints, quiet, train_to_end
from rl2f_hub.curriculum import Curriculum, CurriculumTeacher
from rl2f_hub.dialogue import Student
from rl2f_hub.errors import UsageError
from rl2f_hub.hub_errors import hub_errors
from rl2f_hub.progress import bar
from rl2f_hub.records import Task
from rl2f_hub.runs import Run, latest_checkpoint, write_json
from rl2f_hub.students.load import load_model, load_tokenizer, origin_of
from rl2f_hub.teachers import Teacher, build_teacher, teacher_record
from rl2f_hub.teachers.controls import DoubtingTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.warmup import cpu_arguments, save_adapter


def train(run: Run) -> dict[str, Any]:
    """Trains `rl2f` and, if the recipe asks for it, `single_turn_rl`; returns their figures."""
    run.recipe.check_trainable()
    spec = run.recipe.train
    outputs = {"rl2f": _train_one(run, "rl2f", run.recipe.dialogue.max_turns, spec.prompts_per_step)}
    if "single_turn_rl" in spec.baselines:
        tokens, attempt = outputs["rl2f"]["student_tokens"], outputs["rl2f"]["tokens_per_attempt"]
        prompts = math.ceil(tokens / (spec.steps * spec.num_generations * attempt))
        outputs["single_turn_rl"] = _train_one(run, "single_turn_rl", 1, prompts)
    return outputs


def _train_one(run: Run, name: str, max_turns: int, prompts_per_step: int) -> dict[str, Any]:
    finished = run.path("train", name, "result.json")
    if finished.is_file():
        import json

        return json.loads(finished.read_text())
    from datasets import load_dataset
    from peft import PeftModel

    from rl2f_hub.trainer import RL2FTrainer

    recipe = run.recipe
    steps = recipe.train.steps
    published = run.outputs("publish")
    with hub_errors(published["repo_id"]):
        tasks = load_dataset(published["repo_id"], "tasks", split="train", revision=published["revision"])
    origin = origin_of(recipe.model, run.manifest["stages"].get("base", {}).get("outputs") or None)
    base = load_model(origin, recipe.model.quantization, recipe.model.dtype)
    if recipe.model.quantization != "none":
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=base.device.type == "cuda")
    run.outputs("warmup")
    model = PeftModel.from_pretrained(base, str(run.path("warmup", "adapter")), is_trainable=True)
    folder = run.path("train", name, "trainer")
    resume = latest_checkpoint(folder)
    guard = Guard(**recipe.teacher.guard.model_dump())
    curriculum = _curriculum(run, tasks)
    trainer = RL2FTrainer(
        model,
        _config(run, folder, max_turns, prompts_per_step),
        tasks,
        teacher=lambda student: _teacher(run, student, curriculum),
        guard=guard,
        curriculum=curriculum,
        processing_class=load_tokenizer(origin),
    )
    quiet(trainer)
    trainer.add_callback(WholeCheckpoints())
    trainer.add_callback(MetricsFile(run.path("train", name, "log.json")))
    start = int(resume.rsplit("-", 1)[1]) if resume else 0
    label = "train (RL2F)" if max_turns > 1 else "train (single-turn RL)"
    with bar(label, steps, "steps", start=start) as advance:
        notes = {"reward": "reward", f"accuracy/turn_{max_turns}": f"solved by turn {max_turns}"}
        trainer.add_callback(StepProgress(advance, notes))
        train_to_end(trainer, resume, steps)
    save_adapter(trainer.model, run.path("train", name, "adapter"), origin)
    result = {
        "max_turns": max_turns,
        "steps": steps,
        "prompts_per_step": prompts_per_step,
        "student_tokens": trainer.student_tokens,
        "tokens_per_attempt": trainer.student_tokens / max(trainer.attempts, 1),
        "guard": dict(guard.counts),
        "teacher": teacher_record(trainer.teacher),
        "curriculum": curriculum.state() if curriculum else None,
    }
    write_json(finished, result)
    return result


def _curriculum(run: Run, rows: Iterable[dict[str, Any]]) -> Curriculum | None:
    spec = run.recipe.teacher.curriculum
    if spec is None:
        return None
    return Curriculum([Task.from_row(row) for row in rows], **spec.model_dump(), seed=run.recipe.seed)


def _teacher(run: Run, student: Student, curriculum: Curriculum | None) -> Teacher:
    spec = run.recipe.teacher
    plain = spec.model_copy(update={"doubt_rate": 0.0})
    teacher = build_teacher(plain, student, run.dir / "train")
    if curriculum is not None and curriculum.hints:
        inner = None if spec.kind == "scripted" else teacher
        teacher = CurriculumTeacher(curriculum, inner, spec.phrasings)
    return DoubtingTeacher(teacher, spec.doubt_rate) if spec.doubt_rate else teacher


def _config(run: Run, folder: Path, max_turns: int, prompts_per_step: int) -> Any:
    from rl2f_hub.trainer import RL2FConfig

    recipe, spec = run.recipe, run.recipe.train
    if spec.prompts_per_step * spec.num_generations % spec.accumulation:
        raise UsageError(
            f"train.accumulation: {spec.accumulation} does not divide the {spec.prompts_per_step * spec.num_generations} "
            "dialogues of a step (prompts_per_step x num_generations)"
        )
    prompts_per_step += -prompts_per_step * spec.num_generations % spec.accumulation  # the baseline's: rounded up
    dialogues = prompts_per_step * spec.num_generations
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": spec.steps,
        "per_device_train_batch_size": dialogues // spec.accumulation,
        "gradient_accumulation_steps": spec.accumulation,
        "num_generations": spec.num_generations,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "temperature": spec.temperature,
        "max_turns": max_turns,
        "turn_tokens": recipe.dialogue.turn_tokens,
        "discount": recipe.dialogue.discount,
        "thinking": recipe.dialogue.thinking,
        "on_cut": recipe.dialogue.on_cut,
        "critique_coef": spec.critique_coef if max_turns > 1 else 0.0,
        "first_turn_kl": spec.first_turn_kl if max_turns > 1 else 0.0,
        "max_completion_length": max_turns * (recipe.dialogue.turn_tokens + 64),
        "seed": recipe.seed,
        "save_steps": spec.save_steps,
        "save_total_limit": 2,
        "logging_steps": max(1, spec.steps // 50),
    } | cpu_arguments()
    try:
        return RL2FConfig(**settings | spec.grpo)
    except TypeError as error:
        raise UsageError(f"train.grpo: {error}; use field names of TRL's GRPOConfig") from None
    except ValueError as error:
        raise UsageError(f"train: {' '.join(str(error).split())}") from None
