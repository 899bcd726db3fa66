"""Runs that are stopped at random moments of every stage and resumed: what was tried, and what was lost.

    python tests/faults/broken_runs.py [--stops 50] [--each 5] [--signal SIGKILL] [--seed 0] [--out FOLDER]

A shrunken `rl2f run` is stopped once in each stage, and once before the first, at random moments. After each stop every file
that counts as whole is read, and no process may be left; then the run is resumed. When it ends, its figures (the data
set's fingerprint among them) are compared with those of an unbroken run, its Hub is checked, and the next run begins,
until there are `--stops` stops and `--each` in each stage. With `--out` the same command goes on where it was.

Left out: stops of the machine itself, where the file system may lose what a process had written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import default_signals
from e2e import shrunken
from e2e.left_over import descendants, still_there

from rl2f_hub.runs import STAGES

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
# With `python -m`, CPython ends by the signal itself (-2, for which a shell says 130 too) where the interrupt met code that
# it runs from a text, as dataclasses make it while they are imported, whatever the program made of the interrupt.
EXIT_CODES = {"SIGKILL": (-9,), "SIGTERM": (143,), "SIGINT": (130, -2)}
START = "start"  # before the first stage: imports, the tasks, the Hub
PLACES = (START, *STAGES)
STRETCH = (1, 2, 4)


@dataclass
class Stop:
    """One stop: where, how, what was found broken afterwards (nothing, if all is well), and what the resumed run did.

    `again_s` is how long the stage had worked since its last whole file, which is work to be done again; `resumed_s`
    how long the resumed command took from its start to the end of the stage.
    """

    signal: str
    stage: str
    after_s: float
    exit_code: int
    again_s: float
    lost: list[str] = field(default_factory=list)
    resumed_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A stop to be made: `after_s` seconds after the run enters `stage`."""

    signal: str
    stage: str
    after_s: float


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


def stages_of(out: Path) -> dict[str, str]:
    """The status of each stage that was begun."""
    try:
        stages = json.loads((out / "manifest.json").read_text())["stages"]
    except (FileNotFoundError, ValueError, KeyError):
        return {}
    return {name: entry["status"] for name, entry in stages.items()}


def last_write(folder: Path) -> float:
    """When a whole file was last written below a folder, in seconds of the clock."""
    whole = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
    return max((p.stat().st_mtime for p in whole), default=0.0)


def go(out: Path, plan: Plan | None, before: Stop | None) -> Stop | None:
    """Starts or resumes the run and stops it as planned; None if it ended first, or nothing was planned.

    Args:
        before: the last stop of this run, which learns how long it took to make up for it.
    Raises:
        AssertionError: the run fails by itself.
    """
    default_signals.restore()
    resume = ["--resume"] if (out / "manifest.json").is_file() else []
    done_already = {name for name, status in stages_of(out).items() if status == "done"}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            shrunken.command(out, *resume),
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=shrunken.environment(),
            cwd=out.parent,
        )
        entered = began if plan is not None and plan.stage == START else None
        entered_at = time.time()
        while process.poll() is None:
            time.sleep(0.005)
            status = stages_of(out)
            now = next((name for name, word in status.items() if word == "running"), None)
            if before is not None and not before.resumed_s:
                later = now is not None and PLACES.index(now) > PLACES.index(before.stage)
                if status.get(before.stage) == "done" or later:
                    before.resumed_s = round(time.monotonic() - began, 2)
            if plan is None:
                continue
            if entered is None and now == plan.stage:
                entered, entered_at = time.monotonic(), time.time()
            if entered is None or time.monotonic() - entered < plan.after_s:
                continue
            new = {name for name, word in status.items() if word == "done"} - done_already
            stage = now or max(new, key=PLACES.index, default=START)
            family = descendants(process.pid)
            process.send_signal(SIGNALS[plan.signal])
            at = time.time()
            try:
                process.wait(300)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return Stop(plan.signal, stage, round(plan.after_s, 2), 0, 0.0, ["did not end within five minutes"])
            said.seek(0)
            words = said.read()
            lost = broken_files(out) + [f"process left: {p}" for p in still_there(family)]
            if plan.signal != "SIGKILL" and ("Traceback" in words or process.returncode not in EXIT_CODES[plan.signal]):
                lost.append(f"exit code {process.returncode}: {words.strip().splitlines()[-1:]}")
            folder = out / ("evaluation" if stage == "evaluate" else stage)
            again = at - max(entered_at, min(last_write(folder), at))
            return Stop(plan.signal, stage, round(plan.after_s, 2), process.returncode, round(again, 2), lost)
        said.seek(0)
        if process.returncode != 0:
            raise AssertionError(f"the run failed by itself: {said.read()[-2000:]}")
        if before is not None and not before.resumed_s:
            before.resumed_s = round(time.monotonic() - began, 2)
    return None


def broken_run(folder: Path, unbroken: Path, plans: list[Plan]) -> list[Stop]:
    """A run stopped as planned, one stop after the other, finished and compared with an unbroken one.

    Raises:
        AssertionError: its figures differ, its Hub is damaged, or something temporary is left in its folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    out = folder / "quickstart"
    folder.mkdir(parents=True)
    stops: list[Stop] = []
    for plan in plans:
        if stages_of(out).get(plan.stage) == "done":  # the stop before this one came later than planned
            continue
        stop = go(out, plan, stops[-1] if stops else None)
        if stop is None:
            break
        stops.append(stop)
    go(out, None, stops[-1] if stops else None)
    assert shrunken.figures(out) == shrunken.figures(unbroken), f"{folder}: other figures than the unbroken run"
    left = [str(p) for p in out.rglob(".*.tmp")]
    assert not left, f"temporary files are left: {left}"
    check = [sys.executable, "-m", "rl2f_hub", "hub", "fsck", "--root", str(folder / "hub")]
    checked = subprocess.run(check, capture_output=True, text=True, env=shrunken.environment(), timeout=900)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    shutil.rmtree(folder)
    return stops


def plans_of(
    seed: str,
    unbroken: Path,
    hows: tuple[str, ...],
    places: tuple[str, ...] = PLACES,
    stretch: tuple[float, ...] = STRETCH,
) -> list[Plan]:
    """One stop in each of `places`, in their order, at a random moment; signals are dealt in turn.

    A moment lies within the time that the stage took in the unbroken run, times one of `stretch`: a machine that is busier
    now gets late moments too, and on a quiet one the run is in a later stage by then.
    """
    rng = random.Random(seed)
    stages = json.loads((unbroken / "manifest.json").read_text())["stages"]
    lengths = {START: 2.0, **{name: entry["wall_s"] for name, entry in stages.items()}}
    dealt = [hows[i % len(hows)] for i in range(len(places))]
    rng.shuffle(dealt)
    return [
        Plan(how, name, rng.random() * lengths[name] * rng.choice(stretch))
        for how, name in zip(dealt, places, strict=True)
    ]


def enough(stops: list[Stop], count: int, each: int) -> bool:
    by_stage = Counter(stop.stage for stop in stops)
    return len(stops) >= count and all(by_stage[stage] >= each for stage in STAGES)


def kept_rounds(file: Path) -> Iterator[list[Stop]]:
    """The rounds that an earlier call of the same command has finished."""
    if file.is_file():
        for line in file.read_text().splitlines():
            yield [Stop(**row) for row in json.loads(line)]


def table(stops: list[Stop]) -> str:
    """Markdown: by stage, what was tried, what was lost, and what it cost."""
    lines = [
        "| stopped in | stops | seconds into it | work done again, at most | lost | done after the resume, median (most) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for place in PLACES:
        here = [stop for stop in stops if stop.stage == place]
        if here:
            after, again = [s.after_s for s in here], max(s.again_s for s in here)
            lost = "; ".join(word for s in here for word in s.lost) or "nothing"
            took = [s.resumed_s for s in here]
            lines.append(
                f"| {place} | {len(here)} | {min(after):.1f} to {max(after):.1f} | {again:.1f} s | {lost} "
                f"| {statistics.median(took):.0f} s ({max(took):.0f} s) |"
            )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--each", type=int, default=5, help="at least so many in each stage [5]")
    parser.add_argument("--signal", action="append", choices=[*SIGNALS], help="which signals [all of them, in turn]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the runs are made and stops.jsonl is kept [a temporary folder]")
    given = parser.parse_args()
    folder = (given.out or Path(tempfile.mkdtemp(prefix="rl2f-faults-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    hows = tuple(given.signal or SIGNALS)
    unbroken = folder / "unbroken" / "quickstart"
    if not (unbroken / "summary.json").is_file():
        shutil.rmtree(unbroken, ignore_errors=True)
        done = shrunken.run(unbroken)
        assert done.returncode == 0, done.stderr[-2000:]
    kept = folder / "stops.jsonl"
    rounds = list(kept_rounds(kept))
    stops = [stop for made in rounds for stop in made]
    number = len(rounds)
    while not enough(stops, given.stops, given.each):
        made = broken_run(folder / "broken", unbroken, plans_of(f"{given.seed}/{number}", unbroken, hows))
        with kept.open("a") as file:
            file.write(json.dumps([asdict(stop) for stop in made]) + "\n")
        stops += made
        number += 1
        for stop in made:
            print(f"{stop.signal:<8} {stop.stage:<9} {stop.after_s:>6.2f}s  {'; '.join(stop.lost) or '-'}", flush=True)
    print(table(stops))
    bad = [stop for stop in stops if stop.lost]
    print(
        f"{len(stops)} stops of {number} runs, {len(bad)} with a loss; every run ended with the unbroken run's figures"
    )
    if given.out is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(bad))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    sys.exit(main())
