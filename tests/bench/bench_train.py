"""A training step: where its time goes, what the critique term costs, and RL2F beside TRL's own single-turn GRPO.

Run: `python tests/bench/bench_train.py [--quick] [--rounds N] --json FILE`

All in one process on the same random student of the quickstart's shape (and, without `--quick`, a wider one); every
round plays all contestants, in turns, and each ratio is the median over the rounds of the ratios within a round, so that
a busy machine slows both sides. Seconds are CPU seconds of one thread.

* `outside`: share of a step that is neither sampling nor the forward and backward passes: verifier, teacher, guard,
  ledgers, padding, advantages, optimizer, logs. The aim is at most 0.1.
* `critique`: what the term adds to the loss and its gradient on one batch, as a share of a step, at temperature 1 (where
  it has the policy's own log-probabilities) and at 0.8 (where the teacher's tokens go through the head once more); the
  aim is at most 0.03. And the memory that the loss and its gradient hold at most, by the high-water mark of resident memory.
* `against_trl`: an RL2F step of `turns` attempts against a step of TRL's GRPOTrainer on as many prompts and completions.
  `same_tokens` is the aim's, at most 1.1: TRL samples as many tokens as all attempts have and its prompt holds as many
  more as the teacher's words, so that as many are sampled and as many go through the model. `same_length`: one attempt as
  long as a whole dialogue, which samples far more. `same_sampled`: nothing in place of the teacher's words, which RL2F
  alone reads then.
* `growth`: seconds a step by turns and by dialogues.
* `peak_share`: multiply-adds of a step's model passes as a share of what this machine's matrix product reaches.

Nobody is right (but for chance) and no attempt stops early, so that all steps sample the same number of tokens; dialogues
without an advantage are trained on all the same, which RL2F would otherwise leave out. `--quick` takes about a minute of
one core, all of it some minutes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0", TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1")

import argparse
import ctypes
import gc
import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

import rl2f_hub.training.trainer
from rl2f_hub.dialogue import timings
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.recipe import ScratchSpec, SourceSpec
from rl2f_hub.records import Privilege, Task
from rl2f_hub.training import rollouts
from rl2f_hub.training.callbacks import quiet
from rl2f_hub.training.critique import critique_loss
from rl2f_hub.training.pretraining.scratch import build_model, build_tokenizer
from rl2f_hub.training.trainer import RL2FConfig, RL2FTrainer

TEXTS = ["What is 12 * 34? Wrong: tens 4 too low, units 2 right. Correct."] * 4
SHAPES = {
    "quickstart": {"hidden": 96, "layers": 3, "heads": 4, "intermediate": 192},
    "wider": {"hidden": 256, "layers": 6, "heads": 4, "intermediate": 1024},
}
TURNS, TOKENS, DIALOGUES, GROUP, STEPS = 4, 12, 32, 8, 3


@dataclass
class Parts:
    """CPU seconds of the parts of a training's steps; the first step, which warms up, is left out."""

    steps: list[float] = field(default_factory=list)
    passes: float = 0.0
    length: int = 0  # ids after the prompt, of the longest completion
    prompt: int = 0  # ids of the longest prompt
    timings: Timings = field(default_factory=Timings)
    warm: tuple[float, float] = (0.0, 0.0)  # of passes and sampling, when the first step was over


@contextmanager
def adding(parts: Parts) -> Iterator[None]:
    began = time.process_time()
    try:
        yield
    finally:
        parts.passes += time.process_time() - began


class Clock(TrainerCallback):
    """CPU seconds from the beginning of a step, its dialogues included, to its end."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.began = parts, 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now = time.process_time()
        self.parts.steps.append(now - self.began)
        self.began = now
        if len(self.parts.steps) == 1:
            self.parts.warm = (self.parts.passes, self.parts.timings.seconds["student"])


def _tasks(count: int) -> list[Task]:
    return [
        Task(f"t-{n}", "bench", "bench", f"What is {n} * 34?", Privilege("answer", "98765"), "integer")
        for n in range(100, 100 + count)
    ]


def _settings(dialogues: int, out: str) -> dict[str, Any]:
    return {
        "output_dir": out,
        "per_device_train_batch_size": dialogues,
        "num_generations": GROUP,
        "max_steps": STEPS,
        "learning_rate": 1e-6,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
    }


def _measure(trainer: Any, parts: Parts) -> None:
    """Train, with the model's passes and the sampling timed."""
    quiet(trainer)
    trainer.add_callback(Clock(parts))
    logps, backward = trainer._get_per_token_logps_and_entropies, trainer.accelerator.backward

    def timed_logps(*args: Any, **kwargs: Any) -> Any:
        parts.length, parts.prompt = args[3], args[1].size(1) - args[3]
        with adding(parts):
            return logps(*args, **kwargs)

    def timed_backward(*args: Any, **kwargs: Any) -> Any:
        with adding(parts):
            return backward(*args, **kwargs)

    trainer._get_per_token_logps_and_entropies = timed_logps
    trainer.accelerator.backward = timed_backward
    trainer.train()


def ours(model: Any, tokenizer: Any, turns: int = TURNS, dialogues: int = DIALOGUES, **options: Any) -> Parts:
    """Steps of RL2FTrainer."""
    parts = Parts()
    with tempfile.TemporaryDirectory() as out:
        args = RL2FConfig(max_turns=turns, turn_tokens=TOKENS, **{**_settings(dialogues, out), **options})
        trainer = RL2FTrainer(
            model, args, Dataset.from_list([t.to_row() for t in _tasks(dialogues)]), processing_class=tokenizer
        )
        trainer.chat.stop_ids = frozenset()
        trainer._without_idle_rows = lambda batch: batch
        played = partial(rollouts.run_dialogues, timings=parts.timings)
        cpu = SimpleNamespace(perf_counter=time.process_time)
        with patch.object(rollouts, "run_dialogues", played), patch.object(timings, "time", cpu):
            _measure(trainer, parts)
    return parts


def _filled(text: str, tokenizer: Any, ids: int) -> list[dict[str, str]]:
    """A question of `ids` ids in its template, or a little more: its text, then digits."""
    while True:
        messages = [{"role": "user", "content": text}]
        more = ids - len(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        )
        if more <= 0:
            return messages
        text += "7" * more


def trls(model: Any, tokenizer: Any, length: int, prompt: int = 0) -> Parts:
    """Steps of TRL's GRPOTrainer: one attempt of `length` tokens after a prompt of at least `prompt`."""
    parts = Parts()
    with tempfile.TemporaryDirectory() as out:
        args = GRPOConfig(
            max_completion_length=length,
            generation_kwargs={"min_new_tokens": length},
            **_settings(DIALOGUES, out),
        )
        prompts = [_filled(t.prompt, tokenizer, prompt) for t in _tasks(DIALOGUES)]
        trainer = GRPOTrainer(
            model,
            reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
            args=args,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=tokenizer,
        )
        _measure(trainer, parts)
    return parts


def step(parts: Parts) -> float:
    """Median CPU seconds of a step after the first."""
    return median(parts.steps[1:])


def outside(parts: Parts) -> float:
    """Share of the steps after the first that is neither sampling nor forward and backward."""
    inside = parts.passes - parts.warm[0] + parts.timings.seconds["student"] - parts.warm[1]
    return 1 - inside / sum(parts.steps[1:])


@contextmanager
def on_one_batch(model: Any, tokenizer: Any, **options: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A trainer and the batch that it would train on first; gradients are there already."""
    with tempfile.TemporaryDirectory() as out:
        args = RL2FConfig(max_turns=TURNS, turn_tokens=TOKENS, **{**_settings(DIALOGUES, out), **options})
        rows = Dataset.from_list([t.to_row() for t in _tasks(DIALOGUES)])
        trainer = RL2FTrainer(model, args, rows, processing_class=tokenizer)
        trainer.chat.stop_ids = frozenset()
        trainer._without_idle_rows = lambda batch: batch
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        batch = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
        trainer.compute_loss(trainer.model, batch).backward()
        yield trainer, batch


def peak_mib(model: Any, tokenizer: Any, **options: Any) -> float | None:
    """Most resident memory during a loss and its gradient above what was resident before it, in MiB (Linux)."""
    with on_one_batch(model, tokenizer, **options) as (trainer, batch):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is None:
            return None
        gc.collect()
        trim(0)  # what is freed but not given back would hide as much of the peak
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts afresh
        before = _status("VmRSS")
        trainer.compute_loss(trainer.model, batch).backward()
        return (_status("VmHWM") - before) / 1024


def critique_seconds(fresh: Callable[[], Any], tokenizer: Any, pairs: int, temperature: float) -> float:
    """CPU seconds that the critique term adds to a loss and its gradient: median over pairs of passes on one batch."""
    with on_one_batch(fresh(), tokenizer, temperature=temperature, critique_coef=0.1) as (trainer, batch):
        plain = trainer._plain

        def passed(on: bool) -> float:
            trainer.args.critique_coef = 0.1 if on else 0.0
            trainer._plain = plain if on else None
            term = critique_loss if on else lambda *_: torch.zeros(())  # off, it would still be worked out for the log
            with patch.object(rl2f_hub.training.trainer, "critique_loss", term):
                began = time.process_time()
                trainer.compute_loss(trainer.model, batch).backward()
                return time.process_time() - began

        return median(passed(True) - passed(False) for _ in range(pairs))


def _status(name: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if name in line)


def matmul_peak() -> float:
    """Floating-point operations a CPU second of this machine's matrix product, at its best of several sizes."""
    best = 0.0
    for size in (256, 512, 1024):
        a, b = torch.randn(size, size), torch.randn(size, size)
        a @ b
        began, count = time.process_time(), 0
        while time.process_time() - began < 0.3:
            a @ b
            count += 1
        best = max(best, 2 * size**3 * count / (time.process_time() - began))
    return best


def peak_share(model: Any, parts: Parts, turns: int, peak: float) -> dict[str, float]:
    """Tokens a second and the model passes' share of the peak: 2 operations a weight sampled, 6 trained.

    Attention's products and what the teacher's words add to sampling are not counted, so the share is a lower bound.
    """
    weights = sum(p.numel() for p in model.parameters()) - model.get_input_embeddings().weight.numel()
    weights += model.get_output_embeddings().weight.numel() if model.config.tie_word_embeddings else 0
    tokens = DIALOGUES * turns * TOKENS
    return {"tokens_s": tokens / step(parts), "share_of_matmul": 8 * weights * tokens / step(parts) / peak}


def bench(shape: str, rounds: int, pairs: int, quick: bool) -> dict[str, Any]:
    tokenizer = build_tokenizer(TEXTS, 320, 1024)
    tokenizer.padding_side = "left"
    spec = ScratchSpec(**SHAPES[shape], context=1024, tasks=[SourceSpec(source="jsonl:none", count=1)])

    def fresh() -> Any:
        torch.manual_seed(0)
        return build_model(tokenizer, spec, 0)

    ratios: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        ratios.setdefault(name, []).append(value)

    for _ in range(rounds):
        ours_ = ours(fresh(), tokenizer, critique_coef=0.1)
        sampled = TURNS * TOKENS
        trl = {
            "same_tokens": trls(fresh(), tokenizer, sampled, ours_.prompt + ours_.length - sampled),
            "same_length": trls(fresh(), tokenizer, ours_.length),
            "same_sampled": trls(fresh(), tokenizer, sampled),
        }
        note("outside", outside(ours_))
        for name, theirs in trl.items():
            note(f"against_trl/{name}", step(ours_) / step(theirs))
        for name, temperature in (("critique", 1.0), ("critique_at_0.8", 0.8)):
            note(name, critique_seconds(fresh, tokenizer, pairs, temperature) / step(ours_))
    result: dict[str, Any] = {name: {"median": median(v), "rounds": v} for name, v in ratios.items()}
    result["seconds_a_step"] = {"ours": step(ours_), **{name: step(theirs) for name, theirs in trl.items()}}
    result["ids"] = {"prompt": ours_.prompt, "after_it": ours_.length, "sampled": TURNS * TOKENS}
    result["last_training"] = {**ours_.timings.seconds, "passes": ours_.passes, "all_steps": sum(ours_.steps)}
    result["peak"] = peak_share(fresh(), ours_, TURNS, matmul_peak())
    result["loss_memory_mib"] = {
        "without": peak_mib(fresh(), tokenizer, critique_coef=0.0),
        "critique": peak_mib(fresh(), tokenizer, critique_coef=0.1),
        "critique_at_0.8": peak_mib(fresh(), tokenizer, critique_coef=0.1, temperature=0.8),
    }
    if shape != "quickstart":  # growth is the small shape's to show: minutes less
        return result
    turns = (1, 2, 4) if quick else (1, 2, 4, 8)
    sizes = (16, 32) if quick else (16, 32, 64, 128)
    result["growth"] = {
        "turns": {n: step(ours(fresh(), tokenizer, turns=n)) for n in turns},
        "dialogues": {n: step(ours(fresh(), tokenizer, dialogues=n)) for n in sizes},
    }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the quickstart's shape alone, fewer sizes")
    parser.add_argument("--rounds", type=int, help="by default 1 with --quick, 3 without")
    parser.add_argument("--pairs", type=int, default=6, help="passes with and without the critique term")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rounds = given.rounds or (1 if given.quick else 3)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    out: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg(),
        "step": {"turns": TURNS, "turn_tokens": TOKENS, "dialogues": DIALOGUES, "group": GROUP},
    }
    for shape in ("quickstart",) if given.quick else SHAPES:
        out[shape] = bench(shape, rounds if shape == "quickstart" else 1, given.pairs, given.quick)
        print(shape, json.dumps(out[shape], indent=1), flush=True)
    if given.json:
        given.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
