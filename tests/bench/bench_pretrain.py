"""A step of pre-training from scratch with our Muon beside one with torch's, at the three sizes of the reproduction.

    python tests/bench/bench_pretrain.py [--steps 8] [--json FILE]

torch's orthogonalizes in bfloat16, ours in float32. Both take the same steps on the same batches of random ids, in turns,
so that a busy machine is busy for both; medians count. `floor` is the forward and backward pass alone.
`OMP_NUM_THREADS=1` unless you set it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from rl2f_hub.recipe import ScratchSpec, SourceSpec
from rl2f_hub.reproduction.plan import SIZES
from rl2f_hub.training.pretraining import scratch
from rl2f_hub.training.pretraining.scratch import MuonAdamW, build_model, build_tokenizer

ROWS, LENGTH = 16, 128


def contestant(size: str, muon: type[torch.optim.Muon]) -> tuple[Any, MuonAdamW]:
    """A random student of a size and its optimizer."""
    tokenizer = build_tokenizer(["Wrong: hundreds 3 too low, tens 1 right, units 8 too high."], 512, 512)
    shape = {key: value for key, value in SIZES[size].items() if key != "steps"}
    model = build_model(tokenizer, ScratchSpec(tasks=[SourceSpec(source="reasoning_gym:lcm", count=1)], **shape), 0)
    with mock.patch.object(scratch, "Muon", muon):
        return model, MuonAdamW(model, 1e-3)


def seconds(call: Callable[..., Any], *given: Any) -> float:
    started = time.perf_counter()
    call(*given)
    return time.perf_counter() - started


def passes(model: Any, ids: torch.Tensor) -> None:
    model(input_ids=ids, labels=ids).loss.backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path, dest="report")
    given = parser.parse_args()
    result = {}
    for size in SIZES:
        both = {"ours": contestant(size, scratch.Muon), "torch's": contestant(size, torch.optim.Muon)}
        times: dict[str, list[float]] = {name: [] for name in ("floor", *both)}
        draw = torch.Generator().manual_seed(0)
        for number in range(given.steps + 1):
            ids = torch.randint(5, 256, (ROWS, LENGTH), generator=draw)
            for name, (model, optimizer) in both.items():
                model.zero_grad()
                passed, moved = seconds(passes, model, ids), seconds(optimizer.step)
                if number:  # the first one fills caches
                    times["floor"].append(passed)
                    times[name].append(passed + moved)
        median = {name: statistics.median(measured) for name, measured in times.items()}
        ratio = median["torch's"] / median["ours"]
        print(
            f"{size:<6}"
            + "   ".join(f"{name} {value:.3f} s" for name, value in median.items())
            + f"   torch's takes {ratio:.2f} times as long as ours"
        )
        result[size] = {**median, "torch's to ours": ratio}
    if given.report:
        given.report.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
