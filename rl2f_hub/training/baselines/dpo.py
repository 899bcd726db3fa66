"""DPO baseline: after feedback, a right next attempt is preferred to saying the wrong one again.

Pairs come from the published dialogues, with the history up to the feedback as the prompt; TRL's DPOTrainer learns them.
It sees only pairs that the recorded student happened to produce, and no dialogue of the student it is training.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl2f_hub.engines.kinds import context_of
from rl2f_hub.runs import Run
from rl2f_hub.runtime import processes
from rl2f_hub.students.load import load_tokenizer
from rl2f_hub.training.baselines import nothing_to_learn
from rl2f_hub.training.phase import arguments, base_of, fit, save_adapter, trainable
from rl2f_hub.training.rows import Row, preference_rows, whole
from rl2f_hub.training.warmup import SHORTER, chat_of, published_dialogues

LABEL = "train (DPO)"


def dpo(run: Run, start: Path, rl2f: dict[str, Any]) -> dict[str, Any]:
    """Preference tuning from the warm-up's adapter, which is also the reference."""
    rows = list(preference_rows(chat_of(run), published_dialogues(run)))
    if not rows:
        return nothing_to_learn(run, "dpo", start, "no published attempt improved after feedback")
    where, steps = ("train", "dpo"), run.recipe.train.offline.steps or run.recipe.train.steps
    trainer, left_out = dpo_trainer(run, where, rows, steps, start)
    made = fit(trainer, run, where, LABEL, steps, {"loss": "loss", "rewards/accuracies": "preferred"})
    save_adapter(trainer, run.path(*where, "adapter"), base_of(run))
    return {"pairs": len(trainer.train_dataset), "left_out": left_out, "steps": made}


def dpo_trainer(run: Run, where: tuple[str, ...], rows: Iterable[Row], steps: int, start: Path) -> tuple[Any, int]:
    """(TRL's trainer over the pairs that fit into the model's context, number of the others).

    Raises:
        RL2FError: no pair fits.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    spec, model = run.recipe.train.offline, trainable(run, start)
    data, left_out = whole(rows, context_of(model.config.get_text_config()), LABEL, SHORTER)
    args = DPOConfig(
        **arguments(run, where, steps, spec.learning_rate or run.recipe.warmup.learning_rate / 10),
        per_device_train_batch_size=processes.part_of(spec.batch_size, "train.offline.batch_size"),
        max_length=None,  # TRL's 1024 would cut pairs and drop those whose prompt fills it
        beta=spec.beta,
    )
    # TRL's constructor renders text whatever it is given; what it trains on is `train_dataset`, which is public.
    stand_in = Dataset.from_list([{"prompt": "-", "chosen": "-", "rejected": "-"}])
    trainer = DPOTrainer(model=model, args=args, train_dataset=stand_in, processing_class=load_tokenizer(base_of(run)))
    trainer.train_dataset = data
    return trainer, left_out
