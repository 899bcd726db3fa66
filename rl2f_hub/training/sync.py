"""Training with an engine that holds the base model itself (vLLM): the adapter goes to it whenever it has moved.

The engine is made once and lives as long as the training. Before dialogues are played, an adapter that has changed is
written as safetensors to a temporary folder and handed over (`sync`); nothing but the adapter moves, and the base is
the same engine without it. The folder of the adapter before goes when the new one has been taken.

The trainer's dialogues have then been sampled by other arithmetic than the trainer's own, so the engine's
log-probabilities are what the policy's ratio is taken against (`sampled_logps`).

Left out: more than one process (each would need an engine or adapter names of its own), full fine-tuning, and
truncated importance weights beside the ratio, which TRL offers for its own vLLM client alone.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from rl2f_hub.dialogue.runner import Rollout
from rl2f_hub.engines import Engine
from rl2f_hub.errors import UsageError

ADAPTER = "default"  # PEFT's name of the adapter that is trained


class AdapterSync:
    """Keeps `engine` (it `takes_adapters`) on the adapter of a model in training.

    Args:
        model: a PEFT model whose adapter `default` is trained.
        processes: how many processes train.
        top_p: of the sampling in training.
    Raises:
        UsageError: a training that the engine cannot serve.
    """

    def __init__(self, engine: Engine, model: Any, processes: int, top_p: float) -> None:
        if not engine.takes_adapters:
            raise UsageError(
                f"engine: {type(engine).__name__} takes no adapter while it runs (`sync`); leave it out for our own engine"
            )
        if ADAPTER not in getattr(model, "peft_config", {}):
            raise UsageError(
                "engine: only an adapter is handed to it, and this model has none named 'default'; pass a PEFT model or "
                "peft_config"
            )
        if getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False):
            raise UsageError(
                "engine: it holds a base in full precision, this model's is quantised; leave out the quantisation or engine"
            )
        if processes > 1:
            raise UsageError(f"engine: {processes} processes cannot share it; train in one process or leave engine out")
        if top_p < 1:
            raise UsageError(
                f"top_p: {top_p} with an engine of others: its log-probabilities are those after top_p, the trainer's are "
                "not; set top_p to 1"
            )
        self.engine, self._model = engine, model
        self._folder = tempfile.TemporaryDirectory(prefix="rl2f-adapter-")
        self._count = 0
        self._given: list[torch.Tensor] | None = None

    def bring(self) -> None:
        """Hand the adapter over if it has moved since the last time."""
        # By value: fused optimizers write past the version counters of tensors.
        now = [p.detach() for p in self._model.parameters() if p.requires_grad]
        if self._given is not None and all(map(torch.equal, now, self._given)):
            return
        self._count += 1
        new = Path(self._folder.name) / str(self._count)
        self._model.save_pretrained(str(new), selected_adapters=[ADAPTER], safe_serialization=True)
        self.engine.sync(new)
        shutil.rmtree(Path(self._folder.name) / str(self._count - 1), ignore_errors=True)
        self._given = [p.clone() for p in now]


def sampled_logps(rollout: Rollout) -> list[float]:
    """The engine's log-probability of every id after the prompt; 0 where it is not the student's."""
    ledger = rollout.ledger
    values = iter(ledger.logprobs)
    return [next(values) if own else 0.0 for own in ledger.mask("student")][ledger.prompt_length :]


def against_sampler(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch whose ratio is the policy over what the engine sampled from, not over the trainer's own pass.

    Without this the ratio starts at 1 whatever the engine did, and the difference between the two is never seen: with
    it, PPO's clip leaves out ids whose probability the engine and the trainer do not agree on. Other ids are masked.
    """
    logps = batch["sampling_per_token_logps"]
    width = batch["completion_ids"].size(1)
    batch["old_per_token_logps"] = torch.nn.functional.pad(logps, (0, width - logps.size(1)))
    return batch
