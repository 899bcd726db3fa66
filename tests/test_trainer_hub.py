"""RL2FTrainer's own `push_to_hub`, as in a user's script. Trackers are the recipes' smoke test's to show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub_client import env_of

from rl2f_hub.localhub import LocalHub

PROGRAM = """
import sys
from datasets import Dataset
from peft import LoraConfig
from rl2f_hub.records import Privilege, Task
from rl2f_hub.training.trainer import RL2FConfig, RL2FTrainer

folder, out = sys.argv[1:]
tasks = [Task(f"t-{n}", "s", "d", f"What is {n} * 34?", Privilege("answer", str(n * 34)), "integer") for n in range(3, 6)]
args = RL2FConfig(
    out, push_to_hub=True, hub_model_id="me/pushed", hub_strategy="end", report_to="none",
    max_steps=1, per_device_train_batch_size=4, num_generations=4, max_turns=2, turn_tokens=4, learning_rate=1e-2,
    use_cpu=True, bf16=False, gradient_checkpointing=False, logging_steps=1, save_strategy="no", disable_tqdm=True,
)
trainer = RL2FTrainer(folder, args, Dataset.from_list([t.to_row() for t in tasks]),
                      peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
trainer.train()
trainer.push_to_hub()
"""


def test_the_trainer_pushes_its_adapter_with_a_card(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any
) -> None:
    """The adapter is on the Hub with a card that names our trainer, and no token is anywhere."""
    from huggingface_hub import HfApi

    folder = tmp_path / "model"
    make_model(context=512).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with LocalHub.start(tmp_path / "root") as hub:
        env = env_of(hub, tmp_path / "home")
        command = [sys.executable, "-c", PROGRAM, str(folder), str(tmp_path / "out")]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        assert "adapter_model.safetensors" in api.list_repo_files("me/pushed")
        card = Path(api.hf_hub_download("me/pushed", "README.md", cache_dir=tmp_path / "cache")).read_text()
        assert "rl2f" in card
        assert hub.token not in card + done.stdout + done.stderr
