"""The stages of a recipe in order, each resumable: base, generate, publish, warmup, train, evaluate, push.

The Hub is opened first (`hub/connect.py`). From there on nothing differs between the embedded and any other Hub.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.connect import namespace_of, open_hub
from rl2f_hub.recipe import Recipe
from rl2f_hub.runs import STAGES, Run, alone_in, write_atomic, write_json
from rl2f_hub.runtime import processes, stopping
from rl2f_hub.runtime.quiet import quiet_libraries
from rl2f_hub.students.quantization import check_quantization
from rl2f_hub.training.checks import check_training

if TYPE_CHECKING:
    from rl2f_hub.evaluation.headroom import Headroom

ALONE = ("base", "publish", "push")  # stages of the main process; with several processes the others wait
WITH_MODEL = ("generate", "warmup", "train", "evaluate", "push")  # stages that load the student


def check_stage(recipe: Recipe, stage: str, world: int) -> None:
    """Refuses what a stage would refuse after the stages before it have taken their time; `rl2f doctor` asks this too.

    Args:
        world: processes of the job.
    Raises:
        UsageError: the setting, its value and what to change.
    """
    if stage == "train":
        recipe.check_trainable()
        check_training(recipe, sum(source.count for source in recipe.tasks.train), world)
    if stage == "push":
        recipe.check_pushable()
    if stage in WITH_MODEL:
        check_quantization(recipe.model.quantization)


def run_stages(run: Run, stages: tuple[str, ...]) -> None:
    """Runs those of `stages` that are not done yet, in order."""
    for stage in stages:
        if not run.done(stage):
            check_stage(run.recipe, stage, processes.world())
    processes.check_hub(run.recipe.hub.endpoint)
    again = f"the same command (`rl2f run` with --resume) goes on from what is whole in {run.dir}"
    with alone_in(run.dir), open_hub(run.recipe, run.dir) as hub, processes.together(again):
        run.go_on()
        run.manifest |= {"endpoint": hub["endpoint"], "hub_root": hub["root"]}
        run.save()
        if processes.world() > 1:
            _meet(run)
        if all(run.done(stage) for stage in stages):
            return
        quiet_libraries()
        _set_threads(run.recipe)
        namespace = namespace_of(run.recipe.hub)
        for stage in STAGES:
            if stage in stages and not run.done(stage):
                stopping.check()
                with run.stage(stage) as outputs:
                    if processes.is_main() or stage not in ALONE:
                        outputs |= _run_stage(run, stage, namespace)
                    outputs |= processes.shared(outputs)


def _meet(run: Run) -> None:
    """All processes join; the main one makes the tasks, and every one takes its manifest."""
    quiet_libraries()
    processes.connect()
    if processes.is_main():
        run.tasks("train")
    run.manifest = processes.shared(run.manifest)


@contextmanager
def hub_ready(run: Run) -> Iterator[str]:
    """The recipe's Hub is open for a command of its own; yields the namespace to write to."""
    with open_hub(run.recipe, run.dir):
        quiet_libraries()
        yield namespace_of(run.recipe.hub)


def run_controls(run: Run, suites: Sequence[str], students: Sequence[str]) -> dict[str, Any]:
    """More evaluation suites on a finished run; nothing of the run itself changes."""
    from rl2f_hub.evaluation.stage import controls

    if "evaluate" in run.change.invalid:
        run.outputs("evaluate")  # whose dialogues are of another recipe
    with open_hub(run.recipe, run.dir):
        quiet_libraries()
        _set_threads(run.recipe)
        return controls(run, suites, students)


def run_headroom(run: Run, tasks: int, group: int) -> tuple[str, Headroom]:
    """What RL on this run's training tasks would have to reinforce, also written to `headroom.json`.

    Makes the base if there is none. Returns the name of the student that was asked, and the figures.
    """
    from rl2f_hub.evaluation.headroom import SUITES, measure_headroom
    from rl2f_hub.evaluation.stage import open_students, settings_of
    from rl2f_hub.runtime.progress import bar

    run_stages(run, ("base",))
    recipe = run.recipe
    chosen = run.tasks("train")[:tasks]
    with open_hub(recipe, run.dir):
        quiet_libraries()
        _set_threads(recipe)
        total = len(chosen) * (2 * len(SUITES) - 1 + group)
        with bar("headroom", total, "dialogues") as advance:
            [(name, student)] = open_students(run, ["warmup" if run.done("warmup") else "base"])
            found = measure_headroom(
                student,
                chosen,
                replace(settings_of(recipe, "greedy", run), max_turns=recipe.dialogue.max_turns),
                temperature=recipe.train.temperature,
                discount=recipe.dialogue.discount,
                group=group,
                seed=recipe.seed,
                advance=lambda count, note: advance(count, note=note),
            )
    write_json(run.dir / "headroom.json", {"student": name, **found.to_dict()})
    return name, found


def _set_threads(recipe: Recipe) -> None:
    if recipe.threads and importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(recipe.threads)


def _run_stage(run: Run, stage: str, namespace: str) -> dict[str, Any]:
    if stage == "base":
        from rl2f_hub.hub.base import push_base
        from rl2f_hub.training.pretraining.base import make_base

        if run.recipe.model.id is not None:
            return {}
        make_base(run)
        return push_base(run, namespace)
    if stage == "generate":
        from rl2f_hub.generate import generate
        from rl2f_hub.students.load import as_student, load_model, load_tokenizer, origin_of, vllm_student

        origin = origin_of(run.recipe.model, run.own_base)
        if run.recipe.engine.kind == "vllm":
            name, spec = f"{origin.location}@{origin.revision or 'main'}", run.recipe
            return generate(run, vllm_student(origin, name, spec.engine, spec.model.dtype, spec.dialogue.thinking))
        model = load_model(origin, run.recipe.model.quantization, run.recipe.model.dtype).eval()
        return generate(
            run,
            as_student(
                model,
                load_tokenizer(origin),
                f"{origin.location}@{origin.revision or 'main'}",
                run.recipe.dialogue.thinking,
                run.recipe.engine,
            ),
        )
    if stage == "publish":
        from rl2f_hub.publish import publish

        return publish(run, namespace)
    if stage == "warmup":
        from rl2f_hub.training.warmup import warmup

        return warmup(run)
    if stage == "train":
        from rl2f_hub.training.rl import train

        return train(run)
    if stage == "evaluate":
        from rl2f_hub.evaluation.stage import evaluate

        return evaluate(run)
    if stage == "push":
        from rl2f_hub.hub.adapters import push

        return push(run, namespace)
    raise UsageError(f"stage: {stage!r} is unknown; stages are {', '.join(STAGES)}")


def write_summary(run: Run) -> dict[str, Any]:
    """`summary.json` and `summary.md` of a finished run."""
    from rl2f_hub.evaluation.report import comparison_rows, markdown_table, repeat_rows, sampled_rows, table_rows
    from rl2f_hub.evaluation.stage import unchanged
    from rl2f_hub.hub.adapters import summary

    value = summary(run)
    write_json(run.dir / "summary.json", value)
    shown = value | {"max_turns": run.recipe.evaluate.max_turns}
    hub = "\n".join(
        f"- {k}: [{v['repo_id']}]({v['url']}) at `{v['revision']}`"
        for k, v in value["hub"].items()
        if isinstance(v, dict)
    )
    notes = "".join(f"- {name} answers as the student it started from: {why}\n" for name, why in unchanged(run).items())
    notes = f"Not trained, or without effect:\n\n{notes}\n" if notes else ""
    text = (
        f"# {value['recipe']}\n\n"
        f"Cumulative accuracy by turn, percent, greedy, seed {value['seed']}, 95 % bootstrap over tasks.\n\n"
        f"{markdown_table(table_rows(shown))}\n\n{markdown_table(comparison_rows(shown))}\n\n"
        f"Sampled decoding, temperature {run.recipe.train.temperature:g}:\n\n{markdown_table(sampled_rows(shown))}\n\n"
        "Later attempts that repeat the wrong one before them word for word, percent, greedy:\n\n"
        f"{markdown_table(repeat_rows(shown))}\n\n"
        f"{notes}![accuracy by turn](evaluation/accuracy_by_turn.png)\n\n{hub}\n"
    )
    write_atomic(run.dir / "summary.md", text)
    return value
