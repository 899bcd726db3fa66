"""What lies in an adapter's repository beside its card: weights, configuration, figures, recipe, manifest.

Safetensors only. The configuration names the base by id and exact revision, never by a path; recipe and manifest go
without paths and addresses of the machine; the tokenizer only where it is not the base's.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from rl2f_hub.hub.commit import patiently
from rl2f_hub.hub.model_cards import main_results, read_metrics
from rl2f_hub.runs import Run, latest_checkpoint, write_json
from rl2f_hub.runtime.hub_errors import LOOPBACK
from rl2f_hub.students import ADAPTER_CONFIG, ADAPTER_FILES
from rl2f_hub.tasks.catalogue import public_source


def base_of(run: Run, api: Any) -> dict[str, Any]:
    """{repo_id, revision} of the base: an id on this Hub with the commit that its revision stands for.

    Raises:
        UsageError: the recipe's base is a folder.
    """
    made = run.own_base
    if made:
        return {"repo_id": made["repo_id"], "revision": made["revision"]}
    run.recipe.check_pushable()
    name, revision = str(run.recipe.model.id), run.recipe.model.revision
    return {"repo_id": name, "revision": str(patiently(api.model_info, name, revision=revision).sha)}


def adapter_files(run: Run, base: dict[str, Any]) -> dict[str, Path | bytes]:
    """What the adapter's repository holds beside its card, by path."""
    folder = run.path("push", "adapter", "x").parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    trained = run.path("train", "rl2f", "adapter")
    for name in ADAPTER_FILES:
        shutil.copy(trained / name, folder / name)
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base["repo_id"], "revision": base["revision"]}
    write_json(folder / ADAPTER_CONFIG, config)
    save_changed_tokenizer(run, folder)
    for file in sorted([*(run.dir / "evaluation").glob("*.json"), *(run.dir / "evaluation").glob("*.png")]):
        shutil.copy(file, folder / file.name)
    if run.recipe.hub.trainer_state:
        state = latest_checkpoint(run.path("train", "rl2f", "trainer"))
        found = [Path(state or "") / "trainer_state.json", run.path("train", "rl2f", "log.json")]
        (folder / "trainer").mkdir()
        for file in found:
            if file.is_file():
                shutil.copy(file, folder / "trainer" / file.name)
    files: dict[str, Path | bytes] = {
        str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    files["recipe.json"] = _json(public(run.recipe.model_dump(mode="json", exclude={"hub": {"root"}})))
    files["manifest.json"] = _json(public_manifest(run))
    files[".eval_results/rl2f.yaml"] = eval_results(run).encode()
    return files


def save_changed_tokenizer(run: Run, folder: Path) -> None:
    """The tokenizer and its chat template, where they are not what the base's repository gives."""
    from transformers import AutoTokenizer

    from rl2f_hub.students.load import load_tokenizer, origin_of

    origin = origin_of(run.recipe.model, run.own_base)
    ours = load_tokenizer(origin)
    theirs = AutoTokenizer.from_pretrained(origin.location, revision=origin.revision, trust_remote_code=False)

    def telling(tokenizer: Any) -> list[Any]:
        return [tokenizer.get_vocab(), tokenizer.special_tokens_map, tokenizer.chat_template]

    if telling(ours) != telling(theirs):
        ours.save_pretrained(str(folder))


def eval_results(run: Run) -> str:
    """The main figures in the form of `.eval_results/*.yaml`: percent, one entry a suite."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    dataset = run.outputs("publish")
    entries = [
        EvalResultEntry(
            dataset_id=dataset["repo_id"],
            task_id=result["suite"],
            value=round(100 * result["value"], 2),
            dataset_revision=dataset["revision"],
            notes=(
                f"solved by turn {result['turn']}, {result['decoding']}, n={result['n']}, 95% "
                f"{100 * result['low']:.1f} to {100 * result['high']:.1f}, seed {run.recipe.seed}"
            ),
        )
        for result in main_results(read_metrics(run))
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)


def public_manifest(run: Run) -> dict[str, Any]:
    """The manifest for others: no paths and addresses of this machine, nothing of the stage that is under way."""
    left_out = ("hub_root", "recipe_file", "endpoint")
    kept = {key: value for key, value in run.manifest.items() if key not in left_out}
    stages = {
        name: {key: value for key, value in entry.items() if key != "since"}
        for name, entry in run.manifest["stages"].items()
        if name != "push"
    }
    recipe = {**kept["recipe"], "hub": {k: v for k, v in kept["recipe"]["hub"].items() if k != "root"}}
    return public({**kept, "recipe": recipe, "stages": stages})


def public(value: Any) -> Any:
    """The same value with the last part of every path, and without addresses that hold on this machine only."""
    if isinstance(value, dict):
        return {key: public(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [public(inner) for inner in value]
    if not isinstance(value, str):
        return value
    value = public_source(LOOPBACK.sub("", value))
    return Path(value).name if re.match(r"(?:/(?!datasets/)[^/\s]+/[^/\s]+/|~|\.{1,2}/)\S*$", value) else value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
