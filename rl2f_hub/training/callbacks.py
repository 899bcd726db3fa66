"""Trainer callbacks that every training stage shares: progress, whole checkpoints, quiet logs, a record of metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from transformers import TrainerCallback, TrainerState

from rl2f_hub.errors import RL2FError
from rl2f_hub.runs import MARKER, write_atomic
from rl2f_hub.runtime.progress import Advance


@runtime_checkable
class Resumable(Protocol):
    """A trainer whose checkpoints hold more than weights, optimizer and step."""

    def restore(self, checkpoint: Path) -> None: ...


class WholeCheckpoints(TrainerCallback):
    """Marks a checkpoint as whole once everything is in it; see `runs.latest_checkpoint`."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            write_atomic(Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARKER, str(state.global_step))


class FiniteUpdates(TrainerCallback):
    """Stops before an update whose gradient is not a number, while the weights are still good.

    Not under float16, whose scaler skips such updates itself.
    """

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if args.fp16 or not gradients or torch.nn.utils.get_total_norm(gradients).isfinite():
            return
        raise RL2FError(
            f"loss: the gradient of step {state.global_step + 1} is not a number; lower learning_rate and resume from the "
            "last checkpoint"
        )


class StepProgress(TrainerCallback):
    """Drives a progress bar; shows the latest of the metrics named in `notes`."""

    def __init__(self, advance: Advance, notes: dict[str, str]) -> None:
        self.advance, self.notes = advance, notes
        self.note = ""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        shown = [f"{label} {float(logs[key]):.3f}" for key, label in self.notes.items() if logs and key in logs]
        self.note = "  ".join(shown) or self.note

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.advance(1, note=self.note)


class MetricsFile(TrainerCallback):
    """Writes the whole log history to a JSON file whenever something is logged (resumed runs keep theirs)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            write_atomic(self.path, json.dumps(state.log_history, indent=0))


def quiet(trainer: Any) -> None:
    """Drop the trainer's own console output: the stage's bar shows the same."""
    from transformers import PrinterCallback, ProgressCallback

    for kind in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(kind)


def train_to_end(trainer: Any, resume: str | None, steps: int) -> None:
    """Train for `steps` updates in all, from a checkpoint if there is one.

    A run killed after its last checkpoint is complete: its weights are only loaded, since the Trainer would make one
    more update before it noticed.
    """
    if resume is None or int(resume.rsplit("-", 1)[1]) < steps:
        trainer.train(resume_from_checkpoint=resume)
        return
    trainer.state = TrainerState.load_from_json(str(Path(resume) / "trainer_state.json"))
    trainer._load_from_checkpoint(resume)
    if isinstance(trainer, Resumable):
        trainer.restore(Path(resume))
