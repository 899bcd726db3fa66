"""Turns per second and memory of generation without a model, from tasks to Parquet.

Run: `python tests/bench/bench_generate.py [--dialogues 1000 10000 100000] [--profile]`. A scripted student names a wrong
number twice and then the right one, the scripted teacher answers, the guard reads every word, and the stage `generate`
and the writer of `publish` record it all, as with a model. Each size runs in a process of its own, on one core, so that
the peak of memory is its own. Nothing here loads torch.

Prints one JSON object: `turns_per_second` (generation and Parquet together) and `peak_rss_mib` by number of dialogues.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl2f_hub.engines import Engine

TASKS = 250  # products of four digits; each is played many times, as `generate.samples_per_task` does
WORDS = ("What is ", " * 34? Give only the number.", "Wrong: tens 4 too low, units 2 right. hundreds too high")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--profile", action="store_true", help="print where the time of the first size goes")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here or args.profile:
        if args.profile:
            import cProfile

            cProfile.run(f"measured({args.dialogues[0]})", sort="tottime")
        else:
            print(json.dumps(measured(args.dialogues[0])))
        return
    out: dict[str, Any] = {"aim_turns_per_second": 5000, "runs": []}
    for count in args.dialogues:
        command = [sys.executable, __file__, "--here", "--dialogues", str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        out["runs"].append(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps(out, indent=1))


def measured(count: int) -> dict[str, Any]:
    """Play and record `count` dialogues; figures of this process."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.generate import each_row, generate
    from rl2f_hub.publish import write_parquet
    from rl2f_hub.runs import Run, peak_rss_mib, write_rows

    chat = chat_format()
    with tempfile.TemporaryDirectory() as folder:
        run = Run.open(recipe(max(1, count // TASKS)), Path(folder))
        write_rows(run.path("tasks", "train.jsonl"), [task.to_row() for task in tasks(min(count, TASKS))])
        student = Student(Scripted(chat), chat, "scripted")
        write_parquet(Path(folder) / "warm.parquet", "dialogues", [])  # the libraries' imports are not counted
        began, cpu = time.perf_counter(), time.process_time()
        result = generate(run, student)
        played = time.perf_counter()
        rows = write_parquet(Path(folder) / "dialogues.parquet", "dialogues", each_row(run, result["shards"]))
        spent, worked = time.perf_counter() - began, time.process_time() - cpu
        size = (Path(folder) / "dialogues.parquet").stat().st_size
    assert "torch" not in sys.modules
    turns = result["counts"]["turns"]
    return {
        "dialogues": rows,
        "turns": turns,
        "seconds": round(spent, 2),
        "of_which_parquet": round(spent - (played - began), 2),
        "turns_per_second": round(turns / spent),
        "turns_per_cpu_second": round(turns / worked),
        "peak_rss_mib": peak_rss_mib(),
        "parquet_mib": round(size / 2**20, 2),
    }


class Scripted(Engine):
    """An engine and its session: says a wrong number twice, then the right one. Reads nothing."""

    context_length = 100_000
    cache_tokens = 1 << 30

    def __init__(self, chat: Any) -> None:
        from rl2f_hub.engines import Sampled

        self.texts = [[*chat.encode(str(n)), chat.eos_id] for n in range(100_000)]
        self.sampled = Sampled

    def open(self, seeds: list[int], sampling: Any, stop_ids: frozenset[int], share: float = 1.0) -> Scripted:
        self.seeds = seeds
        return self

    def restart(self, row: int) -> None:
        raise AssertionError("no rule of this bench retells a dialogue")

    def generate(
        self, rows: list[int], new_ids: list[list[int]], turns: Sequence[int], on_token: Any = None
    ) -> list[Any]:
        out = []
        for row, ids, turn in zip(rows, new_ids, turns, strict=True):
            if turn == 1:  # the seed says which wrong numbers this dialogue hears
                self.answers = getattr(self, "answers", {})
                self.answers[row] = self.texts[34 * (len(ids) * 7 + self.seeds[row] % 900)]
            said = self.answers[row] if turn == 3 else self.texts[(self.seeds[row] >> turn) % 90_000]
            out.append(self.sampled(said, [-1.0] * len(said), True))
        return out


def chat_format() -> Any:
    """A small byte-level tokenizer with ChatML, without torch."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from rl2f_hub.dialogue.chat_format import ChatFormat

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    marks = ["<|im_start|>", "<|im_end|>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        WORDS, trainers.BpeTrainer(vocab_size=400, special_tokens=marks, initial_alphabet=letters, show_progress=False)
    )
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return ChatFormat(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=marks[1], chat_template=template))


def tasks(count: int) -> list[Any]:
    from rl2f_hub.records import Privilege, Task

    return [
        Task(
            f"product-{n}",
            "bench",
            "arithmetic",
            WORDS[0] + str(n) + WORDS[1],
            Privilege("answer", str(34 * n)),
            "integer",
        )
        for n in range(30, 30 + count)
    ]


def recipe(samples: int) -> Any:
    from rl2f_hub.recipe import Recipe

    source = {"source": "jsonl:none", "count": 1}
    return Recipe.model_validate(
        {
            "name": "bench",
            "hub": {"dataset": "d", "adapter": "a", "base": "b"},
            "model": {"scratch": {"tasks": [source]}},
            "tasks": {"train": [source], "eval": [source]},
            "dialogue": {"max_turns": 3},
            "generate": {"samples_per_task": samples},
        }
    )


if __name__ == "__main__":
    main()
