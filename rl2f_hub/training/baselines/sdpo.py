"""Self-distillation baseline: TRL's experimental SDPO on first attempts, with recorded feedback as the hint.

For every published first attempt that was answered, the student samples fresh attempts at the bare question, and learns
token by token what it would say itself after reading that earlier attempt and its feedback. This is not RL2F without its
reward: TRL's interface takes one prompt and one hint, so the feedback is about the recorded attempt and not about the
ones being trained, and no second turn is ever sampled. Its updates sample as many tokens as RL2F's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Dialogue, Task
from rl2f_hub.runs import Run
from rl2f_hub.students.load import load_tokenizer
from rl2f_hub.training.baselines import nothing_to_learn
from rl2f_hub.training.phase import base_of, fit, save_adapter, trainable, trainer_folder
from rl2f_hub.training.warmup import cpu_arguments, published
from rl2f_hub.verify import verify_many

HINT = "{attempt}\n\n{feedback}"


def hints(dialogue: Dialogue) -> dict[str, Any] | None:
    """A dialogue's first attempt as TRL's `prompt` and `privileged_context`; None where it was not answered."""
    first = dialogue.turns[0] if dialogue.turns else None
    if first is None or first.feedback is None or first.verdict.correct:
        return None
    return {
        "prompt": [{"role": "user", "content": dialogue.prompt}],
        "privileged_context": HINT.format(attempt=first.attempt, feedback=first.feedback.text),
        "task_id": dialogue.task_id,
    }


def sdpo(run: Run, start: Path, rl2f: dict[str, Any]) -> dict[str, Any]:
    """Self-distillation from the warm-up's adapter."""
    from datasets import Dataset

    try:
        from trl.experimental.sdpo import SDPOConfig, SDPOTrainer
    except ImportError as error:
        raise UsageError(
            f"train.baselines: sdpo is not in the installed trl ({error}); use trl 1.16 or leave it out"
        ) from None
    recipe, spec = run.recipe, run.recipe.train
    rows = [hint for row in published(run, "dialogues") if (hint := hints(Dialogue.from_row(row))) is not None]
    if not rows:
        return nothing_to_learn(run, "sdpo", start, "no published first attempt was answered")
    tasks = {t.task_id: t for t in (Task.from_row(row) for row in published(run, "tasks"))}

    def solved(completions: list[Any], task_id: list[str], **_: Any) -> list[float]:
        attempts: list[tuple[Task, str, list[str]]] = [
            (tasks[i], c[0]["content"], []) for i, c in zip(task_id, completions, strict=True)
        ]
        return [float(not isinstance(v, Exception) and v.correct) for v in verify_many(attempts)]

    prompts = math.ceil(rl2f["student_tokens"] / (spec.steps * spec.num_generations * rl2f["tokens_per_attempt"]))
    where, origin = ("train", "sdpo"), base_of(run)
    args = SDPOConfig(
        output_dir=str(trainer_folder(run, where)),
        max_steps=spec.steps,
        per_device_train_batch_size=prompts * spec.num_generations,
        num_generations=spec.num_generations,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        temperature=spec.temperature,
        max_completion_length=recipe.dialogue.turn_tokens,
        max_prompt_length=None,
        include_environment_feedback=True,
        teacher_model_kind="live",
        seed=recipe.seed,
        save_steps=spec.save_steps,
        save_total_limit=2,
        logging_steps=max(1, spec.steps // 50),
        **cpu_arguments(),
    )
    trainer = SDPOTrainer(
        model=trainable(run, start),
        reward_funcs=[solved],
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(origin),
    )
    fit(trainer, run, where, "train (self-distillation)", spec.steps, {"loss": "loss", "reward": "reward"})
    save_adapter(trainer, run.path(*where, "adapter"), origin)
    return {"rows": len(rows), "steps": spec.steps, "prompts_per_step": prompts}
