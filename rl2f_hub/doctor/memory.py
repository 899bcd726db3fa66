"""What a recipe's stages need in memory, from the model's configuration alone: no weights are loaded or downloaded.

Every dialogue is taken at its full length: the prompt, then as many attempts of `dialogue.turn_tokens` and as much
feedback as there are turns. So an estimate is what the longest batch needs; most batches need less. Activations,
logits and the cache are counted by running the model without data (`trace.py`), the rest is arithmetic:

- weights: as loaded; NF4 takes 0.516 bytes a parameter of the linear layers, and what stays in full precision is cast to
  float32 for training, as PEFT's `prepare_model_for_kbit_training` does;
- copies of the adapted layers' float32 weights while a model with an adapter generates (`engines/folded.py`);
- adapter in float32, twice where training keeps a frozen copy of it; its gradients and AdamW's two moments.

Left out: sharding over devices (figures are those of one process that holds a whole model), vLLM, the Python
process itself (about 1 GiB of host memory), and what kernels take inside one operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rl2f_hub.recipe import Recipe

PROMPT_TOKENS, FEEDBACK_TOKENS = 256, 64  # where nobody says how long they are
CUDA_CONTEXT = 600 * 2**20  # CUDA's context and the libraries' work spaces; not measured here
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Device:
    """Where a run computes: `cuda` and its memory in bytes (of the host without a GPU), and the number of processes."""

    cuda: bool
    memory: int
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """The peak of one stage, in bytes by part; a part that is 0 does not occur."""

    name: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def to_row(self) -> dict[str, Any]:
        return {"stage": self.name, "total_mib": round(self.total / 2**20)} | {
            f"{name}_mib": round(size / 2**20) for name, size in self.parts.items()
        }


def estimate(
    recipe: Recipe,
    config: Any,
    device: Device,
    prompt_tokens: int = PROMPT_TOKENS,
    feedback_tokens: int | None = None,
) -> list[Stage]:
    """The peaks of generate, warmup, train (its rollouts and its updates apart) and evaluate.

    Args:
        config: the student's configuration; see `doctor.model.student_config`.
        feedback_tokens: tokens of one feedback with its template; by default 64, or a teacher model's `max_tokens`.
    """
    import torch

    from rl2f_hub.doctor.trace import Traced
    from rl2f_hub.engines.memory import SHARE, bytes_per_position
    from rl2f_hub.students.load import lora_config

    spoken = recipe.teacher.kind in ("self", "model", "endpoint")
    feedback = feedback_tokens or (recipe.teacher.max_tokens if spoken else FEEDBACK_TOKENS)
    nf4 = recipe.model.quantization == "nf4"
    plain: dict[str, Any] = {"quantized": nf4, "dtype": recipe.model.dtype, "cuda": device.cuda}
    lora = lora_config(recipe.model.lora)
    bare = Traced(config, lora, kbit=False, checkpointing=False, **plain)
    trained = Traced(config, lora, kbit=nf4, checkpointing=device.cuda, **plain)

    window = int(getattr(config.get_text_config(), "max_position_embeddings", 1 << 20))

    def length(turns: int) -> int:
        whole = prompt_tokens + turns * recipe.dialogue.turn_tokens + (turns - 1) * feedback
        return min(whole, window)

    context = {"context": CUDA_CONTEXT} if device.cuda else {}
    base = {"weights": bare.weight_bytes} | context
    turns, total = recipe.dialogue.max_turns, len_tasks(recipe, "train")
    new = feedback + 1

    def rollout(model: Traced, rows: int, turns: int, fixed: int) -> dict[str, int]:
        """The engine's cache of `rows` dialogues, at most what the engine allows itself, and the last turn's work."""
        position = bytes_per_position(config.get_text_config(), getattr(torch, recipe.model.dtype))
        room = max(2, int(SHARE * max(0, device.memory - fixed)) // position)
        rows = max(1, min(rows, room // (length(turns) + 1)))  # dialogues that do not fit take turns
        entries = 0
        for turn in range(1, turns + 1):
            if length(turn) >= entries:  # the engine's cache grows in steps
                entries = max(length(turn), min(2 * length(turn), window, room // rows - 1)) + 1
        work = model.rollout(rows, length(turns), new if turns > 1 else length(turns) - 1)
        return {"cache": rows * entries * position, "logits_and_work": work + model.unpacked_bytes}

    def update(rows: int, copies: int) -> dict[str, int]:
        kept, head, more = trained.update(rows, length(turns), length(turns) - prompt_tokens)
        size = 4 * trained.adapter_parameters
        return {
            "weights": trained.weight_bytes,
            "adapter": size * copies,
            "gradients_and_optimizer": 3 * size,
            "activations": kept,
            "logits_and_work": head + more + trained.unpacked_bytes,
        } | context

    spec = recipe.train
    copies = 1 + (spec.first_turn_kl > 0 or float(spec.grpo.get("beta", 0.0)) > 0)
    dialogues = -(-spec.prompts_per_step * spec.num_generations // device.processes)
    micro = -(-dialogues // spec.accumulation)
    adapter = {"adapter": 4 * trained.adapter_parameters}
    stages = []

    def play(name: str, model: Traced, fixed: dict[str, int], rows: int, turns: int) -> None:
        copies = {"folded_copies": trained.folded_bytes if "adapter" in fixed else 0}
        stages.append(Stage(name, fixed | copies | rollout(model, rows, turns, sum(fixed.values()))))

    play("generate", bare, base, min(256, recipe.generate.shard, total), turns)
    if recipe.warmup.steps:
        stages.append(Stage("warmup", update(-(-recipe.warmup.batch_size // device.processes), 1)))
    updates = Stage("train, updates", update(micro, copies))
    static = {k: updates.parts[k] for k in ("weights", "adapter", "gradients_and_optimizer")} | context
    play("train, rollouts", trained, static, dialogues, turns)
    stages.append(updates)
    wave = min(recipe.evaluate.wave, max(len_tasks(recipe, "eval"), len_tasks(recipe, "ood")))
    play("evaluate", bare, base | adapter, wave, recipe.evaluate.max_turns)
    return stages


def len_tasks(recipe: Recipe, split: str) -> int:
    """Dialogues of a split at once, at most: its tasks, times the samples of generation."""
    count = sum(source.count for source in getattr(recipe.tasks, split))
    return count * (recipe.generate.samples_per_task if split == "train" else 1)
