"""Self-distillation baseline: TRL's experimental SDPO on first attempts, with recorded feedback as the hint.

For every published first attempt that was answered, the student samples fresh attempts at the bare question, and learns
token by token what it would say itself after reading that earlier attempt and its feedback. This is not RL2F without its
reward: TRL's interface takes one prompt and one hint, so the feedback is about the recorded attempt and not about the
ones being trained, and no second turn is ever sampled. Its updates sample as many tokens as RL2F's.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from rl2f_hub.engines.kinds import context_of
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Dialogue, Task
from rl2f_hub.runs import Run
from rl2f_hub.students.load import load_tokenizer
from rl2f_hub.training.baselines import nothing_to_learn
from rl2f_hub.training.phase import arguments, base_of, fit, save_adapter, trainable
from rl2f_hub.training.rows import Row, repeated, whole
from rl2f_hub.training.warmup import SHORTER, published, published_dialogues
from rl2f_hub.verify import verify_many

HINT = "{attempt}\n\n{feedback}"
LABEL = "train (self-distillation)"


def hint_of(dialogue: Dialogue) -> dict[str, Any] | None:
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

    try:
        from trl.experimental.sdpo import SDPOConfig, SDPOTrainer
    except ImportError as error:
        raise UsageError(
            f"train.baselines: sdpo is not in the installed trl ({error}); use trl 1.16 or leave it out"
        ) from None
    from transformers import GenerationConfig

    recipe, spec = run.recipe, run.recipe.train
    hints = [hint for dialogue in published_dialogues(run) if (hint := hint_of(dialogue)) is not None]
    if not hints:
        return nothing_to_learn(run, "sdpo", start, "no published first attempt was answered")
    tasks = {t.task_id: t for t in (Task.from_row(row) for row in published(run, "tasks"))}

    def solved(completions: list[Any], task_id: list[str], **_: Any) -> list[float]:
        attempts: list[tuple[Task, str, list[str]]] = [
            (tasks[i], c[0]["content"], []) for i, c in zip(task_id, completions, strict=True)
        ]
        return [float(not isinstance(v, Exception) and v.correct) for v in verify_many(attempts)]

    where, origin, tokenizer = ("train", "sdpo"), base_of(run), load_tokenizer(base_of(run))
    prompts = math.ceil(rl2f["student_tokens"] / (spec.steps * spec.num_generations * rl2f["tokens_per_attempt"]))
    args = SDPOConfig(
        **arguments(run, where, spec.steps, spec.learning_rate)
        | {"save_steps": spec.save_steps, "logging_steps": max(1, spec.steps // 50)},
        per_device_train_batch_size=prompts * spec.num_generations,
        num_generations=spec.num_generations,
        temperature=spec.temperature,
        max_completion_length=recipe.dialogue.turn_tokens,
        max_prompt_length=None,
        max_reprompt_len=sys.maxsize,  # TRL would cut the prompt with the hint from the left
        include_environment_feedback=True,
        teacher_model_kind="live",
    )
    model = trainable(run, start)
    config = model.config.get_text_config()
    # What TRL leaves unset, transformers would take from the model's own file: penalties, min_p, tokens to suppress.
    model.get_base_model().generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id)
    rows = (_row(hint, args, tokenizer) for hint in hints)
    data, left_out = whole(rows, context_of(config), LABEL, SHORTER)
    trainer = SDPOTrainer(
        model=model,
        reward_funcs=[solved],
        args=args,
        train_dataset=repeated(data, prompts),
        processing_class=tokenizer,
    )
    made = fit(trainer, run, where, LABEL, spec.steps, {"loss": "loss", "reward": "reward"})
    save_adapter(trainer, run.path(*where, "adapter"), origin)
    return {"rows": len(data), "left_out": left_out, "steps": made, "prompts_per_step": prompts}


def _row(hint: dict[str, Any], args: Any, tokenizer: Any) -> Row:
    """A hint with the length of its longest sequence, the prompt that states it, as TRL renders that."""
    feedback = args.feedback_template.format(feedback_raw=hint["privileged_context"])
    asked = args.reprompt_template.format(prompt=hint["prompt"][-1]["content"], solution="", feedback=feedback)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    # Where an attempt of its group is right, TRL states it, too.
    return Row(hint["task_id"], len(ids) + 2 * args.max_completion_length, hint)
