"""DPO baseline: after feedback, a right next attempt is preferred to saying the wrong one again.

Pairs come from the published dialogues, with the history up to the feedback as the prompt; TRL's DPOTrainer learns them.
It sees only pairs that the recorded student happened to produce, and no dialogue of the student it is training.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl2f_hub.records import Dialogue
from rl2f_hub.runs import Run
from rl2f_hub.students.load import load_tokenizer
from rl2f_hub.training.baselines import nothing_to_learn
from rl2f_hub.training.phase import base_of, fit, save_adapter, trainable, trainer_folder
from rl2f_hub.training.warmup import cpu_arguments, published


def pairs(dialogue: Dialogue) -> Iterator[dict[str, list[dict[str, str]]]]:
    """TRL's conversational `prompt`, `chosen` and `rejected` for each turn that heeds feedback.

    A turn does where the attempt before it was wrong and its own is right, or scores higher. The rejected completion is
    the attempt before it, word for word.
    """
    messages = [{"role": "user", "content": dialogue.prompt}]
    before = None
    for turn in dialogue.turns:
        own = {"role": "assistant", "content": turn.attempt}
        if before is not None and before.feedback is not None and not before.verdict.correct:
            better = turn.verdict.correct or turn.verdict.score > before.verdict.score
            if better and turn.attempt != before.attempt:
                again = {"role": "assistant", "content": before.attempt}
                yield {"prompt": list(messages), "chosen": [own], "rejected": [again]}
        messages.append(own)
        if turn.feedback is not None:
            messages.append({"role": "user", "content": turn.feedback.text})
        before = turn


def dpo(run: Run, start: Path, rl2f: dict[str, Any]) -> dict[str, Any]:
    """Preference tuning from the warm-up's adapter, which is also the reference."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    recipe, spec = run.recipe, run.recipe.train.offline
    rows = [pair for row in published(run, "dialogues") for pair in pairs(Dialogue.from_row(row))]
    if not rows:
        return nothing_to_learn(run, "dpo", start, "no published attempt improved after feedback")
    steps = spec.steps or recipe.train.steps
    where = ("train", "dpo")
    args = DPOConfig(
        output_dir=str(trainer_folder(run, where)),
        max_steps=steps,
        per_device_train_batch_size=spec.batch_size,
        learning_rate=spec.learning_rate or recipe.warmup.learning_rate / 10,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        beta=spec.beta,
        seed=recipe.seed,
        save_steps=max(10, steps // 3),
        save_total_limit=2,
        logging_steps=max(1, steps // 20),
        **cpu_arguments(),
    )
    origin = base_of(run)
    trainer = DPOTrainer(
        model=trainable(run, start),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(origin),
    )
    fit(trainer, run, where, "train (DPO)", steps, {"loss": "loss", "rewards/accuracies": "preferred"})
    save_adapter(trainer, run.path(*where, "adapter"), origin)
    return {"pairs": len(rows), "steps": steps}
