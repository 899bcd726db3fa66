"""The notebook, cell by cell in one process, with a tiny student in its cell of parameters; lines for the shell are run too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from blocks import ROOT, commands_of, problem_of

NOTEBOOK = ROOT / "docs" / "colab.ipynb"
TINY = """
HUB = {"endpoint": "local", "namespace": "me", "base": "colab-base"}
ADD = {"source": "reasoning_gym:chain_sum", "verifier": "integer", "level": 1}
LCM = {"source": "reasoning_gym:lcm", "verifier": "integer"}
MODEL = {"scratch": {"hidden": 32, "layers": 2, "heads": 2, "intermediate": 64, "steps": 5, "tasks": [{**LCM, "count": 8}]}}
TRAIN, HELD_OUT = 8, 4
TOKENS = 6
STEPS = {"warmup": 1, "train": 1}
"""


def cells() -> list[tuple[str, list[str]]]:
    """(source, tags) of each cell of code."""
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [("".join(c["source"]), c["metadata"].get("tags", [])) for c in found if c["cell_type"] == "code"]


def script() -> str:
    """The notebook as a program: `!rl2f` lines call the command, installation and what needs a token are left out."""
    lines = [
        "import subprocess, sys",
        "import matplotlib",
        "matplotlib.use('Agg')",
        "def shell(words): subprocess.run([sys.executable, '-m', 'rl2f_hub', *words], check=True)",
    ]
    for source, tags in cells():
        if "needs-token" in tags:
            continue
        for line in (TINY if "parameters" in tags else source).splitlines():
            if line.startswith("!"):
                lines.append(f"shell({commands_of(line[1:])[0][1:]!r})")
            elif not line.startswith("%"):
                lines.append(line)
    return "\n".join(lines)


def test_every_shell_line_is_a_command_that_exists(tmp_path: Path) -> None:
    found = [line[1:] for source, _ in cells() for line in source.splitlines() if line.startswith(("!", "%"))]
    assert len(found) >= 4
    for line in found:
        for words in commands_of(line):
            assert problem_of(words) is None, f"{line}: {problem_of(words)}"


def test_the_parameters_cell_sets_what_the_test_replaces() -> None:
    own = next(source for source, tags in cells() if "parameters" in tags)
    names: list[set[str]] = []
    for text in (own, TINY):
        space: dict[str, object] = {}
        exec(text, space)
        names.append({n for n in space if n.isupper()})
    assert names[0] == names[1]


def test_the_notebook_carries_no_outputs() -> None:
    raw = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in raw["cells"])


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text(script(), encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "notebook.py"], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "assistant: " in done.stdout
    assert (tmp_path / "runs" / "colab" / "summary.json").is_file()
