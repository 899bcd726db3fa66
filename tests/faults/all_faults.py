"""Everything that this folder tries, in one command: stops, made-up input, scarce machines, bad answers, a soak.

    python tests/faults/all_faults.py --out FOLDER [--only STEP ...] [--hours 2]

Each step is a command of its own and prints a table of what was tried and what was lost; all of them keep what they have
done in FOLDER, so the same command goes on where it was. It takes several hours on two cores, most of them the soak's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ANSWERS = [str(HERE / "test_endpoint_faults.py"), str(HERE.parent / "e2e" / "test_hub_faults.py")]


def steps(out: Path, hours: float) -> dict[str, tuple[str, list[str]]]:
    """Name -> (title, command)."""
    python = sys.executable
    return {
        "stops": (
            "Runs stopped by SIGKILL and resumed",
            [python, str(HERE / "broken_runs.py"), "--signal", "SIGKILL", "--out", str(out / "stops")],
        ),
        "scarce": ("What a machine may refuse", [python, str(HERE / "scarce.py"), "--out", str(out / "scarce")]),
        "fuzz": ("Made-up input", [python, str(HERE / "fuzz.py"), "--out", str(out / "fuzz")]),
        "answers": ("Bad answers of a Hub and of a teacher", [python, "-m", "pytest", "-q", "--no-header", *ANSWERS]),
        "soak": (
            "Hours in one process",
            [python, str(HERE / "soak.py"), "--hours", str(hours), "--out", str(out / "soak")],
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=2.0, help="of the soak [2]")
    parser.add_argument("--only", nargs="+", choices=steps(Path(), 0), metavar="STEP")
    given = parser.parse_args()
    out = given.out.resolve()
    failed = []
    for name, (title, command) in steps(out, given.hours).items():
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
