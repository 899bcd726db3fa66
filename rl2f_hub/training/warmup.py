"""Supervised phases with TRL's SFTTrainer: the stage `warmup`, and what else learns from written dialogues.

The warm-up reads the published dialogues back from the Hub at the revision that `publish` recorded, and trains on the
student's tokens. By default only attempts that solved their dialogue are learnt (rejection sampling), which makes the
warm-up an SFT baseline at its best. What a row is, is said in `rows.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.engines.kinds import context_of
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.hub.errors import hub_errors
from rl2f_hub.records import Dialogue
from rl2f_hub.runs import Run
from rl2f_hub.runtime import processes
from rl2f_hub.students import ADAPTER_FILES
from rl2f_hub.students.load import load_model, load_tokenizer, lora_config
from rl2f_hub.training.phase import arguments, base_of, check_base, fit, save_adapter, trainable
from rl2f_hub.training.rows import Row, sft_rows, whole

SHORTER = "lower dialogue.turn_tokens or dialogue.max_turns, or take a student with a longer context"


def warmup(run: Run) -> dict[str, Any]:
    """Trains and saves the adapter to `warmup/adapter`; returns what `fit_sft` does."""
    spec = run.recipe.warmup
    rows = list(sft_rows(chat_of(run), published_dialogues(run), solved=spec.rows == "solved"))
    if not rows:  # `all` has at least one attempt a dialogue
        raise RL2FError("warmup.rows: solved leaves no row, as no dialogue was solved; use easier tasks or rows: all")
    start = _given_adapter(run) if spec.start is not None else None
    return fit_sft(run, ("warmup",), rows, "warmup (SFT)", spec.steps, spec.batch_size, spec.learning_rate, start)


def chat_of(run: Run) -> ChatFormat:
    """The chat format of the run's student, in which all of its training rows are written."""
    return ChatFormat(load_tokenizer(base_of(run)), run.recipe.dialogue.thinking)


def published(run: Run, config: str) -> Any:
    """The training rows of a config of the run's data set, at the revision that was published."""
    from datasets import load_dataset

    where = run.outputs("publish")
    with hub_errors(where["repo_id"]):
        return load_dataset(where["repo_id"], config, split="train", revision=where["revision"])


def published_dialogues(run: Run) -> Iterator[Dialogue]:
    """The dialogues of the run's data set."""
    return map(Dialogue.from_row, published(run, "dialogues"))


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
    rows: Iterable[Row],
    label: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    start: Path | None,
) -> dict[str, Any]:
    """SFT on rows of `input_ids` and `labels`.

    Args:
        where: the folder below the run's that gets `adapter`, checkpoints and log.
        start: the adapter that goes on learning; None for a new one.
    Returns:
        `rows` that were learnt, `left_out` as too long, `steps` made, the last `loss` logged.
    Raises:
        RL2FError: no row fits into the model's context.
    """
    trainer, left_out = sft_trainer(run, where, rows, label, steps, batch_size, learning_rate, start)
    made = fit(trainer, run, where, label, steps, {"loss": "loss"}) if steps > 0 else 0
    save_adapter(trainer, run.path(*where, "adapter"), base_of(run))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "rows": len(trainer.train_dataset),
        "left_out": left_out,
        "steps": made,
        "loss": losses[-1] if losses else None,
    }


def sft_trainer(
    run: Run,
    where: tuple[str, ...],
    rows: Iterable[Row],
    label: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    start: Path | None,
) -> tuple[Any, int]:
    """(TRL's trainer over the rows that fit into the model's context, number of the others); see `fit_sft`."""
    from trl import SFTConfig, SFTTrainer

    origin, spec = base_of(run), run.recipe.model
    model = load_model(origin, spec.quantization, spec.dtype) if start is None else trainable(run, start)
    data, left_out = whole(rows, context_of(model.config.get_text_config()), label, SHORTER)
    args = SFTConfig(
        **arguments(run, where, max(steps, 1), learning_rate),
        per_device_train_batch_size=processes.part_of(batch_size, "batch_size"),
        max_length=None,  # TRL's 1024 would cut rows and drop those that lose all that is learnt
        packing=False,
    )
    try:
        trainer = SFTTrainer(
            model=model,
            args=args,
            train_dataset=data,
            processing_class=load_tokenizer(origin),
            peft_config=lora_config(spec.lora) if start is None else None,
        )
    except ValueError as error:
        raise UsageError(f"model.lora: {' '.join(str(error).split())[:240]}") from None
    return trainer, left_out
