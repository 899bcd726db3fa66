"""The run directory: manifest, stage bookkeeping, atomic files and what makes a killed run resumable.

`manifest.json` holds the recipe, its fingerprint, versions, hardware and, per stage, status, wall time, peak memory
and outputs. A stage is done when the manifest says so; a file is whole because it was renamed into place; a trainer
checkpoint is whole because of its marker. Anything else is started again or thrown away.

A run whose recipe was changed goes on (`recipe/stages.py` says what depends on what): what is still valid stays, what is
not is named, moved to `old/` and done again; changed back, it is taken from there.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe import Recipe
from rl2f_hub.recipe.stages import NEEDS, OFFLINE, STAGES, Change, change_of, stage_fingerprints
from rl2f_hub.records import Task
from rl2f_hub.runtime import processes

log = logging.getLogger(__name__)

LOCK_S = 10.0  # a process that was just killed may have children that end a moment later
OLD = "old"  # folder of what was made with other recipes, a folder for each `<stage>-<fingerprint>`
MARKER = "rl2f_complete"  # written into a trainer checkpoint after everything else in it


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a whole file or nothing: temporary neighbour, fsync, rename.

    Raises:
        RL2FError: disk full, read-only folder; names the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RL2FError(
            f"{path}: cannot be written: {error.strerror or error}; free space or choose another --out"
        ) from None
    except BaseException:  # Ctrl-C while writing
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """JSON Lines, atomically."""
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Run:
    """One recipe in one folder."""

    def __init__(self, recipe: Recipe, folder: Path, manifest: dict[str, Any]) -> None:
        self.recipe, self.dir, self.manifest = recipe, folder, manifest
        self.change = Change()  # of the recipe since the manifest was written

    @classmethod
    def open(cls, recipe: Recipe, folder: Path, *, resume: bool = False, overwrite: bool = False) -> Run:
        """Start or continue a run in `folder`.

        Raises:
            UsageError: the folder holds a run and neither `resume` nor `overwrite` was asked for, or one of which nothing
                is valid under this recipe. One that was refused before it made anything is no run yet: it starts anew.
            RL2FError: its manifest is damaged.
        """
        if not processes.is_main():  # what the main process finds or writes is handed out once all are there
            return cls(recipe, folder, _fresh_manifest(recipe))
        if blocked := next((at for at in (folder, *folder.parents) if at.exists() and not at.is_dir()), None):
            raise UsageError(f"--out: {blocked} is a file; give a folder, or a path where there is nothing yet")
        if overwrite and folder.is_symlink():
            raise UsageError(f"--overwrite: {folder} is a symbolic link; give --out the folder that it leads to")
        file = folder / "manifest.json"
        if file.is_file() and not overwrite:
            manifest = _read_manifest(file)
            if not _left_nothing(folder, manifest):
                if not resume:
                    raise UsageError(f"--out: {folder} holds a run already; add --resume, --overwrite or another --out")
                change = _change_since(manifest, recipe)
                if "base" in change.invalid:
                    raise UsageError(
                        f"--resume: {folder} was made by another recipe, and nothing of it is valid under this one "
                        f"({_told(change)}); use `rl2f run` with --overwrite, or another --out"
                    )
                if halves := list(folder.rglob(".*.tmp")):  # what a killed process was writing (`write_atomic`)
                    with alone_in(folder):  # or a living one is
                        for half in halves:
                            half.unlink(missing_ok=True)
                run = cls(recipe, folder, manifest)
                run.change = change
                return run
            with alone_in(folder):
                shutil.rmtree(folder / "tasks", ignore_errors=True)  # a mended recipe may take others
        if overwrite and folder.is_dir() and file.is_file():
            with alone_in(folder):  # not under another process's feet
                shutil.rmtree(folder)
        run = cls(recipe, folder, _fresh_manifest(recipe))
        run.save()
        return run

    def save(self) -> None:
        if processes.is_main():
            write_json(self.dir / "manifest.json", self.manifest)

    def done(self, stage: str) -> bool:
        if stage in self.change.invalid or stage in self.change.open:
            return False
        return self.manifest["stages"].get(stage, {}).get("status") == "done"

    def outputs(self, stage: str) -> dict[str, Any]:
        """What a finished stage recorded.

        Raises:
            UsageError: the stage has not run in this folder, or with another recipe.
        """
        if not self.done(stage):
            if stage in self.change.invalid and stage in self.manifest["stages"]:
                raise UsageError(
                    f"stage {stage!r} was run in {self.dir} with another recipe ({_told(self.change)}); run it again (`rl2f "
                    "run` with --resume)"
                )
            if stage in self.change.open and stage in self.manifest["stages"]:
                raise UsageError(
                    f"stage {stage!r} in {self.dir} lacks what the recipe now asks for ({_told(self.change)}); complete it "
                    "(`rl2f run` with --resume)"
                )
            raise UsageError(f"stage {stage!r} has not run in {self.dir}; run it first (`rl2f run` does all stages)")
        return self.manifest["stages"][stage]["outputs"]

    @property
    def own_base(self) -> dict[str, Any] | None:
        """The base that the run made and pushed; None where the recipe names an id, or the stage has not run."""
        return self.manifest["stages"].get("base", {}).get("outputs") or None

    def go_on(self) -> None:
        """Take the recipe that was changed: what it makes invalid goes to `old/`, and what it makes valid again comes back.

        The caller is `alone_in` the folder. Says what stays and what is done again.
        """
        change, stages = self.change, self.manifest["stages"]
        if not processes.is_main() or not (change.invalid or change.open):
            return
        stay = ", ".join(name for name in STAGES if self.done(name)) or "nothing"
        again = [name for name in STAGES if name in stages and name in change.invalid]
        longer = [name for name in STAGES if name in stages and name in change.open]
        told = [f"valid as it is: {stay}"]
        told += [f"done again: {', '.join(again)} (what was made before is in {self.dir / OLD})"] if again else []
        told += [f"completed: {', '.join(longer)}"] if longer else []
        log.warning("%s: the recipe has changed (%s); %s", self.dir, _told(change), "; ".join(told))
        before = stage_fingerprints(_lifted(self.manifest["recipe"]))
        for stage in change.invalid:
            self._set_aside(stage, before[stage])
        for stage in longer:
            stages[stage]["status"] = "open"
        if any(key.startswith("train.offline.") for key in change.keys):
            self._forget_offline()
        self.manifest |= {key: _fresh_manifest(self.recipe)[key] for key in ("recipe", "fingerprint", "seed")}
        self.change = Change()
        self.save()
        now = stage_fingerprints(self.manifest["recipe"])
        for (
            stage
        ) in change.invalid:  # last: before the manifest has the new recipe, these files would be of the old one
            self._take_back(stage, now[stage])
        if "evaluate" in change.invalid and not change.touches("evaluate"):
            self._keep_students(before["evaluate"], ["base", *(["warmup"] if "warmup" not in change.invalid else [])])

    def _set_aside(self, stage: str, made_by: str) -> None:
        """Moves what a stage made under the fingerprint `made_by` to `old/`; copies of what is on the Hub are removed."""
        where, entry = self._entry(stage)
        where.pop(stage, None)
        folder, kept = self._folder(stage), self.dir / OLD / f"{stage}-{made_by}"
        if stage in ("publish", "push"):
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.is_dir():
            shutil.rmtree(kept, ignore_errors=True)
            write_json(kept.with_suffix(".json"), entry)
            folder.rename(kept)

    def _take_back(self, stage: str, made_by: str) -> None:
        """Undoes `_set_aside` where there is something of that fingerprint."""
        kept = self.dir / OLD / f"{stage}-{made_by}"
        if not kept.is_dir() or not kept.with_suffix(".json").is_file():
            return
        entry = json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))
        shutil.rmtree(self._folder(stage), ignore_errors=True)
        kept.rename(self._folder(stage))
        if entry is not None:
            self._entry(stage)[0][stage] = entry
            self.save()
        kept.with_suffix(".json").unlink()

    def _entry(self, stage: str) -> tuple[dict[str, Any], Any]:
        """The part of the manifest that has a stage's entry (the tasks' stands beside the stages), and the entry."""
        where = self.manifest if stage == "tasks" else self.manifest["stages"]
        return where, where.get(stage)

    def _keep_students(self, made_by: str, students: list[str]) -> None:
        """Takes back the evaluation of students that another training does not change."""
        if self._folder("evaluate").exists():
            return
        for name in students:
            for file in (self.dir / OLD / f"evaluate-{made_by}" / "dialogues").glob(f"{name}.*.jsonl"):
                shutil.copy(file, self.path("evaluation", "dialogues", file.name))

    def _forget_offline(self) -> None:
        """Removes what `train.offline` was used for, but for dialogues that were played for it."""
        for name in OFFLINE:
            for path in (self.dir / "train" / name).glob("*"):
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != "dialogues.jsonl":
                    path.unlink()
            for path in (self.dir / "evaluation" / "dialogues").glob(f"{name}.*.jsonl"):
                path.unlink()

    def forget_from(self, stage: str) -> None:
        """Mark a stage and all later ones as not done, and remove what they left."""
        with alone_in(self.dir):
            for name in STAGES[STAGES.index(stage) :]:
                self.manifest["stages"].pop(name, None)
                if processes.is_main():
                    shutil.rmtree(self._folder(name), ignore_errors=True)
            self.save()

    def _folder(self, stage: str) -> Path:
        return self.dir / ("evaluation" if stage == "evaluate" else stage)

    def _last_write(self, stage: str) -> float:
        """When the stage last wrote a file, in seconds of the clock; 0.0 if it never did."""
        return max((p.stat().st_mtime for p in self._folder(stage).rglob("*") if p.is_file()), default=0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Measures a stage and marks it done when the block ends; yields the outputs to fill in."""
        entry = self.manifest["stages"].setdefault(name, {"status": "new", "wall_s": 0.0, "outputs": {}})
        if entry["status"] == "running":  # killed: it worked at least until its last file
            entry["wall_s"] += max(0.0, self._last_write(name) - entry.get("since", float("inf")))
        entry["status"], entry["since"] = "running", time.time()
        entry["fingerprint"] = stage_fingerprints(self.manifest["recipe"])[name]
        self.save()
        started = time.monotonic()
        before = entry["wall_s"]
        outputs: dict[str, Any] = {}
        try:
            yield outputs
            entry["outputs"] = outputs
            entry["status"] = "done"
        except BaseException:
            entry["status"] = "failed"
            raise
        finally:
            entry["wall_s"] = round(before + time.monotonic() - started, 2)
            entry["peak_rss_mib"] = peak_rss_mib()
            self.save()

    def path(self, stage: str, *parts: str) -> Path:
        """A path below a stage's folder; its parent exists."""
        path = self.dir.joinpath(stage, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def tasks(self, split: str) -> list[Task]:
        """The recipe's tasks of one split; made once, then read from the run folder."""
        file = self.dir / "tasks" / f"{split}.jsonl"
        if not file.is_file():
            from rl2f_hub.tasks import recipe_tasks

            reports: list[dict[str, Any]] = []
            for name, tasks in recipe_tasks(self.recipe, reports).items():
                write_rows(self.dir / "tasks" / f"{name}.jsonl", [t.to_row() for t in tasks])
            self.manifest["tasks"] = reports  # what each source gave: taken, duplicates, bad rows, revision
            self.save()
        return [Task.from_row(row) for row in read_rows(file)]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a run's folder while this one works in it; a dead process's lock is none.

    Raises:
        UsageError: another process works there.
    """
    from filelock import FileLock, Timeout

    if not processes.is_main():
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=LOCK_S)
    except Timeout:
        raise UsageError(f"--out: another rl2f works in {folder}; wait for it, or choose another --out") from None
    except NotImplementedError:  # a file system without locks
        log.warning("%s: its file system has no locks; do not start a second rl2f there", folder)
    try:
        yield
    finally:
        lock.release()


def peak_rss_mib() -> int:
    """The largest resident memory of this process or of any child that has ended, in MiB."""
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return int(kib / 1024) if platform.system() == "Linux" else int(kib / 1024 / 1024)


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        manifest = None
    stages = manifest.get("stages") if isinstance(manifest, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(entry, dict) for entry in stages.values()):
        raise RL2FError(f"{file}: not a run's manifest; delete the folder or use --overwrite")
    return dict(manifest)


def _change_since(manifest: dict[str, Any], recipe: Recipe) -> Change:
    """What has changed in the recipe since a manifest was written."""
    made_by, stored = manifest.get("fingerprint"), manifest.get("recipe")
    if made_by == recipe.fingerprint:
        return Change()
    if not isinstance(stored, dict):
        return Change({"fingerprint": (made_by, recipe.fingerprint)}, frozenset(NEEDS))
    return change_of(_lifted(stored), recipe.model_dump(mode="json"))


def _lifted(stored: dict[str, Any]) -> dict[str, Any]:
    """A manifest's recipe with the keys of today; as it is if it cannot be read any more."""
    from pydantic import ValidationError

    try:
        return Recipe.model_validate(stored).model_dump(mode="json")
    except ValidationError:
        return stored


def _told(change: Change) -> str:
    """The keys that were changed, at most three of them with their values."""
    told = [f"{key} was {_short(old)}, is {_short(new)}" for key, (old, new) in list(change.keys.items())[:3]]
    return ", ".join(told) + (f" and {len(change.keys) - 3} more" if len(change.keys) > 3 else "")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _left_nothing(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether no stage is at work, has an outcome or has written a file."""
    entries = manifest["stages"].values()
    if any(entry.get("status") == "running" or entry.get("outputs") for entry in entries):
        return False
    names = [name if name != "evaluate" else "evaluation" for name in STAGES]
    return not any(path.is_file() for name in names for path in (folder / name).rglob("*"))


def _fresh_manifest(recipe: Recipe) -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("rl2f-hub", "torch", "transformers", "trl", "peft", "datasets", "huggingface-hub", "reasoning-gym"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "schema": 1,
        "recipe": recipe.model_dump(mode="json"),
        "fingerprint": recipe.fingerprint,
        "seed": recipe.seed,
        "versions": versions,
        "python": platform.python_version(),
        "hardware": hardware(),
        "commit": _commit(),
        "stages": {},
    }


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPU (when torch is loaded already), for manifests and cards."""
    import sys

    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        memory = 0.0
    out: dict[str, Any] = {"cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        out["gpu"] = torch.cuda.get_device_name(0)
    return out


def _commit() -> str | None:
    import subprocess

    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def latest_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint of a trainer's folder; half-written ones are removed."""
    found = []
    for path in folder.glob("checkpoint-*"):
        if (path / MARKER).is_file():
            found.append(path)
        else:
            if processes.is_main():
                shutil.rmtree(path, ignore_errors=True)
    return str(max(found, key=lambda p: int(p.name.split("-")[1]))) if found else None
