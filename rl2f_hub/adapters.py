"""Stage `push`: the RL2F adapter goes to the Hub with its card, figure and metrics, and is checked by loading it back.

One commit: safetensors, adapter config that names the base by id and revision, recipe, manifest, metrics, figure, and
the card, written last so that nothing overwrites it. Then `PeftModel.from_pretrained` reads it from the Hub again and
must give the same greedy answers as the adapter on disk.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

from rl2f_hub.context import Rules
from rl2f_hub.dialogue import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import RL2FError
from rl2f_hub.hub_errors import hub_errors
from rl2f_hub.progress import bar
from rl2f_hub.runs import Run, write_json
from rl2f_hub.students.load import as_student, load_model, load_tokenizer, origin_of
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard

CHECKED_TASKS = 16


def push(run: Run, namespace: str) -> dict[str, Any]:
    """Pushes the adapter; returns {repo_id, revision, url, reload_check}."""
    from huggingface_hub import HfApi

    from rl2f_hub.cards import model_card

    recipe = run.recipe
    repo_id = f"{namespace}/{recipe.hub.adapter}"
    run.outputs("train"), run.outputs("evaluate")
    folder = run.path("push", "adapter", "x").parent
    shutil.copytree(run.path("train", "rl2f", "adapter"), folder, dirs_exist_ok=True)
    for name in ("metrics.json", "accuracy_by_turn.png"):
        shutil.copy(run.path("evaluation", name), folder / name)
    write_json(folder / "recipe.json", recipe.model_dump(mode="json"))
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's own card
    model_card(run, repo_id).save(folder / "README.md")
    api = HfApi()
    with hub_errors(repo_id), bar("push", 2, "steps") as advance:
        url = api.create_repo(repo_id, private=recipe.hub.private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=str(folder), commit_message=f"Adapter of {recipe.name}")
        advance(1, note="uploaded")
        checked = _check_reload(run, repo_id, str(commit.oid))
        advance(1, note="loaded back")
    return {"repo_id": repo_id, "revision": commit.oid, "url": str(url), "reload_check": checked}


def _check_reload(run: Run, repo_id: str, revision: str) -> dict[str, Any]:
    """Greedy dialogues of the pushed adapter against those of the adapter on disk.

    Raises:
        RL2FError: any attempt differs.
    """
    from peft import PeftModel

    tasks = run.tasks("eval")[:CHECKED_TASKS]
    origin = origin_of(run.recipe.model, run.manifest["stages"].get("base", {}).get("outputs") or None)
    tokenizer = load_tokenizer(origin)

    def answers(where: str, at: str | None) -> list[list[str]]:
        base = load_model(origin, run.recipe.model.quantization, run.recipe.model.dtype)
        peft = PeftModel.from_pretrained(base, where, revision=at).eval()
        student = as_student(peft, tokenizer, "rl2f", run.recipe.dialogue.thinking)
        rollouts = run_dialogues(
            tasks,
            student,
            build_teacher(run.recipe.teacher, student, run.dir / "push"),
            guard=Guard(),
            max_turns=run.recipe.dialogue.max_turns,
            sampling=Sampling(temperature=0.0, turn_tokens=run.recipe.dialogue.turn_tokens),
            seed=run.recipe.seed,
            rules=Rules(run.recipe.dialogue.history, run.recipe.dialogue.on_cut),
        )
        return [[turn.attempt for turn in r.turns] for r in rollouts]

    before, after = answers(str(run.path("train", "rl2f", "adapter")), None), answers(repo_id, revision)
    same = sum(a == b for a, b in zip(before, after, strict=True))
    if same != len(tasks):
        raise RL2FError(
            f"push: {repo_id} at {revision} answers {len(tasks) - same} of {len(tasks)} tasks differently from the adapter "
            "on disk; the upload is not what was trained: push again"
        )
    return {"dialogues": len(tasks), "identical": same}


def summary(run: Run) -> dict[str, Any]:
    """The run's figures in one object; see docs/summary.md."""
    evaluation = json.loads(run.path("evaluation", "metrics.json").read_text())
    stages = run.manifest["stages"]
    hub = {"dataset": stages["publish"]["outputs"], "adapter": stages["push"]["outputs"]}
    if stages["base"]["outputs"]:
        hub["base"] = stages["base"]["outputs"]
    else:
        hub["base"] = {"repo_id": run.recipe.model.id, "revision": run.recipe.model.revision}
    return {
        "schema": 1,
        "recipe": run.recipe.name,
        "fingerprint": run.manifest["fingerprint"],
        "dataset_fingerprint": hub["dataset"]["fingerprint"],
        "seed": run.recipe.seed,
        "train_max_turns": evaluation["train_max_turns"],
        "students": evaluation["students"],
        "comparisons": evaluation["comparisons"],
        "generated": stages["generate"]["outputs"]["counts"],
        "guard": stages["generate"]["outputs"]["guard"],
        "train": stages["train"]["outputs"],
        "hub": {k: {n: v.get(n) for n in ("repo_id", "revision", "url")} for k, v in hub.items()}
        | {"endpoint": run.manifest.get("endpoint"), "root": run.manifest.get("hub_root")},
        "reload_check": hub["adapter"]["reload_check"],
        "wall_s": {name: entry["wall_s"] for name, entry in stages.items()},
        "peak_rss_mib": max(entry.get("peak_rss_mib", 0) for entry in stages.values()),
        "hardware": run.manifest["hardware"],
        "versions": run.manifest["versions"],
    }
