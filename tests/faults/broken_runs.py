"""Runs that are stopped at random moments and resumed: what was tried, and what was lost.

    python tests/faults/broken_runs.py [--stops 50] [--seed 0] [--out FOLDER] [--json FILE]

A shrunken `rl2f run` is started, stopped by SIGKILL, SIGTERM or SIGINT at a random moment of a stage, looked at (every file that
counts as whole is whole, no process is left), and resumed with `--resume`, again and again; whenever a run ends, its
figures are compared with those of an unbroken run, its Hub is checked, and the next run begins. Left out: stops of the
machine itself, where the file system may lose what a process had written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from e2e import shrunken

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
EXIT_CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}
PATIENCE_S = 15.0  # for the processes of a stopped run to end


@dataclass
class Stop:
    """One stop: where, how, and what was found broken afterwards (nothing, if all is well)."""

    signal: str
    stage: str
    after_s: float
    exit_code: int
    lost: list[str] = field(default_factory=list)


def broken_files(folder: Path) -> list[str]:
    """Files of a run folder that count as whole and are not.

    Temporary neighbours do not count, nor do trainer checkpoints without their marker: a resumed run removes them.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        checkpoint = next((p for p in path.parents if p.name.startswith("checkpoint-")), None)
        if not path.is_file() or path.name.startswith("."):
            continue
        if checkpoint is not None and not (checkpoint / "rl2f_complete").is_file():
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".jsonl":
                text = path.read_text(encoding="utf-8")
                assert not text or text.endswith("\n"), "no end of line"
                [json.loads(line) for line in text.splitlines()]
            elif path.suffix == ".safetensors":
                from safetensors import safe_open

                with safe_open(path, "np") as file:
                    list(file.keys())
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return found


def descendants(pid: int) -> dict[int, str]:
    """Processes below one, each with the time of its start, which tells it from a later one of the same number."""
    parents: dict[int, int] = {}
    starts: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)], starts[int(entry.name)] = int(stat[1]), stat[19]
    found = {pid: starts.get(pid, "")}
    while more := {child for child, above in parents.items() if above in found and child not in found}:
        found |= {child: starts[child] for child in more}
    return found


def still_there(processes: dict[int, str], patience: float = PATIENCE_S) -> list[str]:
    """Those that have not ended after a while."""
    until = time.monotonic() + patience
    while True:
        left = []
        for pid, start in processes.items():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                if stat[19] == start and stat[0] != "Z":
                    left.append(f"{pid}: {Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')[:100]}")
            except OSError:
                continue
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.05)


def running_stage(out: Path) -> str | None:
    try:
        stages = json.loads((out / "manifest.json").read_text())["stages"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return next((name for name, entry in stages.items() if entry["status"] == "running"), None)


def stop_once(out: Path, how: str, wanted: str, after_s: float) -> Stop | None:
    """Starts or resumes the run and stops it `after_s` seconds after it enters the stage `wanted`; None if it ended first."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: the run would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    resume = ["--resume"] if (out / "manifest.json").is_file() else []
    process = subprocess.Popen(
        shrunken.command(out, *resume),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=shrunken.environment(),
        cwd=out.parent,
    )
    assert process.stderr is not None
    entered = None
    while process.poll() is None:
        time.sleep(0.01)
        stage = running_stage(out)
        if stage is not None and stage == wanted:
            entered = entered or time.monotonic()
        if entered is not None and time.monotonic() - entered >= after_s:  # also when that stage is over already
            family = descendants(process.pid)
            process.send_signal(SIGNALS[how])
            try:
                _, said = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return Stop(how, stage or "between", round(after_s, 2), 0, ["did not end within a minute"])
            lost = broken_files(out) + [f"process left: {p}" for p in still_there(family)]
            if how != "SIGKILL" and ("Traceback" in said or process.returncode != EXIT_CODES[how]):
                lost.append(f"exit code {process.returncode}: {said.strip().splitlines()[-1:]}")
            return Stop(how, stage or "between", round(after_s, 2), process.returncode, lost)
    _, said = process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"the run failed by itself: {said[-2000:]}")
    return None


def stops(
    folder: Path, unbroken: Path, count: int, seed: int, hows: tuple[str, ...] = tuple(SIGNALS)
) -> Iterator[Stop]:
    """`count` stops over as many runs as it takes; the last run is finished, and each finished run is compared.

    Raises:
        AssertionError: a finished run's figures differ from the unbroken run's.
    """
    rng = random.Random(seed)
    lengths = {name: e["wall_s"] for name, e in json.loads((unbroken / "manifest.json").read_text())["stages"].items()}
    done = number = 0
    while done < count:
        number += 1
        out = folder / f"run-{number}" / "quickstart"
        out.parent.mkdir(parents=True)
        order = list(lengths)
        while order and done < count:
            # A later stage more often than not, so that one run sees many stages.
            at = rng.randrange(min(2, len(order)))
            stage = order[at]
            stop = stop_once(out, rng.choice(hows), stage, rng.random() * lengths[stage])
            if stop is None:
                break
            done += 1
            yield stop
            order = order[order.index(stop.stage) :] if stop.stage in order else order
            if rng.random() < 0.6:
                order = order[1:]
        last = shrunken.run(out, "--resume")
        assert last.returncode == 0, last.stderr[-2000:]
        assert shrunken.figures(out) == shrunken.figures(unbroken), f"run {number}: other figures than the unbroken run"
        check = [sys.executable, "-m", "rl2f_hub", "hub", "fsck", "--root", str(out.parent / "hub")]
        checked = subprocess.run(check, capture_output=True, text=True, env=shrunken.environment(), timeout=120)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        shutil.rmtree(out.parent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the runs are made [a temporary folder]")
    parser.add_argument("--json", type=Path, dest="report")
    given = parser.parse_args()
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rl2f-faults-", dir=given.out))
    unbroken = folder / "unbroken" / "quickstart"
    done = shrunken.run(unbroken)
    assert done.returncode == 0, done.stderr[-2000:]
    made: list[Stop] = []
    print(f"{'#':>3} {'signal':<8} {'stage':<9} {'after':>7}  lost")
    for stop in stops(folder, unbroken, given.stops, given.seed):
        made.append(stop)
        print(
            f"{len(made):>3} {stop.signal:<8} {stop.stage:<9} {stop.after_s:>6.2f}s  {'; '.join(stop.lost) or '-'}",
            flush=True,
        )
    bad = [stop for stop in made if stop.lost]
    print(f"{len(made)} stops, {len(bad)} with a loss; every finished run has the unbroken run's figures")
    if given.report:
        given.report.write_text(json.dumps([asdict(stop) for stop in made], indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    return int(bool(bad))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    sys.exit(main())
