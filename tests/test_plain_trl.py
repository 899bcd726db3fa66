"""Published configs go straight into plain TRL: two steps each of SFT, GRPO and DPO, with none of our code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_client import env_of
from recorded_run import dialogue, recorded

from rl2f_hub.localhub import LocalHub

PROGRAM = """
import json, sys
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

repo, folder, out = sys.argv[1:]
shared = dict(max_steps=2, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
              disable_tqdm=True, logging_steps=1, save_strategy="no", per_device_train_batch_size=4, learning_rate=1e-2)
seen = []

def exact(completions, reference, **others):
    seen.append(sorted(others))
    return [float(text.strip() == right) for text, right in zip(completions, reference)]

def parts():
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

logs = {}
model, tokenizer = parts()
trainer = SFTTrainer(model, SFTConfig("sft", max_length=256, **shared),
                     train_dataset=load_dataset(repo, "sft", split="train"), processing_class=tokenizer)
labels = next(iter(trainer.get_train_dataloader()))["labels"]
logs["masked"] = [bool((row == -100).any() and (row != -100).any()) for row in labels]
trainer.train()
logs["sft"] = trainer.state.log_history
model, tokenizer = parts()
trainer = GRPOTrainer(model, exact, GRPOConfig("grpo", num_generations=4, max_completion_length=4, **shared),
                      train_dataset=load_dataset(repo, "tasks", split="train"), processing_class=tokenizer)
trainer.train()
logs["grpo"] = trainer.state.log_history
model, tokenizer = parts()
trainer = DPOTrainer(model, args=DPOConfig("dpo", max_length=256, **shared),
                     train_dataset=load_dataset(repo, "preferences", split="train"), processing_class=tokenizer)
trainer.train()
logs["dpo"] = trainer.state.log_history
logs["rewarded"] = len(seen)
assert not [name for name in sys.modules if name.startswith("rl2f_hub")]
json.dump(logs, open(out, "w"), default=str)
"""


def test_sft_tasks_and_preferences_train_with_plain_trl(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any
) -> None:
    from huggingface_hub import HfApi

    from rl2f_hub.publish import publish

    folder = tmp_path / "model"
    make_model(context=512).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with LocalHub.start(tmp_path / "root") as hub:
        given = [dialogue(n, wrong=1 + n % 2) for n in range(1, 9)]
        run = recorded(tmp_path / "run", given, preferences=True, dataset="plain")
        publish(run, "me", api=HfApi(endpoint=hub.endpoint, token=hub.token))
        env = env_of(hub, tmp_path / "home")
        command = [sys.executable, "-c", PROGRAM, "me/plain", str(folder), str(tmp_path / "logs.json")]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = json.loads((tmp_path / "logs.json").read_text())
    for trainer in ("sft", "grpo", "dpo"):
        steps = [entry for entry in logs[trainer] if "loss" in entry]
        assert len(steps) == 2, trainer
    assert all(logs["masked"])  # the prompt is not trained on, the attempt is
    assert logs["rewarded"] >= 2
