"""The quickstart recipe made small enough for a test: same stages and keys, fewer steps and tasks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rl2f_hub.runtime.loopback import PROXIES

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart" / "recipe.yaml"

SMALLER = {
    "model.scratch.hidden": 32,
    "model.scratch.layers": 2,
    "model.scratch.heads": 2,
    "model.scratch.intermediate": 64,
    "model.scratch.steps": 40,
    "warmup.steps": 6,
    "warmup.rows": "all",
    "train.steps": 6,
    "train.prompts_per_step": 2,
    "train.num_generations": 4,
    "train.save_steps": 2,
    "generate.samples_per_task": 1,
    "generate.shard": 16,
    "evaluate.max_turns": 6,
    "evaluate.bootstrap": 200,
    "evaluate.sampled": "false",
    "threads": 1,
    **{f"model.scratch.tasks.{i}.count": 30 for i in range(7)},
    **{f"tasks.train.{i}.count": 16 for i in range(4)},
    **{f"tasks.eval.{i}.count": 8 for i in range(4)},
    **{f"tasks.ood.{i}.count": 8 for i in range(3)},
}


def command(out: Path, *more: str, changes: dict[str, object] | None = None) -> list[str]:
    """The command line of a shrunken run."""
    sets = [f"--set={key}={value}" for key, value in {**SMALLER, **(changes or {})}.items()]
    return [sys.executable, "-m", "rl2f_hub", "run", str(RECIPE), "--out", str(out), *sets, *more]


NOWHERE = "http://127.0.0.1:9"  # nobody listens there


def environment() -> dict[str, str]:
    """A shell of somebody who has a token of another Hub, nothing else about Hubs, and a proxy, which is down.

    Whatever would ask a host of the internet fails at once, on a machine with a network as on one without.
    """
    left_out = ("HF_", "HUGGING_FACE", "NO_PROXY", "no_proxy")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    kept |= {name: NOWHERE for proxy in PROXIES for name in (proxy, proxy.upper())}
    return kept | {"HF_TOKEN": "hf_of_another_hub", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def run(out: Path, *more: str, changes: dict[str, object] | None = None) -> subprocess.CompletedProcess[str]:
    out.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        command(out, *more, changes=changes),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=900,
        cwd=out.parent,
    )


def forget_last_update(out: Path) -> None:
    """RL2F's training as if it had been stopped after its last checkpoint but one."""
    trained = out / "train" / "rl2f"
    shutil.rmtree(max((trained / "trainer").glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1])))
    shutil.rmtree(trained / "adapter")
    (trained / "result.json").unlink()
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["stages"]["train"]
    (out / "manifest.json").write_text(json.dumps(manifest))


def figures(out: Path) -> dict:
    """What two runs of the same recipe and seed must agree on."""
    summary = json.loads((out / "summary.json").read_text())
    names = ("fingerprint", "dataset_fingerprint", "students", "comparisons", "generated", "guard", "train", "seed")
    return {name: summary[name] for name in names}
