"""The `--set` options of two_machines.sh, one a line: the shrunken quickstart on a Hub that both machines reach."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from e2e.shrunken import SMALLER

changes = {
    **SMALLER,
    "hub.endpoint": os.environ["HF_ENDPOINT"],
    "hub.namespace": "worker",
    "train.steps": 3,
    "train.baselines": "[]",
}
print("\n".join(f"--set={key}={value}" for key, value in changes.items()))
