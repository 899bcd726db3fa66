"""Opening students from what is on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPEN = """
from rl2f_hub.errors import RL2FError
from rl2f_hub.students.load import open_pair
model, _, adapter = open_pair("me/whole")
print(type(model).__name__, adapter)
try:
    open_pair("me/unknown")
except RL2FError as error:
    print(error)
"""


def test_a_whole_model_in_the_cache_is_opened_without_a_network(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any
) -> None:
    repo, commit = tmp_path / "hub" / "models--me--whole", "a" * 40
    for part in (make_model(), tokenizer):
        part.save_pretrained(str(repo / "snapshots" / commit))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", OPEN], env=env, capture_output=True, text=True, check=False)
    whole, unknown = done.stdout.splitlines() or [done.stderr[-2000:], ""]
    assert whole == "LlamaForCausalLM False"
    assert unknown.startswith("model 'me/unknown': the Hub could not be reached")
