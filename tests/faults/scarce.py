"""Runs to which the machine refuses something: space, the right to write, large files, memory, a steady clock.

    python tests/faults/scarce.py [--only NAME ...] [--out FOLDER] [--list]

Each case goes on from a shrunken run whose base is made, in child processes, with real limits: a small tmpfs and read-only
mounts (bubblewrap), RLIMIT_FSIZE, RLIMIT_AS, a clock that jumps. What is refused must end in one line that says what to
do, or not be noticed; then the limit is lifted and the run resumed. It must end with the figures of an unbroken run.
With `--out` the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from broken_runs import broken_files
from e2e import shrunken

HERE = Path(__file__).parent
LIMIT_S = 1800  # of a run, on a very busy machine
MIB = 1 << 20


@dataclass
class Case:
    """What happened: the exit code and last line under the limit, and what was wrong (nothing, if all is well)."""

    name: str
    exit_code: int
    said: str
    wrong: list[str]


def half_made(unbroken: Path, folder: Path, *kept: str) -> Path:
    """A copy of a finished run that has only the stages `kept` done, beside a copy of its Hub."""
    out = folder / "quickstart"
    hidden = shutil.ignore_patterns("server.*", "leases", "locks")
    shutil.copytree(unbroken.parent / "hub", folder / "hub", ignore=hidden)
    for name in ("tasks", *kept):
        if (unbroken / name).is_dir():
            shutil.copytree(unbroken / name, out / name)
    manifest = json.loads((unbroken / "manifest.json").read_text())
    manifest["stages"] = {name: manifest["stages"][name] for name in kept}
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def run(
    out: Path,
    *more: str,
    within: tuple[str, ...] = (),
    instead: tuple[str, ...] = (),
    changes: dict[str, Any] | None = None,
    limit: Callable[[], None] | None = None,
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """`rl2f run` on `out`, under a command `within`, or by a script `instead` of the module."""
    command = shrunken.command(out, *more, changes=changes)
    command = [*within, command[0], *(instead or command[1:3]), *command[3:]]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**shrunken.environment(), **env},
        cwd=out.parent if out.parent.is_dir() else None,
        timeout=LIMIT_S,
        preexec_fn=limit,
    )


def lingering(folder: Path, patience_s: float = 15.0) -> list[str]:
    """Processes that were started for `folder` and do not end."""
    until = time.monotonic() + patience_s
    while True:
        left = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if "rl2f_hub.localhub.child" in command and any(part.startswith(str(folder)) for part in command):
                left.append(f"process left: {' '.join(command)[:120]}")
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


def case_of(name: str, done: subprocess.CompletedProcess[str], out: Path, words: str | None) -> Case:
    """What a run under a limit did; `words` must be in its last line, None if it is to go through."""
    lines = done.stderr.strip().splitlines() or [""]
    wrong = [*(broken_files(out) if out.is_dir() else []), *lingering(out.parent)]
    if "Traceback" in done.stderr + done.stdout:
        wrong.append("a traceback: " + done.stderr[-3000:])
    if words is None and done.returncode != 0:
        wrong.append("it should have gone through: " + done.stderr[-1000:])
    if words is not None and (done.returncode != 1 or not lines[-1].startswith("error: ") or words not in lines[-1]):
        wrong.append(f"exit code {done.returncode} without a last line about {words!r}: " + done.stderr[-1000:])
    return Case(name, done.returncode, lines[-1] if words is not None else "", wrong)


def resumed(case: Case, out: Path, unbroken: Path, changes: dict[str, Any] | None = None) -> Case:
    """After the limit is lifted: the run is finished, and its figures are those of the unbroken one."""
    done = run(out, "--resume", changes=changes)
    if done.returncode != 0:
        case.wrong.append("it does not resume: " + done.stderr[-1000:])
    elif shrunken.figures(out) != shrunken.figures(unbroken):
        case.wrong.append("other figures than the unbroken run")
    return case


def full_disk(share: float, name: str, unbroken: Path, folder: Path) -> Case:
    """The disk is full after `share` of what the run has to write; space is freed, and the run goes on there."""
    size = sum(p.stat().st_size for p in unbroken.parent.rglob("*") if p.is_file())
    walls = ("bwrap", "--dev-bind", "/", "/", "--size", str(4 * size + 64 * MIB), "--tmpfs", str(folder))
    me = (sys.executable, __file__, "--within", str(share), str(unbroken), str(folder))
    done = subprocess.run([*walls, *me], capture_output=True, text=True, timeout=3 * LIMIT_S)
    if done.returncode != 0:
        return Case(name, done.returncode, "", [done.stderr[-3000:]])
    return Case(**{**json.loads(done.stdout), "name": name})


def on_small_disk(share: float, unbroken: Path, folder: Path) -> Case:
    """The inner part of `full_disk`, where `folder` is a small disk."""
    out = half_made(unbroken, folder, "base")
    there = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    whole = sum(p.stat().st_size for p in unbroken.parent.rglob("*") if p.is_file())
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(folder).free - int(share * (whole - there)))))
    case = case_of("", run(out, "--resume", TMPDIR=str(folder)), out, "No space left on device")
    ballast.unlink()
    return resumed(case, out, unbroken)


def read_only(kept: tuple[str, ...], name: str, unbroken: Path, folder: Path) -> Case:
    """The folder of the run cannot be written to; `kept` are the stages it has, none for a new run."""
    if kept:
        out = half_made(unbroken, folder, *kept)
    else:
        out = folder / "quickstart"
    walls = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", str(folder), str(folder))
    case = case_of(name, run(out, *(["--resume"] if kept else []), within=walls), out, "Read-only file system")
    return resumed(case, out, unbroken) if kept else case


def small_files(kib: int, name: str, unbroken: Path, folder: Path) -> Case:
    """No file may be larger than `kib` KiB."""
    out = half_made(unbroken, folder, "base")
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (kib << 10, resource.RLIM_INFINITY))
    case = case_of(name, run(out, "--resume", limit=limit), out, "File too large")
    return resumed(case, out, unbroken)


def jumping_clock(name: str, unbroken: Path, folder: Path) -> Case:
    """time.time() jumps 400 days ahead and back and behind, every second; nothing else is wrong."""
    out = half_made(unbroken, folder, "base")
    path = os.pathsep.join([str(HERE / "clock"), os.environ.get("PYTHONPATH", "")])
    case = case_of(name, run(out, "--resume", PYTHONPATH=path), out, None)
    stages = json.loads((out / "manifest.json").read_text())["stages"]
    case.wrong += [f"{k} took {v['wall_s']} s" for k, v in stages.items() if not 0 <= v["wall_s"] < LIMIT_S]
    if case.exit_code == 0 and shrunken.figures(out) != shrunken.figures(unbroken):
        case.wrong.append("other figures than the unbroken run")
    return case


def little_memory(name: str, unbroken: Path, folder: Path) -> Case:
    """In `generate` only some of the dialogues fit into memory at once: fewer run at once, and say the same."""
    changes = {"generate.samples_per_task": 8, "generate.shard": 512}
    out = half_made(unbroken, folder, "base")
    manifest = json.loads((out / "manifest.json").read_text())
    fingerprint = json.loads(run_config(changes))
    (out / "manifest.json").write_text(json.dumps(manifest | fingerprint))
    whole = folder / "whole"
    shutil.copytree(out, whole / "quickstart")
    shutil.copytree(folder / "hub", whole / "hub")
    only = ("--resume", "--only", "base,generate")
    done = run(whole / "quickstart", *only, changes=changes)
    if done.returncode != 0:
        return Case(name, done.returncode, "", ["without a limit: " + done.stderr[-1000:]])
    done = run(out, *only, instead=(str(HERE / "capped.py"), "attempt", "24"), changes=changes)
    case = case_of(name, done, out, None)
    told = [line for line in done.stderr.splitlines() if "memory: none left for" in line]
    case.said = told[-1] if told else ""
    if not told:
        case.wrong.append("memory was not short: " + done.stderr[-500:])
    rows = [sorted((d / "generate").glob("*.jsonl")) for d in (out, whole / "quickstart")]
    if not case.wrong and [p.read_bytes() for p in rows[0]] != [p.read_bytes() for p in rows[1]]:
        case.wrong.append("other dialogues than with enough memory")
    return case


def run_config(changes: dict[str, Any]) -> str:
    """The parts of a manifest that say which recipe it is of, as JSON."""
    from rl2f_hub.recipe import load_recipe

    recipe = load_recipe(shrunken.RECIPE, [f"{k}={v}" for k, v in {**shrunken.SMALLER, **changes}.items()])
    return json.dumps({"recipe": recipe.model_dump(mode="json"), "fingerprint": recipe.fingerprint})


def no_memory(name: str, unbroken: Path, folder: Path) -> Case:
    """Memory ends in the third step of RL: one line, the checkpoint is kept, and the run resumes from it."""
    out = half_made(unbroken, folder, "base", "generate", "publish", "warmup")
    done = run(out, "--resume", instead=(str(HERE / "capped.py"), "loss", "0"))
    case = case_of(name, done, out, "memory: none left in step 3 of train (RL2F)")
    if not (out / "train" / "rl2f" / "trainer" / "checkpoint-2" / "rl2f_complete").is_file():
        case.wrong.append("the checkpoint is gone")
    return resumed(case, out, unbroken)


CASES: dict[str, Callable[[str, Path, Path], Case]] = {
    **{f"disk full after {p} % of the writing": partial(full_disk, p / 100) for p in (2, 15, 30, 45, 60, 75, 90)},
    "read-only folder, new run": partial(read_only, ()),
    "read-only folder, half a run": partial(read_only, ("base", "generate")),
    **{f"no file larger than {kib} KiB": partial(small_files, kib) for kib in (8, 64)},
    "clock jumps by 400 days": jumping_clock,
    "memory short in generation": little_memory,
    "no memory in training": no_memory,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="NAME")
    parser.add_argument("--list", action="store_true", help="the names of the cases")
    parser.add_argument("--out", type=Path, help="where runs are made and cases.jsonl is kept [a temporary folder]")
    parser.add_argument("--within", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.within:
        share, unbroken, folder = given.within
        print(json.dumps(asdict(on_small_disk(float(share), Path(unbroken), Path(folder)))))
        return 0
    if given.list:
        print("\n".join(CASES))
        return 0
    folder = (given.out or Path(tempfile.mkdtemp(prefix="rl2f-scarce-"))).resolve()
    unbroken = folder / "unbroken" / "quickstart"
    if not (unbroken / "summary.json").is_file():
        shutil.rmtree(unbroken.parent, ignore_errors=True)
        done = shrunken.run(unbroken)
        assert done.returncode == 0, done.stderr[-2000:]
    kept = folder / "cases.jsonl"
    cases = [Case(**json.loads(line)) for line in kept.read_text().splitlines()] if kept.is_file() else []
    made = {case.name for case in cases}
    for name in given.only or CASES:
        if name not in made:
            place = folder / "case"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            cases.append(CASES[name](name, unbroken, place))
            with kept.open("a") as file:
                file.write(json.dumps(asdict(cases[-1])) + "\n")
            print(f"{name}: {'; '.join(cases[-1].wrong) or 'nothing lost'}", flush=True)
    print("| what was short | last line under it | lost |\n| --- | --- | --- |")
    for case in cases:
        said = case.said.replace(str(folder), "...") or "none, it goes through"
        print(f"| {case.name} | {said} | {'; '.join(case.wrong) or 'nothing'} |")
    if given.out is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(any(case.wrong for case in cases))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(HERE.parents[1]))
    sys.exit(main())
