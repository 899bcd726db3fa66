"""Stage `warmup`: SFT of the adapter on the published `sft` config, with TRL's SFTTrainer, assistant tokens only.

The rows come back from the Hub at the revision that `publish` recorded. By default only attempts that solved their
dialogue are learnt (rejection sampling), which makes the warm-up an SFT baseline at its best.
"""

from __future__ import annotations

from typing import Any

from rl2f_hub.callbacks import MetricsFile, StepProgress, WholeCheckpoints, quiet, train_to_end
from rl2f_hub.errors import RL2FError
from rl2f_hub.hub_errors import hub_errors
from rl2f_hub.progress import bar
from rl2f_hub.runs import Run, latest_checkpoint
from rl2f_hub.students.load import load_model, load_tokenizer, lora_config, origin_of


def warmup(run: Run) -> dict[str, Any]:
    """Trains and saves the adapter to `warmup/adapter`; returns rows used, steps and the last loss."""
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    recipe, spec = run.recipe, run.recipe.warmup
    published = run.outputs("publish")
    with hub_errors(published["repo_id"]):
        rows = load_dataset(published["repo_id"], "sft", split="train", revision=published["revision"])
    if spec.rows == "solved":
        rows = rows.filter(lambda row: row["correct"], desc=None)
    if len(rows) == 0:
        raise RL2FError("warmup.rows: 'solved' leaves no row: no dialogue was solved; use easier tasks or rows: all")
    origin = origin_of(recipe.model, run.manifest["stages"].get("base", {}).get("outputs") or None)
    tokenizer = load_tokenizer(origin)
    folder = run.path("warmup", "trainer")
    args = SFTConfig(
        output_dir=str(folder),
        max_steps=max(spec.steps, 1),
        per_device_train_batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        completion_only_loss=True,
        packing=False,
        seed=recipe.seed,
        save_steps=max(10, spec.steps // 3),
        save_total_limit=2,
        logging_steps=max(1, spec.steps // 20),
        **cpu_arguments(),
    )
    trainer = SFTTrainer(
        model=load_model(origin, recipe.model.quantization, recipe.model.dtype),
        args=args,
        train_dataset=rows.select_columns(["prompt", "completion"]),
        processing_class=tokenizer,
        peft_config=lora_config(recipe.model.lora),
    )
    quiet(trainer)
    trainer.add_callback(WholeCheckpoints())
    trainer.add_callback(MetricsFile(run.path("warmup", "log.json")))
    resume = latest_checkpoint(folder)
    start = int(resume.rsplit("-", 1)[1]) if resume else 0
    if spec.steps > 0:
        with bar("warmup (SFT)", spec.steps, "steps", start=start) as advance:
            trainer.add_callback(StepProgress(advance, {"loss": "loss"}))
            train_to_end(trainer, resume, spec.steps)
    save_adapter(trainer.model, run.path("warmup", "adapter"), origin)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"rows": len(rows), "steps": spec.steps, "loss": losses[-1] if losses else None}


def cpu_arguments() -> dict[str, Any]:
    """Trainer arguments that differ between a CPU and a GPU."""
    import torch

    shared = {"report_to": "none", "disable_tqdm": True}
    if torch.cuda.is_available():
        return shared | {"bf16": torch.cuda.is_bf16_supported()}
    return shared | {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}


def save_adapter(model: Any, path: Any, origin: Any) -> None:
    """Saves the adapter `default` alone, as safetensors, naming its base by id and revision."""
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.revision = origin.location, origin.revision
    model.save_pretrained(str(path), selected_adapters=["default"], safe_serialization=True)
