"""Where our trainer holds on to TRL and transformers. Each test names what broke when a new release moves it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOTrainer, SFTConfig, SFTTrainer

from rl2f_hub.training.trainer import RL2FTrainer

Make = Callable[..., Any]
OVERRIDDEN = {"_generate_and_score_completions", "_get_per_token_logps_and_entropies"}


def test_no_other_private_method_of_trl_is_overridden() -> None:
    theirs = {name for kind in GRPOTrainer.__mro__ for name in vars(kind)}
    ours = {name for name, value in vars(RL2FTrainer).items() if inspect.isfunction(value)}
    assert {name for name in ours & theirs if name.startswith("_") and not name.startswith("__")} == OVERRIDDEN


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (GRPOTrainer, "_generate_and_score_completions", ["inputs"]),
        (
            GRPOTrainer,
            "_get_per_token_logps_and_entropies",
            ["model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"],
        ),
        (Trainer, "compute_loss", ["model", "inputs", "return_outputs", "num_items_in_batch"]),
        (Trainer, "train", ["resume_from_checkpoint"]),
        (Trainer, "evaluation_loop", ["dataloader"]),
        (Trainer, "create_model_card", ["model_name"]),
        (Trainer, "_load_from_checkpoint", ["resume_from_checkpoint"]),
        (TrainerCallback, "on_save", ["args", "state", "control"]),
        (GRPOTrainer, "__init__", ["model", "reward_funcs", "args", "train_dataset", "eval_dataset", "rollout_func"]),
        (SFTConfig, "__init__", ["max_length", "packing"]),
        (DPOConfig, "__init__", ["max_length", "beta"]),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_what_we_override_and_call_is_there(owner: Any, name: str, parameters: list[str]) -> None:
    found = inspect.signature(getattr(owner, name)).parameters
    assert [p for p in parameters if p not in found] == [], f"{owner.__name__}.{name} has changed: {list(found)}"


def test_rollout_func_gets_each_prompt_num_generations_times_and_env_mask_is_the_loss_mask(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    """Whatever TRL's docstring says; `tool_mask` is what the policy's loss is over."""
    trainer = make_trainer(judged_by_length)
    seen: list[Any] = []
    play = trainer.rollout_func

    def spy(prompts: list[Any], its: Any) -> dict[str, Any]:
        out = play(prompts, its)
        seen.extend([prompts, out])
        return out

    trainer.rollout_func = spy
    batch = scored_batch(trainer)
    prompts, out = seen
    ids = [p[0]["task_id"] for p in prompts]
    assert [ids[i : i + 4] for i in range(0, len(ids), 4)] == [[ids[i]] * 4 for i in range(0, len(ids), 4)]
    for row, mask in zip(batch["tool_mask"], out["env_mask"], strict=True):
        assert row[: len(mask)].tolist() == mask
    assert {"teacher_mask", "advantages", "completion_ids", "prompt_mask"} <= set(batch)


def test_one_forward_pass_serves_trls_loss_and_our_terms(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    trainer = make_trainer(judged_by_length, critique_coef=0.5)
    batch = scored_batch(trainer)
    passes: list[Any] = []
    trainer.model.register_forward_hook(lambda *a: passes.append(1))
    assert trainer.compute_loss(trainer.model, batch).requires_grad
    assert len(passes) == 1


def test_callbacks_hear_of_a_checkpoint_when_its_folder_is_there(make_trainer: Make, judged_by_length: str) -> None:
    trainer = make_trainer(judged_by_length, save_strategy="steps", save_steps=1, max_steps=1)
    trainer.train()
    made = Path(trainer.args.output_dir) / "checkpoint-1"
    assert {"rl2f_state.json", "trainer_state.json"} <= {file.name for file in made.iterdir()}


@pytest.mark.parametrize(("kind", "config"), [(SFTTrainer, SFTConfig), (DPOTrainer, DPOConfig)])
def test_trl_takes_ids_as_they_are(kind: Any, config: Any, make_model: Make, tokenizer: Any, tmp_path: Path) -> None:
    """SFT has rows of ids in its constructor; DPO renders what it is given, and trains on its `train_dataset`."""
    from datasets import Dataset
    from peft import LoraConfig

    settings = {"report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    args = config(output_dir=str(tmp_path), max_length=None, per_device_train_batch_size=1, **settings)
    sft = Dataset.from_list([{"input_ids": [5, 6, 7, 8], "labels": [-100, 6, -100, 8]}])
    dpo = Dataset.from_list([{"prompt_ids": [5, 6], "chosen_ids": [7, 8], "rejected_ids": [9, 10]}])
    stand_in = Dataset.from_list([{"prompt": "-", "chosen": "-", "rejected": "-"}])
    trainer = kind(
        make_model(),
        args=args,
        train_dataset=sft if kind is SFTTrainer else stand_in,
        processing_class=tokenizer,
        peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    if kind is DPOTrainer:
        trainer.train_dataset = dpo
    batch = next(iter(trainer.get_train_dataloader()))
    if kind is SFTTrainer:
        assert (batch["input_ids"].tolist(), batch["labels"].tolist()) == ([[5, 6, 7, 8]], [[-100, 6, -100, 8]])
    else:
        assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 6, 9, 10]]
        assert batch["completion_mask"].tolist() == [[0, 0, 1, 1]] * 2


PROGRAM = """
import sys
from peft import LoraConfig
from rl2f_hub import RL2FConfig, RL2FTrainer

folder, out = sys.argv[1:]
args = RL2FConfig(out, max_steps=1, per_device_train_batch_size=4, num_generations=4, max_turns=2, turn_tokens=4,
                  use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, save_strategy="no")
rows = [{"prompt": f"What is {n} * 34?", "reference": str(n * 34)} for n in range(3)]
RL2FTrainer(folder, args, rows, peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")).train()
"""


def test_a_training_in_python_says_nothing_about_libraries(tmp_path: Path, make_model: Make, tokenizer: Any) -> None:
    """In a shell that silences nothing: no notice of TRL's experiments, no deprecation, no missing kernel."""
    folder = tmp_path / "model"
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    env = {name: value for name, value in os.environ.items() if name != "TRL_EXPERIMENTAL_SILENCE"}
    command = [sys.executable, "-c", PROGRAM, str(folder), str(tmp_path / "out")]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for word in ("Warning", "deprecated", "experimental", "gemm_4bit"):
        assert word not in done.stderr, done.stderr[-3000:]
