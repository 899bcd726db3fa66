"""A shrunken run whose weights are sharded over two CPU processes, beside the same run with whole weights.

    python tests/scale/beside_whole.py fsdp
    python tests/scale/beside_whole.py deepspeed-zero3 train.credit=turn train.accumulation=2

Names of files in `recipes/accelerate`, then recipe keys to set. Prints how far RL2F's adapters differ, from the start
and with the last update done after a resume, and ends with 1 where that is more than sums in another order explain.
ZeRO-3 needs `pip install deepspeed` and a C++ compiler, which it uses on its first start; that is why this is no test.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.e2e import shrunken  # noqa: E402 - the folder is put on the path above

ON_CPU = ROOT / "tests" / "scale" / "sharded_on_cpu.py"
# ZeRO-3 shards only tensors of more than ten times the hidden size: the adapter is made that large.
CHANGES = {"train.steps": 6, "train.save_steps": 1, "train.prompts_per_step": 4, "model.lora.r": 64}
MOST = 2e-6


def train(config: str, out: Path, changes: list[str], *more: str) -> None:
    """The stages up to training on two processes."""
    sets = [f"--set={key}={value}" for key, value in {**shrunken.SMALLER, **CHANGES}.items()]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
    launcher += ["--config_file", str(ROOT / "recipes" / "accelerate" / f"{config}.yaml")]
    launcher += ["-m", "rl2f_hub"] if config == "ddp" else [str(ON_CPU)]
    stages = "base,generate,publish,warmup,train"
    command = [*launcher, "run", str(shrunken.RECIPE), "--out", str(out), f"--only={stages}", *sets]
    command += [*(f"--set={change}" for change in changes), *more]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = shrunken.environment() | {"PYTHONPATH": path}
    subprocess.run(command, check=True, env=environment, cwd=out.parent, stdout=subprocess.DEVNULL)


def farthest(one: Path, two: Path) -> float:
    from safetensors.torch import load_file

    states = [load_file(str(run / "train" / "rl2f" / "adapter" / "adapter_model.safetensors")) for run in (one, two)]
    assert states[0].keys() == states[1].keys()
    return max(float((states[0][k] - states[1][k]).abs().max()) for k in states[0])


def main() -> None:
    config, *changes = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        whole, sharded = Path(folder) / "whole" / "run", Path(folder) / "sharded" / "run"
        for out in (whole, sharded):
            out.parent.mkdir()
        train("ddp", whole, changes)
        train(config, sharded, changes)
        first = farthest(whole, sharded)
        shrunken.forget_last_update(sharded)
        train(config, sharded, changes, "--resume")
        resumed = farthest(whole, sharded)
    what = " ".join([config, *changes])
    print(f"{what}: RL2F's adapter differs from that of whole weights by {first:.1e} at most, resumed by {resumed:.1e}")
    sys.exit(int(max(first, resumed) > MOST))


if __name__ == "__main__":
    main()
