"""A process of its own that pushes a tiny adapter several times and reports what came of it as JSON.

Loaders of models read the endpoint when they are imported, so tests of `push` never load them in pytest's own process.
Usage: push_client.py RESULTS
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from recorded_run import dialogue, recorded, task

from rl2f_hub.runs import write_rows

SCORES = {
    "acc_at_turn": [0.1, 0.25, 0.5],
    "ci95": [[0.05, 0.15], [0.2, 0.3], [0.4123, 0.6]],
    "n": 64,
    "decoding": "greedy",
}
METRICS = {
    "students": {"base": {"teacher": SCORES}, "rl2f": {"teacher": SCORES, "ood_teacher": SCORES}},
    "train_max_turns": 3,
    "max_turns": 3,
    "comparisons": {"rl2f_minus_base_last_turn": {"difference": 0.2, "ci95": [0.1, 0.3]}},
    "added_by_a_later_version": 1,
}
TRAINED = {"max_turns": 3, "steps": 2, "student_tokens": 1000}


def base_model(api: Any) -> tuple[Any, str]:
    """A tiny base on the Hub; (model, revision)."""
    from rl2f_hub.recipe import ScratchSpec, SourceSpec
    from rl2f_hub.training.pretraining.scratch import build_model, build_tokenizer

    tokenizer = build_tokenizer(("What is 1 + 2? Too low. Wrong.",), 300, 256)
    spec = ScratchSpec(hidden=32, layers=1, heads=2, intermediate=32, tasks=[SourceSpec(source="jsonl:none", count=1)])
    model = build_model(tokenizer, spec, 0)
    for part in (model, tokenizer):
        part.push_to_hub("me/base", private=True)
    return model, api.model_info("me/base").sha


def trained(run: Any, model: Any, seed: int) -> None:
    """What the stages before `push` leave: an adapter, metrics, a figure."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    peft = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    folder = run.path("train", "rl2f", "adapter")
    peft.save_pretrained(str(folder))
    peft.unload()
    (folder / "optimizer.pt").write_bytes(b"a pickle")
    run.path("train", "rl2f", "log.json").write_text("[]")
    run.path("evaluation", "metrics.json").write_text(json.dumps(METRICS))
    run.path("evaluation", "accuracy_by_turn.png").write_bytes(b"\x89PNG" + bytes([seed]))
    outputs: dict[str, Any] = {"warmup": {"rows": 3, "steps": 1}, "train": {"rl2f": TRAINED}, "evaluate": {}}
    for stage, values in outputs.items():
        run.manifest["stages"][stage] = {"status": "done", "wall_s": 2.5, "outputs": values, "peak_rss_mib": 5}
    run.manifest |= {"hub_root": "/home/somebody/hub", "recipe_file": "/home/somebody/recipe.yaml"}
    run.manifest["tasks"].append({"split": "ood", "source": "jsonl:/home/somebody/rows.jsonl", "taken": 1})


def run_of(folder: Path, revision: str, model: Any, seed: int, **hub: Any) -> Any:
    from rl2f_hub.publish import publish

    run = recorded(folder, [dialogue(n) for n in range(4)], seed=seed, **hub)
    run.manifest["stages"]["base"]["outputs"]["revision"] = revision
    trained(run, model, seed)
    run.manifest["stages"]["publish"] = {"status": "done", "wall_s": 1.0, "outputs": publish(run, "me")}
    return run


def refusal(call: Any, *args: Any) -> str:
    from rl2f_hub.errors import RL2FError

    try:
        call(*args)
    except RL2FError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def state(api: Any, repo: str, revision: str) -> dict[str, Any]:
    """Files and texts of a model at a revision."""
    files = api.list_repo_files(repo, revision=revision)
    kept = [f for f in files if f.endswith((".json", ".md", ".yaml"))]
    return dict.fromkeys(files, "") | {
        f: Path(api.hf_hub_download(repo, f, revision=revision)).read_text() for f in kept
    }


def as_printed(card: str) -> str:
    """Runs the card's first program; the type of its `model`."""
    names: dict[str, Any] = {}
    found = re.search(r"```python\n(.*?)```", card, re.S)
    assert found
    exec(found[1], names)
    return type(names["model"]).__name__


def stopped_pushes(api: Any, run: Any) -> list[dict[str, Any]]:
    """Pushes stopped at each request that writes, every one to a model of its own, and the same again.

    A stop at a request that reads leaves what a stop at the next write leaves.
    """
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    from rl2f_hub.hub import reload_check
    from rl2f_hub.hub.adapters import push

    reload_check.check_adapter = lambda *_: {}  # it only reads, takes most of the time, and the other pushes run it
    writes: list[str] = []
    at: int | None = None

    def hook(request: Any) -> None:
        if request.method not in ("GET", "HEAD"):
            writes.append(f"{request.method} {request.url.path}")
            if len(writes) == at:
                raise KeyboardInterrupt

    def factory() -> Any:
        client = default_client_factory()
        client.event_hooks["request"].append(hook)
        return client

    def seen(repo: str) -> list[str] | None:
        return sorted(set(api.list_repo_files(repo)) - {".gitattributes"}) if api.repo_exists(repo) else None

    set_client_factory(factory)
    out: list[dict[str, Any]] = []
    while not out or out[-1]["stopped"]:
        number = len(out) + 1
        spec = run.recipe.hub.model_copy(update={"adapter": f"stopped-{number}", "collection": f"Stopped {number}"})
        run.recipe = run.recipe.model_copy(update={"hub": spec})
        repo, at = f"me/stopped-{number}", number
        writes.clear()
        stopped = False
        try:
            push(run, "me")
        except KeyboardInterrupt:
            stopped = True
        at, last = None, writes[-1]
        then = seen(repo)
        done = push(run, "me")
        collected = [i.item_id for i in api.get_collection(done["collection"]["slug"]).items]
        out.append({"stopped": stopped, "request": last, "then": then, "after": seen(repo), "collected": collected})
        out[-1] |= {"tags": [t.name for t in api.list_repo_refs(repo).tags]}
        out[-1] |= {"commits": [c.title for c in api.list_repo_commits(repo)]}
    set_client_factory(default_client_factory)
    return out


def main() -> None:
    from huggingface_hub import HfApi

    from rl2f_hub.hub.adapters import dry_run, push

    api, work, out = HfApi(), Path(sys.argv[1]).parent, {}
    model, revision = base_model(api)
    first = run_of(work / "first", revision, model, 1)
    out["plan"] = dry_run(first, "me")
    out["before"] = api.repo_exists("me/adapter")
    out["first"], out["same"] = push(first, "me"), push(first, "me")
    out["first_files"] = state(api, "me/adapter", out["first"]["revision"])
    second = run_of(work / "second", revision, model, 2, merged="merged", trainer_state=True)
    out["second"] = push(second, "me")
    out["second_files"] = state(api, "me/adapter", "main")
    out["merged_files"] = state(api, "me/merged", "main")
    out["dataset_card"] = Path(api.hf_hub_download("me/didactic", "README.md", repo_type="dataset")).read_text()
    out["refused_tag"] = refusal(push, run_of(work / "third", revision, model, 3, tag="v1"), "me")
    out["tags"] = {t.name: t.target_commit for t in api.list_repo_refs("me/adapter").tags}
    out["commits"] = [c.title for c in api.list_repo_commits("me/adapter")]
    out["collection"] = [
        [i.item_type, i.item_id] for i in api.get_collection(out["second"]["collection"]["slug"]).items
    ]
    shown = api.model_info("me/adapter", expand=["evalResults"]).eval_results
    out["shown"] = [[e.dataset_id, e.task_id, e.value] for e in shown or ()]
    out["loaded"] = [as_printed(out[f"{name}_files"]["README.md"]) for name in ("second", "merged")]
    again = run_of(work / "stopped", revision, model, 5)
    write_rows(again.path("tasks", "eval.jsonl"), [task(0, "eval").to_row()])  # each push is loaded back: keep it short
    out["stopped"] = stopped_pushes(api, again)
    named = second.recipe.model.model_copy(update={"scratch": None, "id": str(work), "revision": None})
    second.manifest["stages"]["base"]["outputs"] = {}
    second.recipe = second.recipe.model_copy(update={"model": named})
    out["path"] = refusal(push, second, "me")
    gone = named.model_copy(update={"id": "me/base", "revision": "d" * 40})
    second.recipe = second.recipe.model_copy(update={"model": gone})
    out["gone"] = refusal(push, second, "me")
    Path(sys.argv[1]).write_text(json.dumps(out))


if __name__ == "__main__":
    main()
