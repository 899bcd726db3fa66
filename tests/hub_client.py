"""A process of its own that speaks to the embedded Hub: reads a list of steps as JSON, writes one result a step.

Clients read their settings when they are imported, so tests of `hub:` sources never load them in pytest's own process;
they call `run`, which starts this file.
Steps: {"do": "push", repo, config, split, rows, features, token}, {"do": "upload", repo, files, token},
{"do": "load", source}. Usage: hub_client.py STEPS RESULTS
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl2f_hub.localhub import LocalHub


def env_of(hub: LocalHub, home: Path) -> dict[str, str]:
    """The environment of a client with caches of its own in `home`."""
    own = {k: v.replace(str(hub.root / "client"), str(home)) for k, v in hub.env().items()}
    return {**os.environ, **own, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def run(steps: list[dict[str, Any]], env: dict[str, str], work: Path) -> list[dict[str, Any]]:
    """One result a step, from a new process in the folder `work`."""
    (work / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
    command = [sys.executable, __file__, str(work / "steps.json"), str(work / "results.json")]
    done = subprocess.run(command, env=env, cwd=work, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((work / "results.json").read_text(encoding="utf-8"))


def features(node: Any) -> Any:
    """`{"a": "string", "b": ["int64"], "c": {"label": ["no", "yes"]}}` as `datasets.Features`."""
    from datasets import ClassLabel, Features, List, Value

    def build(part: Any) -> Any:
        if isinstance(part, str):
            return Value(part)
        if isinstance(part, list):
            return List(build(part[0]))
        if "class_label" in part:
            return ClassLabel(names=part["class_label"])
        return {name: build(kind) for name, kind in part.items()}

    return Features({name: build(kind) for name, kind in node.items()})


def push(step: dict[str, Any]) -> dict[str, Any]:
    from datasets import Dataset

    table = Dataset.from_list(step["rows"], features=features(step["features"]))
    done = table.push_to_hub(
        step["repo"],
        step.get("config", "default"),
        split=step.get("split", "train"),
        token=step["token"],
        private=step.get("private"),
        revision=step.get("revision"),
    )
    return {"commit": done.oid}


def upload(step: dict[str, Any]) -> dict[str, Any]:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=step["token"])
    api.create_repo(step["repo"], repo_type="dataset", exist_ok=True)
    adds = [CommitOperationAdd(path, text.encode()) for path, text in step["files"].items()]
    done = api.create_commit(step["repo"], adds, commit_message="files", repo_type="dataset")
    return {"commit": done.oid}


def load(step: dict[str, Any]) -> dict[str, Any]:
    from rl2f_hub.errors import RL2FError
    from rl2f_hub.recipe.task_sections import SourceSpec
    from rl2f_hub.tasks import load_tasks

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("rl2f_hub").addHandler(handler)
    reports: list[dict[str, Any]] = []
    token = os.environ["HF_TOKEN"]
    try:
        if "token" in step:
            os.environ["HF_TOKEN"] = step["token"]
        tasks = load_tasks({"train": [SourceSpec(**step["source"])]}, 3, reports)["train"]
    except RL2FError as error:
        return {"error": str(error), "exit_code": error.exit_code, "said": said}
    finally:
        os.environ["HF_TOKEN"] = token
        logging.getLogger("rl2f_hub").removeHandler(handler)
    return {"tasks": [task.to_row() for task in tasks], "report": reports[0], "said": said}


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        steps = json.load(file)
    results: list[dict[str, Any]] = []
    for step in steps:
        revision = step.get("source", {}).get("revision", "")
        if revision.startswith("@"):  # the commit that an earlier step made
            step["source"]["revision"] = results[int(revision[1:])]["commit"]
        results.append({"push": push, "upload": upload, "load": load}[step["do"]](step))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main()
