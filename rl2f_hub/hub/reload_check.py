"""Is what lies on the Hub what was trained? Greedy dialogues of a pushed model against those of the adapter on disk."""

from __future__ import annotations

from rl2f_hub.dialogue.context_window import Rules
from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import RL2FError
from rl2f_hub.runs import Run
from rl2f_hub.students.load import Origin, as_student, load_model, load_tokenizer, origin_of
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard

CHECKED_TASKS = 16


def check_adapter(run: Run, repo_id: str, revision: str) -> dict[str, int]:
    """{dialogues, identical} of the adapter at a revision.

    Raises:
        RL2FError: any attempt differs.
    """
    before, after = _answers(run, _adapter_on_disk(run)), _answers(run, (repo_id, revision))
    same = sum(a == b for a, b in zip(before, after, strict=True))
    if same != len(before):
        raise RL2FError(
            f"push: {repo_id} at {revision} answers {len(before) - same} of {len(before)} tasks differently from the adapter "
            "on disk; the upload is not what was trained: push again"
        )
    return {"dialogues": len(before), "identical": same}


def compare_merged(run: Run, repo_id: str, revision: str) -> dict[str, int]:
    """{dialogues, identical} of a merged model: rounding may change a few answers, so nothing is refused."""
    before, after = _answers(run, _adapter_on_disk(run)), _answers(run, None, Origin(repo_id, revision))
    return {"dialogues": len(before), "identical": sum(a == b for a, b in zip(before, after, strict=True))}


def _adapter_on_disk(run: Run) -> tuple[str, str | None]:
    return str(run.path("train", "rl2f", "adapter")), None


def _answers(run: Run, adapter: tuple[str, str | None] | None, model: Origin | None = None) -> list[list[str]]:
    recipe = run.recipe
    tasks = run.tasks("eval")[:CHECKED_TASKS]
    origin = origin_of(recipe.model, run.own_base)
    loaded = load_model(model or origin, "none" if model else recipe.model.quantization, recipe.model.dtype)
    if adapter is not None:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(loaded, adapter[0], revision=adapter[1])
    student = as_student(loaded.eval(), load_tokenizer(origin), "rl2f", recipe.dialogue.thinking)
    rollouts = run_dialogues(
        tasks,
        student,
        build_teacher(recipe.teacher, student, run.dir / "push"),
        guard=Guard(),
        max_turns=recipe.dialogue.max_turns,
        sampling=Sampling(temperature=0.0, turn_tokens=recipe.dialogue.turn_tokens),
        seed=recipe.seed,
        rules=Rules(recipe.dialogue.history, recipe.dialogue.on_cut),
    )
    return [[turn.attempt for turn in r.turns] for r in rollouts]
