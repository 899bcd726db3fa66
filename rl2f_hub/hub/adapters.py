"""Stage `push`: the RL2F adapter goes to the Hub in one tagged commit, and is checked by loading it back.

In the commit: safetensors and the adapter's configuration, which names the base by id and exact revision; the tokenizer
where it differs from the base's; figures, metrics and `.eval_results`; recipe and manifest without paths of this
machine; the card, merged with the one on the Hub. Then `PeftModel.from_pretrained` reads it from the Hub again and must
give the same greedy answers as the adapter on disk. Cards of data set and base get links to the new revision, and a
collection groups all of them. Left out: optimizer states, which are pickles.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.adapter_files import adapter_files, base_of
from rl2f_hub.hub.commit import Contents, Remote, plan, put, stale_model_files
from rl2f_hub.hub.errors import hub_errors
from rl2f_hub.hub.group import badges, free_tag, group, link_from, link_lines, set_tag
from rl2f_hub.hub.model_cards import model_card
from rl2f_hub.runs import Run
from rl2f_hub.runtime.progress import bar


def push(run: Run, namespace: str, *, api: Any = None) -> dict[str, Any]:
    """Pushes the adapter; returns {repo_id, revision, url, tag, reload_check, collection, badges, ...}."""
    from rl2f_hub.hub.reload_check import check_adapter

    spec = run.recipe.hub
    repo_id = f"{namespace}/{spec.adapter}"
    _all_there(run)
    api = api or _api()
    with hub_errors(repo_id), bar("push", 4, "steps") as advance:
        base = base_of(run, api)
        files = adapter_files(run, base)
        tag = free_tag(api, repo_id, spec.tag, files)
        contents = _contents(files, model_card(run, repo_id, base=base, endpoint=api.endpoint))
        done = put(
            api, repo_id, "model", contents, private=spec.private, message=f"Adapter of {run.recipe.name} ({tag})"
        )
        set_tag(api, repo_id, tag, done.revision, f"{run.recipe.name}, fingerprint {run.manifest['fingerprint']}")
        advance(1, note="uploaded")
        checked = check_adapter(run, repo_id, done.revision)
        advance(1, note="loaded back")
        merged = _push_merged(run, namespace, base, (repo_id, done.revision), api) if spec.merged else None
        linked = _link_all(run, api, base, repo_id, done.revision, merged)
        advance(1, note="linked")
        collection = _collect(run, namespace, api, base, repo_id, merged)
        advance(1, note="grouped")
    dataset = run.outputs("publish")["repo_id"]
    return {
        "repo_id": repo_id,
        "revision": done.revision,
        "url": done.url,
        "tag": tag,
        "reload_check": checked,
        "card_kept_by_hand": [*done.kept, *done.removed],
        "merged": merged,
        "linked_from": linked,
        "collection": collection,
        "badges": badges(api.endpoint, {"model": repo_id, "dataset": dataset}),
    }


def dry_run(run: Run, namespace: str, *, api: Any = None) -> dict[str, Any]:
    """What `push` would do with the adapter's repository; the Hub is read and not changed."""
    repo_id = f"{namespace}/{run.recipe.hub.adapter}"
    _all_there(run)
    api = api or _api()
    with hub_errors(repo_id):
        base = base_of(run, api)
        files = adapter_files(run, base)
        tag = free_tag(api, repo_id, run.recipe.hub.tag, files)
        contents = _contents(files, model_card(run, repo_id, base=base, endpoint=api.endpoint))
        return plan(api, repo_id, "model", contents, private=run.recipe.hub.private) | {"tag": tag}


def _all_there(run: Run) -> None:
    """Refuses a run whose earlier stages are missing or trained nothing, before the Hub is asked anything."""
    from rl2f_hub.evaluation.stage import unchanged

    for stage in ("publish", "train", "evaluate"):
        run.outputs(stage)
    if why := unchanged(run).get("rl2f"):
        raise UsageError(
            f"push: the adapter is the one that RL started from: {why}; use easier tasks, more dialogues per task "
            "(train.num_generations) or a longer warm-up, then go on with --resume"
        )


def _push_merged(run: Run, namespace: str, base: dict[str, Any], adapter: tuple[str, str], api: Any) -> dict[str, Any]:
    """The adapter merged into the base's full-precision weights, as a model of its own."""
    from peft import PeftModel

    from rl2f_hub.hub.reload_check import compare_merged
    from rl2f_hub.students.load import load_model, load_tokenizer, origin_of

    repo_id = f"{namespace}/{run.recipe.hub.merged}"
    origin = origin_of(run.recipe.model, run.own_base)
    folder = run.path("push", "merged", "x").parent
    shutil.rmtree(folder, ignore_errors=True)
    model = PeftModel.from_pretrained(
        load_model(origin, "none", run.recipe.model.dtype), str(run.path("train", "rl2f", "adapter"))
    ).merge_and_unload()
    model.save_pretrained(str(folder), safe_serialization=True)
    load_tokenizer(origin).save_pretrained(str(folder))
    shutil.copy(run.path("evaluation", "accuracy_by_turn.png"), folder)
    files: dict[str, Path | bytes] = {
        str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    tag = free_tag(api, repo_id, run.recipe.hub.tag, files)
    card = model_card(run, repo_id, base=base, endpoint=api.endpoint, merged_from=adapter)
    message = f"{run.recipe.name} merged ({tag})"
    done = put(api, repo_id, "model", _contents(files, card), private=run.recipe.hub.private, message=message)
    set_tag(api, repo_id, tag, done.revision, message)
    compared = compare_merged(run, repo_id, done.revision)
    return {"repo_id": repo_id, "revision": done.revision, "url": done.url, "tag": tag, "reload_check": compared}


def _link_all(
    run: Run, api: Any, base: dict[str, Any], repo_id: str, revision: str, merged: dict[str, Any] | None
) -> dict[str, str | None]:
    """The cards of data set and base say which revision was made from them; what each of them is at now."""
    published, private = run.outputs("publish"), run.recipe.hub.private
    trained = {"Adapter trained on it": ("model", repo_id, revision)}
    if merged:
        trained["Merged model"] = ("model", merged["repo_id"], merged["revision"])
    student = {"Student": ("model", base["repo_id"], base["revision"])}
    linked = {
        published["repo_id"]: link_from(
            api, published["repo_id"], "dataset", link_lines(api.endpoint, student | trained), private=private
        )
    }
    if run.own_base:
        data = {"Data made with it": ("dataset", published["repo_id"], published["revision"])}
        lines = link_lines(api.endpoint, trained | data)
        linked[base["repo_id"]] = link_from(api, base["repo_id"], "model", lines, private=private)
    return linked


def _collect(
    run: Run, namespace: str, api: Any, base: dict[str, Any], repo_id: str, merged: dict[str, Any] | None
) -> dict[str, Any] | None:
    spec = run.recipe.hub
    if spec.collection == "":
        return None
    items = [
        (run.outputs("publish")["repo_id"], "dataset", "Didactic dialogues"),
        (repo_id, "model", "RL2F adapter with its evaluation"),
        *([(merged["repo_id"], "model", "The adapter merged into its base")] if merged else []),
        *(
            [(base["repo_id"], "model", "The student that it started from")]
            if base["repo_id"].startswith(f"{namespace}/")
            else []
        ),
    ]
    return group(api, namespace, spec.collection or f"RL2F: {run.recipe.name}", items, private=spec.private)


def _contents(files: dict[str, Path | bytes], card: str) -> Callable[[Remote], Contents]:
    def contents(remote: Remote) -> Contents:
        return Contents(files, card, stale_model_files(remote, files))

    return contents


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi()


def summary(run: Run) -> dict[str, Any]:
    """The run's figures in one object; see docs/summary.md."""
    evaluation = json.loads(run.path("evaluation", "metrics.json").read_text(encoding="utf-8"))
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
