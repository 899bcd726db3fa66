"""On a CUDA device: QLoRA of Qwen3 shapes with random weights fits 24 GB, and the estimate says so. Skipped elsewhere.

Never run where it was written: there was no GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
TURNS, TURN_TOKENS, GROUP, PROMPT, FEEDBACK = 4, 256, 8, 128, 64
GIB = 2**30
LIMIT = 24 * GIB


@pytest.fixture(scope="module")
def wordy(tokenizer: Any) -> Any:
    from rl2f_hub.teachers import Reply

    class Wordy:
        """Feedback of a known length, never a right answer."""

        name = "wordy"

        def feedback(self, situations: Any) -> list[Any]:
            text = tokenizer.decode(tokenizer("ab " * 100)["input_ids"][: FEEDBACK - 4])
            return [Reply(text, "try_again") for _ in situations]

    return Wordy()


@pytest.mark.parametrize("size", ["1.7b", "4b", "8b"])
def test_qlora_of_four_turns_in_a_group_of_eight_fits_24_gb(
    size: str, tokenizer: Any, wordy: Any, make_task: Any, tmp_path: Path
) -> None:
    import configs
    from datasets import Dataset
    from peft import prepare_model_for_kbit_training
    from transformers import AutoConfig, AutoModelForCausalLM

    from rl2f_hub.doctor.memory import Device, estimate
    from rl2f_hub.recipe import Recipe
    from rl2f_hub.students.load import Origin, load_model, lora_config
    from rl2f_hub.training.trainer import RL2FConfig, RL2FTrainer

    torch.cuda.set_per_process_memory_fraction(min(1.0, LIMIT / torch.cuda.mem_get_info()[1]))
    source = [{"source": "reasoning_gym:chain_sum", "count": GROUP}]
    recipe = Recipe.model_validate(
        {
            "name": "fits",
            "hub": {"dataset": "d", "adapter": "a"},
            "model": {
                "id": "random/weights",
                "quantization": "nf4",
                "dtype": "bfloat16",
                "lora": {"r": 16, "alpha": 32},
            },
            "tasks": {"train": source, "eval": source},
            "dialogue": {"max_turns": TURNS, "turn_tokens": TURN_TOKENS},
            "warmup": {"steps": 0},
            "train": {"prompts_per_step": 1, "num_generations": GROUP},
        }
    )
    config = AutoConfig.for_model(**configs.qwen3(size) | {"eos_token_id": tokenizer.eos_token_id})
    folder = tmp_path / "weights"
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(str(folder))
    base = load_model(Origin(str(folder)), "nf4", "bfloat16")
    model = prepare_model_for_kbit_training(base)
    torch.cuda.reset_peak_memory_stats()
    tasks = [make_task(n, "no such answer") for n in range(GROUP)]
    trainer = RL2FTrainer(
        model,
        RL2FConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            per_device_train_batch_size=GROUP,
            num_generations=GROUP,
            max_turns=TURNS,
            turn_tokens=TURN_TOKENS,
            max_completion_length=4096,
            report_to="none",
            save_strategy="no",
            bf16=True,
        ),
        Dataset.from_list([t.to_row() for t in tasks]),
        teacher=wordy,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.model.lora),
    )
    trainer.train()
    peak = torch.cuda.max_memory_allocated()
    stages = {s.name: s for s in estimate(recipe, config, Device(True, LIMIT), PROMPT, FEEDBACK)}
    guess = max(s.total - s.parts["context"] for name, s in stages.items() if name.startswith("train"))
    print(f"{size}: peak {peak / GIB:.2f} GiB, estimated {guess / GIB:.2f} GiB")
    assert peak < LIMIT
    assert guess > 0.8 * peak  # dialogues may end early, so the estimate may be above
