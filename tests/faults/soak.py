"""Generate and evaluate for hours in one process: what it holds must not grow.

    python tests/faults/soak.py [--hours 2] [--rounds N] [--out FOLDER] [--pause 0]

A shrunken run is made once; then its stages `generate` and `evaluate` are done again and again in this process, each time
with another seed (other tasks, other dialogues), the Hub opened and closed around them as `rl2f run` does. After each
round the process's resident memory, open files, threads and children are counted into FOLDER/samples.jsonl; before that
Python collects its garbage, and sympy, with which tasks are drawn, empties its caches: they have a bound (1,000 results of
each function), which new tasks reach only after many hours. A FOLDER with a finished soak is only judged again.

Flat means, in the second half of the rounds: the line through the memory (Theil-Sen, the median of the slopes of all pairs)
does not rise, or rises by less than 1 % of the memory over as long again as was watched, and files, threads
and children are never more than in the first half.

Left out: the memory of children while they run (the embedded Hub's has its own bench), and GPUs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from e2e import shrunken
from e2e.left_over import descendants

SETTLING = 0.5  # the share of the rounds in which caches fill, libraries load and the heap finds its size
RISE = 0.01  # of the memory, over as long again as was watched
COUNTS = ("files", "threads", "children")


def sample(began: float) -> dict[str, Any]:
    """What this process holds now, without what it would give back if it had to."""
    from sympy.core.cache import clear_cache

    clear_cache()
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "hours": round((time.monotonic() - began) / 3600, 4),
        "rss_mib": round(int(status["VmRSS"].split()[0]) / 1024, 2),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": int(status["Threads"]),
        "children": len(descendants(os.getpid())) - 1,
    }


def verdict(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether the samples are flat, with the figures that say so.

    Raises:
        ValueError: too few rounds to tell (fewer than 10).
    """
    if len(samples) < 10:
        raise ValueError(f"{len(samples)} rounds are too few to tell")
    settled = max(2, round(SETTLING * len(samples)))
    first, rest = samples[:settled], samples[settled:]
    step = -(-len(rest) // 500)  # pairs of at most 500 points
    points = [(s["hours"], s["rss_mib"]) for s in rest[::step]]
    slope = median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0])
    watched, level = rest[-1]["hours"] - rest[0]["hours"], median(s["rss_mib"] for s in rest)
    grown = {name: max(s[name] for s in rest) - max(s[name] for s in first) for name in COUNTS}
    return {
        "rounds": len(samples),
        "hours": samples[-1]["hours"],
        "rss_mib": level,
        "rss_range_mib": [min(s["rss_mib"] for s in rest), max(s["rss_mib"] for s in rest)],
        "slope_mib_per_hour": round(slope, 3),
        "most": {name: max(s[name] for s in samples) for name in COUNTS},
        "flat": slope * watched < RISE * level and all(more <= 0 for more in grown.values()),
    }


def play(out: Path, seed: int) -> None:
    """One round: both stages of the run in `out`, with the tasks and dialogues of `seed`."""
    from rl2f_hub.pipeline import run_stages
    from rl2f_hub.recipe import load_recipe
    from rl2f_hub.runs import Run

    sets = [f"{key}={value}" for key, value in {**shrunken.SMALLER, "evaluate.sampled": "true", "seed": seed}.items()]
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["stages"].pop("generate", None)
    manifest["stages"].pop("evaluate", None)
    for name in ("tasks", "generate", "evaluation"):
        shutil.rmtree(out / name, ignore_errors=True)
    run = Run(load_recipe(shrunken.RECIPE, sets), out, manifest)
    run_stages(run, ("generate", "evaluate"))
    assert run.done("generate") and run.done("evaluate")


def soak(folder: Path, kept: Path, hours: float, rounds: int | None, pause: float) -> list[dict[str, Any]]:
    """Rounds until the time is over; what was sampled after each of them."""
    out = folder / "run" / "quickstart"
    shutil.rmtree(folder / "run", ignore_errors=True)
    done = shrunken.run(out)
    assert done.returncode == 0, done.stderr[-2000:]
    began = time.monotonic()
    samples: list[dict[str, Any]] = []
    with kept.open("w") as file:
        while time.monotonic() - began < hours * 3600 and (rounds is None or len(samples) < rounds):
            play(out, seed=1000 + len(samples))
            samples.append(sample(began))
            file.write(json.dumps(samples[-1]) + "\n")
            file.flush()
            time.sleep(pause)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, help="stop after so many rounds")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of rest after each round")
    parser.add_argument("--out", type=Path, help="where the run is made and samples.jsonl is kept [a temporary folder]")
    given = parser.parse_args()
    folder = (given.out or Path(tempfile.mkdtemp(prefix="rl2f-soak-"))).resolve()
    kept = folder / "samples.jsonl"
    if (folder / "finished").is_file():
        samples = [json.loads(line) for line in kept.read_text().splitlines()]
    else:
        samples = soak(folder, kept, given.hours, given.rounds, given.pause)
        (folder / "finished").touch()
    result = verdict(samples)
    print(json.dumps(result, indent=1))
    if given.out is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not result["flat"])


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    sys.exit(main())
