"""Stage `evaluate`: every student of a run on the same held-out tasks, with the teacher and under controls.

Suites: `teacher`, `try_again` and what else the recipe asks for (`SUITES`) in distribution, the same with the prefix
`ood_` on task families that RL never saw. Greedy decoding is the figure; with the teacher, sampled decoding is reported
beside it; `resample` (fresh attempts at the bare question) is sampled only. `controls` runs more suites on a finished
run. One file of dialogues per student, suite and decoding: whole files are kept when an interrupted stage goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rl2f_hub.dialogue.context_window import Rules
from rl2f_hub.dialogue.runner import Student
from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.evaluation import driver, metrics
from rl2f_hub.evaluation.driver import Part, play_parts
from rl2f_hub.evaluation.suites import SUITES, Settings, environment_tasks
from rl2f_hub.recipe import Recipe
from rl2f_hub.records import Task
from rl2f_hub.runs import Run, read_rows, write_json
from rl2f_hub.runtime import processes
from rl2f_hub.training.checks import tell, untrained

ENVIRONMENT_COUNT = 8  # games of each kind in the suite `environment`


def suites_of(recipe: Recipe, names: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """(suite, split) of every suite of a recipe, or of the suites named; `environment` has no split of the recipe."""
    out = []
    for split in ("eval", "ood"):
        if getattr(recipe.tasks, split):
            for name in names or recipe.evaluate.suites:
                if not SUITES[name].own_tasks:
                    out.append((("ood_" if split == "ood" else "") + name, split))
                elif split == "eval":
                    out.append((name, ""))
    return out


def settings_of(recipe: Recipe, decoding: str, run: Run) -> Settings:
    """How the suites of a recipe are played; `decoding` is greedy or sampled."""
    spec = recipe.evaluate
    return Settings(
        max_turns=spec.max_turns,
        turn_tokens=recipe.dialogue.turn_tokens,
        temperature=0.0 if decoding == "greedy" else recipe.train.temperature,
        resample_temperature=recipe.train.temperature,
        plays_on=spec.plays_on,
        gold_tasks=spec.gold_tasks,
        critique=spec.critique,
        critique_tokens=spec.critique_tokens,
        wave=spec.wave,
        overlap=recipe.engine.overlap,
        teacher=recipe.teacher,
        rules=Rules(recipe.dialogue.history, recipe.dialogue.on_cut),
        folder=run.dir / "evaluation",
    )


def decodings_of(recipe: Recipe, suite: str) -> list[str]:
    """How a suite is decoded, its main figure first: greedily, and with the teacher also sampled if the recipe says so.

    Resampling greedily would only repeat the first attempt.
    """
    if suite.endswith("resample"):
        return ["sampled"]
    return ["greedy", "sampled"] if recipe.evaluate.sampled and suite.endswith("teacher") else ["greedy"]


def evaluate(run: Run) -> dict[str, Any]:
    """Runs the stage, writes `evaluation/metrics.json`, the figure and the tables; returns the metrics.

    Raises:
        UsageError: nothing has been trained yet.
    """
    from rl2f_hub.evaluation.figures import draw_accuracy

    recipe, notes, left_out = run.recipe, unchanged(run), not_trained(run)
    for name, why in notes.items():
        tell(
            f"evaluate: {name} {'is left out' if name in left_out else 'answers as the student it started from'}: {why}"
        )
    names = [name for name in recipe.students if name not in left_out]
    result = _play_and_summarise(run, names, suites_of(recipe), "metrics.json")
    if processes.is_main():
        figure = run.path("evaluation", "accuracy_by_turn.png")
        title = f"{recipe.name}: greedy decoding, 95 % bootstrap bands, seed {recipe.seed}"
        draw_accuracy(result, title, figure)
    return {"metrics": "evaluation/metrics.json", "figure": "evaluation/accuracy_by_turn.png"}


def controls(run: Run, suites: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """More suites for some students of a finished run; writes and returns `evaluation/controls.json`.

    Raises:
        UsageError: a suite or student that the run does not have, or a run without its training.
    """
    trained = list(run.recipe.students)
    for word, given, known in (("--suite", suites, list(SUITES)), ("--student", names, trained)):
        for name in given:
            if name not in known:
                raise UsageError(f"{word}: {name!r} is unknown{did_you_mean(name, known)}")
    for name in names:
        if name != "base":  # which needs no training
            run.outputs("warmup" if name == "warmup" else "train")
            if run.done("train") and (why := not_trained(run).get(name)):
                raise UsageError(f"--student: {name} was not trained: {why}; leave it out")
    return _play_and_summarise(run, list(names), suites_of(run.recipe, suites), "controls.json")


def unchanged(run: Run) -> dict[str, str]:
    """Students whose adapter is the one that it started from, and why: without an update, or without anything to learn.

    Raises:
        UsageError: nothing has been trained yet.
    """
    spec, out = run.recipe.train, {}
    results = {"warmup": run.outputs("warmup"), **run.outputs("train")}
    for name in (name for name in run.recipe.students if name in results):
        result = results[name]
        taught = (
            spec.critique != "off" and spec.critique_coef > 0 and result.get("max_turns", 1) > 1
        )  # without a reward too
        if name == "warmup" and run.recipe.warmup.start is not None:
            continue
        if not result.get("steps") or (not taught and untrained(result)):
            out[name] = str(untrained(result))
    return out


def not_trained(run: Run) -> dict[str, str]:
    """Those of `unchanged` that made no update: nobody is compared with them."""
    results = {"warmup": run.outputs("warmup"), **run.outputs("train")}
    return {name: why for name, why in unchanged(run).items() if not results[name].get("steps")}


def _play_and_summarise(run: Run, names: list[str], suites: list[tuple[str, str]], file: str) -> dict[str, Any]:
    """Plays what has no dialogues yet; the main process writes the figures to `file`. Returns them; {} elsewhere."""
    parts = parts_of(run, names, suites)
    play_parts(parts, lambda missing: open_students(run, missing))
    if not processes.is_main():
        return {}
    result = summarise(run, names, suites)
    write_json(run.path("evaluation", file), result)
    return result


def parts_of(run: Run, names: list[str], suites: list[tuple[str, str]]) -> list[Part]:
    """What is to be played of a run: every student under every suite and decoding."""
    recipe = run.recipe
    tasks = {split: _tasks(run, split) for _, split in suites}
    parts = []
    for name in names:
        for suite, split in suites:
            bare = suite.removeprefix("ood_")
            prefix = suite.removesuffix(bare)
            for decoding in decodings_of(recipe, suite):
                parts.append(
                    Part(
                        student=name,
                        suite=bare,
                        tasks=tasks[split],
                        settings=settings_of(recipe, decoding, run),
                        seed=recipe.seed + 1,
                        file=_file(run, name, suite, decoding),
                        prefix=prefix,
                        with_teacher=partial(_with_teacher, run, name, prefix + "teacher"),
                    )
                )
    return parts


def _tasks(run: Run, split: str) -> list[Task]:
    return run.tasks(split) if split else environment_tasks(ENVIRONMENT_COUNT, run.recipe.seed)


def _file(run: Run, name: str, suite: str, decoding: str) -> Path:
    return run.path("evaluation", "dialogues", f"{name}.{suite}.{decoding}.jsonl")


def played(run: Run, name: str, suite: str, decoding: str) -> list[dict[str, Any]]:
    """The dialogues of one student under one suite, as they were played."""
    return read_rows(_file(run, name, suite, decoding))


def open_students(run: Run, names: list[str]) -> Iterator[tuple[str, Student]]:
    """Yields (name, student), all of them on one base model in memory."""
    from peft import PeftModel

    from rl2f_hub.students.load import as_student, load_model, load_tokenizer, origin_of, vllm_student

    recipe = run.recipe
    origin = origin_of(recipe.model, run.own_base)
    folders = {name: run.path("train", name, "adapter") for name in recipe.students}
    folders["warmup"] = run.path("warmup", "adapter")
    if recipe.engine.kind == "vllm":
        for name in names:
            adapter = None if name == "base" else folders[name]
            yield (
                name,
                vllm_student(origin, name, recipe.engine, recipe.model.dtype, recipe.dialogue.thinking, adapter),
            )
        return
    tokenizer = load_tokenizer(origin)
    model = load_model(origin, recipe.model.quantization, recipe.model.dtype).eval()
    if "base" in names:
        yield "base", as_student(model, tokenizer, "base", recipe.dialogue.thinking, recipe.engine)
    peft = None
    for name in (n for n in names if n != "base"):
        if peft is None:
            peft = PeftModel.from_pretrained(model, str(folders[name]), adapter_name=name)
        else:
            peft.load_adapter(str(folders[name]), adapter_name=name)
        peft.set_adapter(name)
        yield name, as_student(peft.eval(), tokenizer, name, recipe.dialogue.thinking, recipe.engine)


def _with_teacher(run: Run, name: str, suite: str) -> list[dict[str, Any]] | None:
    """The dialogues with the teacher that fresh attempts are compared with: the sampled ones if there are any."""
    for decoding in ("sampled", "greedy"):
        if (file := _file(run, name, suite, decoding)).is_file():
            return read_rows(file)
    return None


def summarise(run: Run, names: list[str], suites: list[tuple[str, str]]) -> dict[str, Any]:
    """All figures of the stage from the dialogue files; see docs/evaluation.md for the layout."""
    recipe, spec = run.recipe, run.recipe.evaluate
    out = driver.summarise(parts_of(run, names, suites), spec.max_turns, spec.bootstrap, recipe.seed)
    out |= {"train_max_turns": recipe.dialogue.max_turns, "max_turns": spec.max_turns}
    solved = {
        (name, suite): [row["solved_at"] for row in played(run, name, suite, "greedy")]
        for name in names
        for suite, _ in suites
        if "greedy" in decodings_of(recipe, suite)
    }
    if ("rl2f", "teacher") in solved:
        out["comparisons"] = _comparisons(recipe, names, solved)
    return out


def _comparisons(recipe: Recipe, names: list[str], solved: dict[tuple[str, str], list[int]]) -> dict[str, Any]:
    """Paired differences, greedy, at the last training turn (and turn 1): RL2F against every other student."""
    spec, last = recipe.evaluate, recipe.dialogue.max_turns

    def column(name: str, suite: str, turn: int) -> np.ndarray:
        return metrics.solved_by_turn(solved[name, suite], spec.max_turns)[:, turn - 1]

    def paired(a: np.ndarray, b: np.ndarray) -> dict[str, object]:
        return metrics.paired_difference(a, b, spec.bootstrap, recipe.seed)

    out: dict[str, Any] = {}
    for prefix in ("", "ood_") if recipe.tasks.ood else ("",):
        suite = prefix + "teacher"
        for other in names:
            if other != "rl2f":
                key = f"{prefix}rl2f_minus_{other}"
                out[f"{key}_last_turn"] = paired(column("rl2f", suite, last), column(other, suite, last))
                out[f"{key}_turn_1"] = paired(column("rl2f", suite, 1), column(other, suite, 1))
        for control in ("try_again", "shuffled"):
            if ("rl2f", prefix + control) in solved:
                gains = [column("rl2f", s, last) - column("rl2f", s, 1) for s in (suite, prefix + control)]
                out[f"{prefix}rl2f_gain_over_turns_minus_{control}"] = paired(*gains)
    return out
