"""What RL2F is compared with: other ways to learn from the same data, from the same start, in the same run.

Each is a name in a recipe's `train.baselines` and a function here that leaves an adapter in `train/<name>/adapter`, which
evaluation plays like RL2F's. `single_turn_rl`, `try_again_rl` and `shuffled_rl` are RL by the same trainer (`rl.py`); the
others learn without it: `sft` and `rejection_sft` (`sft.py`), `dpo` (`dpo.py`), `sdpo` (`sdpo.py`).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, Protocol

from rl2f_hub.runs import Run
from rl2f_hub.runtime import processes


class Baseline(Protocol):
    """Trains from the adapter `start` and saves the result; `rl2f` is what RL2F's own training recorded."""

    def __call__(self, run: Run, start: Path, rl2f: dict[str, Any]) -> dict[str, Any]: ...


def offline_baselines() -> dict[str, Baseline]:
    """The baselines that do not use RL2F's trainer, by name."""
    from rl2f_hub.training.baselines.dpo import dpo
    from rl2f_hub.training.baselines.sdpo import sdpo
    from rl2f_hub.training.baselines.sft import rejection_sft, sft

    return {"sft": sft, "rejection_sft": rejection_sft, "dpo": dpo, "sdpo": sdpo}


def nothing_to_learn(run: Run, name: str, start: Path, why: str) -> dict[str, Any]:
    """The result of a baseline whose data are empty: the adapter it starts from, as it is, and a word about it.

    The runs before it took long and the comparison is still a true one: this way of learning gets nowhere from here.
    """
    if processes.is_main():
        print(f"note: train.baselines: {name} learns nothing: {why}", file=sys.stderr)
        shutil.copytree(start, run.path("train", name, "adapter"), dirs_exist_ok=True)
    processes.wait()
    return {"rows": 0, "steps": 0, "note": why}
