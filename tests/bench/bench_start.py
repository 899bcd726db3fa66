"""How long a user waits before anything happens: `import rl2f_hub`, `rl2f --help`, and `trl --help` beside it.

    python tests/bench/bench_start.py [--repeat 5] [--json FILE]

Each is a new process; the contestants take turns, so that a busy machine is busy for all, and the median counts. Beside the
clock's seconds stand the CPU's: nothing waits here, so on a quiet machine the two agree, and on a busy one the CPU's hold.
The time of a bare interpreter is taken off where it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTESTANTS = {
    "bare interpreter": ["-c", "pass"],
    "import rl2f_hub": ["-c", "import rl2f_hub"],
    "rl2f --help": ["-m", "rl2f_hub", "--help"],
    "trl --help": ["-c", "import sys; sys.argv = ['trl', '--help']; from trl.cli import main; main()"],
}


def seconds(arguments: list[str]) -> tuple[float, float]:
    """(by the clock, of the CPU)."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {done.returncode}: {done.stderr[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, dest="report")
    given = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for arguments in CONTESTANTS.values():
        seconds(arguments)  # fills the caches
    for _ in range(given.repeat):
        for name, arguments in CONTESTANTS.items():
            times[name].append(seconds(arguments))
    result: dict[str, dict[str, float]] = {}
    for kind, word in enumerate(("clock", "CPU")):
        median = {name: statistics.median(pair[kind] for pair in measured) for name, measured in times.items()}
        for name, measured in times.items():
            several = [pair[kind] for pair in measured]
            print(f"{word:<6}{name:<18} {median[name]:6.2f} s   ({min(several):.2f} to {max(several):.2f})")
        alone = median["import rl2f_hub"] - median["bare interpreter"]
        ratio = median["trl --help"] / median["rl2f --help"]
        print(
            f"{word}: importing takes {alone:.2f} s more; `trl --help` takes {ratio:.1f} times as long as `rl2f --help`"
        )
        result[word] = {**median, "import alone": alone, "trl to rl2f": ratio}
    if given.report:
        given.report.write_text(json.dumps({"median_s": result, "times_s": times}, indent=1) + "\n")


if __name__ == "__main__":
    main()
