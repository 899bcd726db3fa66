"""Supervised phases with TRL's SFTTrainer: the stage `warmup`, and what else learns from written dialogues.

The warm-up reads the published `sft` config back from the Hub at the revision that `publish` recorded, and trains on
the assistant's tokens. By default only attempts that solved their dialogue are learnt (rejection sampling), which makes
the warm-up an SFT baseline at its best. `critique_rows` are for a critique phase of its own: whole dialogues, of which
the teacher's words are learnt, the same tokens as RL's critique term.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.chat_format import ChatFormat, Thinking
from rl2f_hub.dialogue.runner import CLOSING_WORDS
from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.hub.errors import hub_errors
from rl2f_hub.records import Dialogue
from rl2f_hub.runs import Run
from rl2f_hub.runtime import processes
from rl2f_hub.students import ADAPTER_FILES
from rl2f_hub.students.load import load_model, load_tokenizer, lora_config
from rl2f_hub.training.phase import base_of, check_base, fit, save_adapter, trainable, trainer_folder


def warmup(run: Run) -> dict[str, Any]:
    """Trains and saves the adapter to `warmup/adapter`; returns rows used, steps and the last loss."""
    spec = run.recipe.warmup
    rows = published(run, "sft")
    if spec.rows == "solved":
        rows = rows.filter(lambda row: row["correct"], desc=None)
    if len(rows) == 0:  # `all` has at least one attempt a dialogue
        raise RL2FError("warmup.rows: solved leaves no row, as no dialogue was solved; use easier tasks or rows: all")
    start = _given_adapter(run) if spec.start is not None else None
    loss = fit_sft(run, ("warmup",), rows, "warmup (SFT)", spec.steps, spec.batch_size, spec.learning_rate, start)
    return {"rows": len(rows), "steps": spec.steps, "loss": loss}


def published(run: Run, config: str) -> Any:
    """The training rows of a config of the run's data set, at the revision that was published."""
    from datasets import load_dataset

    where = run.outputs("publish")
    with hub_errors(where["repo_id"]):
        return load_dataset(where["repo_id"], config, split="train", revision=where["revision"])


def _given_adapter(run: Run) -> Path:
    """The recipe's own start, from a folder or the Hub, checked against the base before anything is loaded."""
    spec = run.recipe.warmup
    folder = Path(str(spec.start))
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        with hub_errors(str(spec.start)):
            folder = Path(
                snapshot_download(str(spec.start), revision=spec.start_revision, allow_patterns=list(ADAPTER_FILES))
            )
    check_base(folder, base_of(run))
    return folder


def fit_sft(
    run: Run,
    where: tuple[str, ...],
    rows: Any,
    label: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    start: Path | None,
) -> float | None:
    """SFT on rows of `prompt` and `completion`, or of `input_ids` and `labels`; returns the last loss logged.

    Args:
        where: the folder below the run's that gets `adapter`, checkpoints and log.
        start: the adapter that goes on learning; None for a new one.
    """
    from trl import SFTConfig, SFTTrainer

    origin = base_of(run)
    tokenizer = load_tokenizer(origin)
    ChatFormat(tokenizer, run.recipe.dialogue.thinking)  # a template that cannot hold a dialogue is refused here
    args = SFTConfig(
        output_dir=str(trainer_folder(run, where)),
        max_steps=max(steps, 1),
        per_device_train_batch_size=processes.part_of(batch_size, "batch_size"),
        learning_rate=learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        completion_only_loss=True,
        packing=False,
        seed=run.recipe.seed,
        save_steps=max(10, steps // 3),
        save_total_limit=2,
        logging_steps=max(1, steps // 20),
        **cpu_arguments(),
    )
    columns = ["input_ids", "labels"] if "labels" in rows.column_names else ["prompt", "completion"]
    spec = run.recipe.model
    try:
        trainer = SFTTrainer(
            model=load_model(origin, spec.quantization, spec.dtype) if start is None else trainable(run, start),
            args=args,
            train_dataset=rows.select_columns(columns),
            processing_class=tokenizer,
            peft_config=lora_config(spec.lora) if start is None else None,
        )
    except ValueError as error:
        raise UsageError(f"model.lora: {' '.join(str(error).split())[:240]}") from None
    if steps > 0:
        fit(trainer, run, where, label, steps, {"loss": "loss"})
    save_adapter(trainer, run.path(*where, "adapter"), origin)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses[-1] if losses else None


def critique_rows(rows: Iterable[dict[str, Any]], tokenizer: Any, thinking: Thinking | None, longest: int) -> Any:
    """Published dialogues as {input_ids, labels}, labels on the teacher's words and on what ends them alone.

    Dialogues in which nobody spoke, or of more than `longest` ids, are left out.
    """
    from datasets import Dataset

    chat = ChatFormat(tokenizer, thinking)
    out = []
    for row in rows:
        ledger = written(chat, Dialogue.from_row(row))
        mask = ledger.mask("teacher")
        if any(mask) and len(ledger.ids) <= longest:
            labels = [i if m else -100 for i, m in zip(ledger.ids, mask, strict=True)]
            out.append({"input_ids": ledger.ids, "labels": labels})
    if not out:
        raise RL2FError(
            "train.critique: separate finds no feedback in the published dialogues; use critique: off or a teacher that "
            "speaks"
        )
    return Dataset.from_list(out)


def written(chat: ChatFormat, dialogue: Dialogue) -> Ledger:
    """A recorded dialogue as the ledger of its texts, with the closing word on a right attempt that ends it."""
    ledger = chat.open(dialogue.prompt)
    for number, turn in enumerate(dialogue.turns, start=1):
        ids = chat.encode(turn.attempt)
        chat.attempt(ledger, ids if turn.cut else [*ids, chat.eos_id], [], number)
        last = number == len(dialogue.turns)
        if turn.feedback is not None:
            chat.feedback(ledger, turn.feedback.text, number, closing=last)
        elif last and turn.verdict.correct:
            chat.feedback(ledger, CLOSING_WORDS, number, closing=True)
    return ledger


def cpu_arguments() -> dict[str, Any]:
    """Trainer arguments that differ between a CPU and a GPU."""
    import torch

    shared = {"report_to": "none", "disable_tqdm": True}
    if torch.cuda.is_available():
        return shared | {"bf16": torch.cuda.is_bf16_supported()}
    return shared | {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
