"""What the phases of training share: the adapter each one starts from, the loop around its trainer, and what it leaves.

Warm-up, critique phase, RL and the baselines chain through adapters in folders. A phase goes on with the adapter of
the one before it (`continue`), or puts a new one on top of it (`stack`). A stacked adapter is saved as one: two low-rank
changes of the same weights are one of the summed rank, exactly, so whoever loads it needs the base alone.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError, out_of_memory
from rl2f_hub.runs import Run, latest_checkpoint, write_json
from rl2f_hub.students import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from rl2f_hub.students.load import Origin, check_adapter_config, load_model, lora_config, origin_of


def base_of(run: Run) -> Origin:
    """Where the base weights of a run's student are."""
    return origin_of(run.recipe.model, run.own_base)


def trainable(run: Run, start: Path | None, stack: bool = False) -> Any:
    """The run's base with an adapter to train: that of `start`, or a new one on `start` (`stack`) or on the base alone.

    Raises:
        UsageError: an adapter for another base, targets that the model does not have, `stack` on a quantised base.
    """
    from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
    from transformers import set_seed

    spec, origin = run.recipe.model, base_of(run)
    if start is not None:
        check_base(start, origin)
    if stack and spec.quantization != "none":
        raise UsageError(
            f"train.adapter: stack with model.quantization {spec.quantization}: merging an adapter into 4-bit weights "
            "changes what the model says; use continue"
        )
    base = load_model(origin, spec.quantization, spec.dtype)
    if spec.quantization != "none":
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=base.device.type == "cuda")
    if start is not None and not stack:
        return PeftModel.from_pretrained(base, str(start), is_trainable=True)
    if start is not None:
        base = PeftModel.from_pretrained(base, str(start)).merge_and_unload()
    set_seed(run.recipe.seed)  # a new adapter starts from random numbers
    try:
        return get_peft_model(base, lora_config(spec.lora))
    except ValueError as error:
        raise UsageError(f"model.lora.target_modules: {' '.join(str(error).split())[:200]}") from None


def check_base(adapter: Path, origin: Origin) -> None:
    """Refuses an adapter that was trained on another base.

    Raises:
        UsageError: it names another base, or another revision of it.
        RL2FError: no adapter there.
    """
    try:
        config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise RL2FError(
            f"{adapter}: no adapter there ({ADAPTER_CONFIG} cannot be read); run the phase before it again"
        ) from None
    if not isinstance(config, dict):
        raise RL2FError(f"{adapter}: {ADAPTER_CONFIG} is no JSON object; run the phase before it again")
    check_adapter_config(config, str(adapter))
    if not (adapter / ADAPTER_WEIGHTS).is_file():  # PEFT would take a pickle
        raise RL2FError(
            f"{adapter}: an adapter without {ADAPTER_WEIGHTS}; weights in other formats are not loaded, convert them first"
        )
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    other = revision and origin.revision and revision != origin.revision
    if base != origin.location or other:
        at = f"{base!r} at {revision}" if other else repr(base)
        raise UsageError(
            f"adapter {str(adapter)!r}: trained on {at}, this run's base is {origin.location!r}"
            f"{f' at {origin.revision}' if other else ''}; use an adapter of the same base"
        )


def arguments(run: Run, where: tuple[str, ...], steps: int, learning_rate: float) -> dict[str, Any]:
    """What the TRL configurations of all phases share. Nothing that TRL would cut or pack rows by is left at its default.

    Args:
        where: the phase's folder below the run's.
        steps: updates in all.
    """
    import torch

    shared: dict[str, Any] = {
        "output_dir": str(trainer_folder(run, where)),
        "max_steps": steps,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "seed": run.recipe.seed,
        "save_steps": max(10, steps // 3),
        "save_total_limit": 2,
        "logging_steps": max(1, steps // 20),
        "report_to": "none",
        "disable_tqdm": True,
    }
    if torch.cuda.is_available():
        return shared | {"bf16": torch.cuda.is_bf16_supported()}
    return shared | {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}


def fit(trainer: Any, run: Run, where: tuple[str, ...], label: str, steps: int, notes: dict[str, str]) -> int:
    """Train for `steps` updates in all, with a progress bar that shows `notes`, from the last checkpoint in `where`.

    Returns:
        The updates that were made.
    Raises:
        RL2FError: no memory is left; the checkpoints are. Or fewer updates were made than asked for.
    """
    from rl2f_hub.runtime.progress import bar
    from rl2f_hub.training.callbacks import (
        FiniteUpdates,
        MetricsFile,
        StepProgress,
        WholeCheckpoints,
        quiet,
        train_to_end,
    )

    resume = latest_checkpoint(trainer_folder(run, where))
    quiet(trainer)
    for callback in (WholeCheckpoints(), FiniteUpdates(), MetricsFile(run.path(*where, "log.json"))):
        trainer.add_callback(callback)
    start = int(resume.rsplit("-", 1)[1]) if resume else 0
    with bar(label, steps, "steps", start=start) as advance:
        trainer.add_callback(StepProgress(advance, notes))
        with redirect_stdout(sys.stderr):  # trackers talk; standard output is for results
            try:
                train_to_end(trainer, resume, steps)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                smaller = "a smaller warmup.batch_size" if where[0] == "warmup" else "a larger train.accumulation"
                raise RL2FError(
                    f"memory: none left in step {trainer.state.global_step + 1} of {label}; free memory and use --resume, "
                    f"which goes on from the last checkpoint, or start again with {smaller}"
                ) from None
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()  # transformers leaves it open, and the next training would write into this one's
    made = int(trainer.state.global_step)
    if made < steps:
        raise RL2FError(f"{label}: {made} of {steps} updates were made, as the training rows ran out; give more tasks")
    return made


def trainer_folder(run: Run, where: tuple[str, ...]) -> Path:
    """Where a phase's trainer keeps its checkpoints."""
    return run.path(*where, "trainer")


def save_adapter(trainer: Any, folder: Path, origin: Origin, below: Path | None = None) -> None:
    """Saves the adapter `default` alone, as safetensors, naming its base by id and revision; one process writes.

    Args:
        below: the adapter that this one was stacked on: both are saved as one.
    """
    from rl2f_hub.training.sharded import adapter_state

    model = trainer.accelerator.unwrap_model(trainer.model)
    state = adapter_state(model, "default")
    if trainer.is_world_process_zero():
        config = model.peft_config["default"]
        config.base_model_name_or_path, config.revision = origin.location, origin.revision
        model.save_pretrained(str(folder), selected_adapters=["default"], safe_serialization=True, state_dict=state)
        if below is not None:
            stack_adapters(below, folder, folder)
    trainer.accelerator.wait_for_everyone()


def stack_adapters(first: Path, second: Path, out: Path) -> None:
    """Writes to `out` the one LoRA adapter that changes the weights as `first` and `second` together do.

    The rows of A and the columns of B follow each other; each B takes its adapter's own scale, so that the new one's is 1.

    Raises:
        UsageError: an adapter that is more than plain LoRA.
    """
    import torch
    from safetensors.torch import load_file, save_file

    configs = [json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")) for folder in (first, second)]
    states = [load_file(str(folder / ADAPTER_WEIGHTS)) for folder in (first, second)]
    for folder, config in zip((first, second), configs, strict=True):
        odd = [k for k in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern") if config.get(k)]
        if odd or config.get("bias", "none") != "none" or config.get("peft_type") != "LORA":
            raise UsageError(f"adapter {str(folder)!r}: {', '.join(odd) or 'its kind'} cannot be stacked; use continue")
    ranks = [config["r"] for config in configs]
    merged: dict[str, torch.Tensor] = {}
    for key in sorted({*states[0], *states[1]}):
        axis = 0 if ".lora_A." in key else 1
        like = next(state[key] for state in states if key in state)
        parts = []
        for config, state, rank in zip(configs, states, ranks, strict=True):
            shape = [*like.shape]
            shape[axis] = rank
            part = state[key] if key in state else torch.zeros(shape, dtype=like.dtype)
            parts.append(part if axis == 0 else part * (config["lora_alpha"] / rank))
        merged[key] = torch.cat(parts, dim=axis).contiguous()
    targets = sorted({name for config in configs for name in config["target_modules"]})
    out.mkdir(parents=True, exist_ok=True)
    save_file(merged, str(out / ADAPTER_WEIGHTS), metadata={"format": "pt"})
    write_json(
        out / ADAPTER_CONFIG, {**configs[1], "r": sum(ranks), "lora_alpha": sum(ranks), "target_modules": targets}
    )
