"""A child process of test_doctor.py: what a size of student really takes, in MiB of resident memory, as JSON.

For each size in turn a fork of this process (torch and TRL are loaded once) plays dialogues with the real engine, then
trains two updates with the real trainer. Resident memory is read from /proc; its high-water mark is reset before each.
Freed blocks go back to the system at once (MALLOC_MMAP_THRESHOLD_ in the environment), so the mark follows what is alive.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from typing import Any

SIZES: dict[str, dict[str, int]] = {
    "deep": {"hidden": 256, "layers": 10, "vocab": 2_000, "rows": 4},
    "wide": {"hidden": 768, "layers": 3, "vocab": 2_000, "rows": 4},
    "words": {"hidden": 192, "layers": 2, "vocab": 24_000, "rows": 4},
    "many": {"hidden": 192, "layers": 4, "vocab": 2_000, "rows": 16},
}
WARM = "warm"
GENERATED = 6  # times as many dialogues at once in generation as in an update
TURNS, TURN_TOKENS, PROMPT, FEEDBACK = 3, 32, 48, 40


def config(size: str) -> Any:
    from transformers import Qwen3Config

    s = SIZES.get(size, {"hidden": 64, "layers": 1, "vocab": 400, "rows": 4})
    return Qwen3Config(
        vocab_size=s["vocab"],
        hidden_size=s["hidden"],
        intermediate_size=3 * s["hidden"],
        num_hidden_layers=s["layers"],
        num_attention_heads=s["hidden"] // 64,
        num_key_value_heads=s["hidden"] // 64,
        head_dim=64,
        tie_word_embeddings=False,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )


def resident(mark: str) -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(mark)) / 1024


def reset() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return resident("VmRSS:")


def measure(size: str, stage: str, tokenizer: Any) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from rl2f_hub.dialogue.runner import run_dialogues
    from rl2f_hub.engines import Sampling
    from rl2f_hub.records import Privilege, Task
    from rl2f_hub.students.load import as_student
    from rl2f_hub.teachers import Reply
    from rl2f_hub.teachers.guard import Guard
    from rl2f_hub.training.trainer import RL2FConfig, RL2FTrainer

    torch.set_num_threads(1)
    rows = SIZES.get(size, {"rows": 4})["rows"]
    words = "ab " * 400  # three characters, two tokens

    class Wordy:
        name = "wordy"

        def feedback(self, situations: Any) -> list[Any]:
            return [
                Reply(tokenizer.decode(tokenizer(words)["input_ids"][: FEEDBACK - 4]), "try_again") for _ in situations
            ]

    def task(number: int) -> Task:
        text = tokenizer.decode(tokenizer(words)["input_ids"][: PROMPT - 4])
        return Task(f"t-{number}", "test", "words", text, Privilege("answer", "no such answer"), "text")

    start = reset()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(size), dtype=torch.float32)
    bias = torch.zeros(model.config.vocab_size)
    bias[tokenizer.eos_token_id] = -1e9  # it never ends by itself: every attempt has its full length
    model.lm_head.bias = torch.nn.Parameter(bias)
    if stage == "generate":
        rollouts = run_dialogues(
            [task(n) for n in range(GENERATED * rows)],
            as_student(model.eval(), tokenizer, "student"),
            Wordy(),
            guard=Guard(),
            max_turns=TURNS,
            sampling=Sampling(turn_tokens=TURN_TOKENS),
            seed=0,
        )
        longest = max(len(r.ledger.ids) for r in rollouts)
        return {"peak": resident("VmHWM:") - start, "tokens": longest}
    peft = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    args = RL2FConfig(
        output_dir=os.environ["OUT"],
        max_steps=2,
        per_device_train_batch_size=rows,
        num_generations=4,
        max_turns=TURNS,
        turn_tokens=TURN_TOKENS,
        max_completion_length=1000,
        critique_coef=0.1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    rows_of = Dataset.from_list([task(n).to_row() for n in range(rows)])
    trainer = RL2FTrainer(peft, args, rows_of, teacher=Wordy(), processing_class=tokenizer)
    trainer.train()
    return {"peak": resident("VmHWM:") - start}


def main() -> None:
    import torch  # noqa: F401
    import trl  # noqa: F401

    from rl2f_hub.training.pretraining.scratch import build_tokenizer

    tokenizer = build_tokenizer(["ab " * 50], 300, 1024)
    for size, stage in [(size, stage) for size in SIZES for stage in ("generate", "train")]:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # what libraries print is no result
            measure(WARM, stage, tokenizer)  # what is loaded or started at the first use belongs to nobody's peak
            os.write(write, json.dumps({"size": size, "stage": stage, **measure(size, stage, tokenizer)}).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            print(pipe.read(), flush=True)
        os.waitpid(child, 0)


if __name__ == "__main__":
    sys.exit(main())
