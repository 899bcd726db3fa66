"""Everything that this folder tries, in one command: stops, made-up input, scarce machines, bad answers, a soak.

    python tests/faults/all_faults.py --out FOLDER [--only STEP ...] [--share 1]

Each step is a command of its own and prints a table of what was tried and what was lost; all of them keep what they have
done in FOLDER, so the same command goes on where it was. It takes several hours on two cores; `--share 0.1` tries a tenth of
the stops and of the made-up cases, and soaks for a tenth of two hours.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ANSWERS = [str(HERE / "test_endpoint_faults.py"), str(HERE.parent / "e2e" / "test_hub_faults.py")]


def steps(out: Path, share: float) -> dict[str, tuple[str, list[str]]]:
    """Name -> (title, command)."""
    python = sys.executable
    stops = ["--stops", str(math.ceil(50 * share)), "--each", str(math.ceil(5 * share))]
    cases, hours = ["--cases", str(math.ceil(100_000 * share))], ["--hours", str(2 * share)]
    return {
        "stops": (
            "Runs stopped by SIGKILL and resumed",
            [python, str(HERE / "broken_runs.py"), "--signal", "SIGKILL", *stops, "--out", str(out / "stops")],
        ),
        "scarce": ("What a machine may refuse", [python, str(HERE / "scarce.py"), "--out", str(out / "scarce")]),
        "fuzz": ("Made-up input", [python, str(HERE / "fuzz.py"), *cases, "--out", str(out / "fuzz")]),
        "answers": ("Bad answers of a Hub and of a teacher", [python, "-m", "pytest", "-q", "--no-header", *ANSWERS]),
        "soak": (
            "Hours in one process",
            [python, str(HERE / "soak.py"), *hours, "--out", str(out / "soak")],
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of 50 stops, 100,000 cases and 2 hours [1]")
    parser.add_argument("--only", nargs="+", choices=steps(Path(), 0), metavar="STEP")
    given = parser.parse_args()
    out = given.out.resolve()
    failed = []
    for name, (title, command) in steps(out, given.share).items():
        if not given.only or name in given.only:
            (out / name).mkdir(parents=True, exist_ok=True)
            print(f"\n## {title}\n", flush=True)
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(name)
    print(f"\n{'something was lost in: ' + ', '.join(failed) if failed else 'nothing was lost'}")
    return int(bool(failed))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(HERE.parents[1]))
    sys.exit(main())
