"""Stage `base`, its second half: the base that a run made becomes a Hub model, so that adapters have a real `base_model`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rl2f_hub.hub.commit import Contents, Remote, put, stale_model_files
from rl2f_hub.hub.model_cards import base_card
from rl2f_hub.runs import Run
from rl2f_hub.runtime.hub_errors import hub_errors
from rl2f_hub.training.pretraining.base import base_folder


def push_base(run: Run, namespace: str) -> dict[str, Any]:
    """One commit with weights, tokenizer and card; returns {repo_id, revision, url, parameters}."""
    from huggingface_hub import HfApi

    repo_id, folder = f"{namespace}/{run.recipe.hub.base}", base_folder(run)
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
