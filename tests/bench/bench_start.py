"""How long a user waits before anything happens: `import rl2f_hub`, `rl2f --help`, and `trl --help` beside it.

    python tests/bench/bench_start.py [--repeat 5] [--json FILE]

Each is a new process; the contestants take turns, so that a busy machine is busy for all, and the median counts. The time of a
bare interpreter is shown, and taken off where it says so.
"""

from __future__ import annotations

import argparse
import json
import os
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


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, dest="report")
    given = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for arguments in CONTESTANTS.values():
        seconds(arguments)  # fills the caches
    for _ in range(given.repeat):
        for name, arguments in CONTESTANTS.items():
            times[name].append(seconds(arguments))
    median = {name: statistics.median(measured) for name, measured in times.items()}
    for name, measured in times.items():
        print(f"{name:<18} {median[name]:6.2f} s   ({min(measured):.2f} to {max(measured):.2f})")
    alone = median["import rl2f_hub"] - median["bare interpreter"]
    ratio = median["trl --help"] / median["rl2f --help"]
    print(f"importing alone takes {alone:.2f} s; `trl --help` takes {ratio:.1f} times as long as `rl2f --help`")
    if given.report:
        result = {"median_s": median, "import_alone_s": alone, "trl_to_rl2f": ratio, "times_s": times}
        given.report.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
