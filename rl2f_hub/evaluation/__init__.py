"""Stage `evaluate`: every student of a run on the same held-out tasks, with the teacher and under controls.

Suites: `teacher`, `try_again` and what else the recipe asks for (`SUITES`) in distribution, the same with the prefix
`ood_` on task families that RL never saw. Greedy decoding is the figure; with the teacher, sampled decoding is reported
beside it; `resample` (fresh attempts at the bare question) is sampled only. `controls` runs more suites on a finished
run. One file of dialogues per student, suite and decoding: whole files are kept when an interrupted stage goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rl2f_hub.context import Rules
from rl2f_hub.dialogue import Student, run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.evaluation import metrics
from rl2f_hub.progress import bar
from rl2f_hub.recipe import Recipe
from rl2f_hub.records import Task
from rl2f_hub.runs import Run, read_rows, write_json, write_rows
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard

TEACHER_OF = {  # suite -> kind of teacher; None: the recipe's own
    "teacher": None,
    "try_again": "try_again",
    "resample": "none",
    "shuffled": "shuffled",
    "leaked": "leaked",
    "misleading": "misleading",
}


def suites_of(recipe: Recipe, names: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
    """(suite, split, teacher kind) of every suite of a recipe, or of the suites named."""
    out = []
    for split in ("eval", "ood"):
        if getattr(recipe.tasks, split):
            for name in names or recipe.evaluate.suites:
                kind = TEACHER_OF[name] or recipe.teacher.kind
                out.append((("ood_" if split == "ood" else "") + name, split, kind))
    return out


def decodings_of(recipe: Recipe, suite: str) -> list[str]:
    """How a suite is decoded, its main figure first: greedily, and with the teacher also sampled if the recipe says so.

    Resampling greedily would only repeat the first attempt.
    """
    if suite.endswith("resample"):
        return ["sampled"]
    return ["greedy", "sampled"] if recipe.evaluate.sampled and suite.endswith("teacher") else ["greedy"]


def evaluate(run: Run) -> dict[str, Any]:
    """Runs the stage, writes `evaluation/metrics.json`, the figure and the tables; returns the metrics."""
    from rl2f_hub.evaluation.report import draw_accuracy

    recipe = run.recipe
    suites = suites_of(recipe)
    names = list(recipe.students)
    _play_all(run, names, suites)
    result = summarise(run, names, suites)
    write_json(run.path("evaluation", "metrics.json"), result)
    figure = run.path("evaluation", "accuracy_by_turn.png")
    draw_accuracy(result, recipe, figure)
    return {"metrics": "evaluation/metrics.json", "figure": "evaluation/accuracy_by_turn.png"}


def controls(run: Run, suites: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """More suites for some students of a finished run; writes and returns `evaluation/controls.json`.

    Raises:
        UsageError: a suite or student that the run does not have, or a run without its training.
    """
    trained = list(run.recipe.students)
    for word, given, known in (("--suite", suites, list(TEACHER_OF)), ("--student", names, trained)):
        for name in given:
            if name not in known:
                raise UsageError(f"{word}: {name!r} is unknown{did_you_mean(name, known)}")
    run.outputs("train")
    chosen = suites_of(run.recipe, suites)
    _play_all(run, list(names), chosen)
    result = summarise(run, list(names), chosen)
    write_json(run.path("evaluation", "controls.json"), result)
    return result


def _play_all(run: Run, names: list[str], suites: list[tuple[str, str, str]]) -> None:
    """Plays whatever has no file of dialogues yet."""
    recipe = run.recipe
    total = len(names) * sum(len(decodings_of(recipe, suite)) * len(run.tasks(split)) for suite, split, _ in suites)
    with bar("evaluate", total, "dialogues") as advance:
        for name, student in _students(run, names):
            for suite, split, kind in suites:
                for decoding in decodings_of(recipe, suite):
                    file = run.path("evaluation", "dialogues", f"{name}.{suite}.{decoding}.jsonl")
                    if not file.is_file():
                        write_rows(file, _play(run, student, run.tasks(split), kind, decoding))
                    advance(len(run.tasks(split)), note=f"{name} {suite}")


def _students(run: Run, names: list[str]) -> Any:
    """Yields (name, student), all of them on one base model in memory."""
    from peft import PeftModel

    from rl2f_hub.students.load import as_student, load_model, load_tokenizer, origin_of

    recipe = run.recipe
    origin = origin_of(recipe.model, run.manifest["stages"].get("base", {}).get("outputs") or None)
    tokenizer = load_tokenizer(origin)
    model = load_model(origin, recipe.model.quantization, recipe.model.dtype).eval()
    folders = {name: run.path("train", name, "adapter") for name in recipe.students}
    folders["warmup"] = run.path("warmup", "adapter")
    if "base" in names:
        yield "base", as_student(model, tokenizer, "base", recipe.dialogue.thinking)
    peft = None
    for name in (n for n in names if n != "base"):
        if peft is None:
            peft = PeftModel.from_pretrained(model, str(folders[name]), adapter_name=name)
        else:
            peft.load_adapter(str(folders[name]), adapter_name=name)
        peft.set_adapter(name)
        yield name, as_student(peft.eval(), tokenizer, name, recipe.dialogue.thinking)


def _play(run: Run, student: Student, tasks: list[Task], kind: str, decoding: str) -> list[dict[str, Any]]:
    recipe = run.recipe
    temperature = 0.0 if decoding == "greedy" else recipe.train.temperature
    sampling = Sampling(temperature=temperature, turn_tokens=recipe.dialogue.turn_tokens)
    teacher = build_teacher(recipe.teacher if kind == recipe.teacher.kind else kind, student, run.dir / "evaluation")
    rollouts = run_dialogues(
        tasks,
        student,
        teacher,
        guard=Guard(**recipe.teacher.guard.model_dump()),
        max_turns=recipe.evaluate.max_turns,
        sampling=sampling,
        seed=recipe.seed + 1,
        wave=recipe.evaluate.wave,
        rules=Rules(recipe.dialogue.history, recipe.dialogue.on_cut),
    )
    return [r.dialogue(student.name, teacher.name, sampling).to_row() for r in rollouts]


def summarise(run: Run, names: list[str], suites: list[tuple[str, str, str]]) -> dict[str, Any]:
    """All figures of the stage from the dialogue files; see docs/summary.md for the schema."""
    recipe = run.recipe
    spec = recipe.evaluate
    solved: dict[tuple[str, str, str], list[int]] = {}
    students: dict[str, Any] = {name: {} for name in names}
    for name in names:
        for suite, split, _ in suites:
            for decoding in decodings_of(recipe, suite):
                rows = read_rows(run.path("evaluation", "dialogues", f"{name}.{suite}.{decoding}.jsonl"))
                solved[name, suite, decoding] = [row["solved_at"] for row in rows]
                entry = metrics.accuracy(solved[name, suite, decoding], spec.max_turns, spec.bootstrap, recipe.seed)
                entry |= {"n": len(rows), "repeat_rate": metrics.repeat_rate(rows), "decoding": decoding}
                if suite.endswith("misleading"):
                    entry |= metrics.held_under_doubt(rows, spec.bootstrap, recipe.seed)
                if decoding == decodings_of(recipe, suite)[0]:
                    entry["by_source"] = _by_source(run.tasks(split), solved[name, suite, decoding], spec.max_turns)
                    students[name].setdefault(suite, {}).update(entry)
                else:
                    students[name].setdefault(suite, {})["sampled"] = entry
    out = {"students": students, "train_max_turns": recipe.dialogue.max_turns, "max_turns": spec.max_turns}
    if "rl2f" in names and ("rl2f", "teacher", "greedy") in solved:
        out["comparisons"] = _comparisons(recipe, names, solved)
    return out


def _by_source(tasks: list[Task], solved: list[int], max_turns: int) -> dict[str, Any]:
    table = metrics.solved_by_turn(solved, max_turns)
    out: dict[str, Any] = {}
    for source in sorted({task.source for task in tasks}):
        rows = [i for i, task in enumerate(tasks) if task.source == source]
        out[source] = {"n": len(rows), "acc_at_turn": [round(float(x), 4) for x in table[rows].mean(0)]}
    return out


def _comparisons(recipe: Recipe, names: list[str], solved: dict[tuple[str, str, str], list[int]]) -> dict[str, Any]:
    """Paired differences, greedy, at the last training turn (and turn 1): RL2F against every other student."""
    spec, last = recipe.evaluate, recipe.dialogue.max_turns

    def column(name: str, suite: str, turn: int) -> np.ndarray:
        return metrics.solved_by_turn(solved[name, suite, "greedy"], spec.max_turns)[:, turn - 1]

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
            if ("rl2f", prefix + control, "greedy") in solved:
                gains = [column("rl2f", s, last) - column("rl2f", s, 1) for s in (suite, prefix + control)]
                out[f"{prefix}rl2f_gain_over_turns_minus_{control}"] = paired(*gains)
    return out
