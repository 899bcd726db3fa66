"""The real client libraries against the real server: every check of clients/*.py, with Xet and without.

One process runs all checks of a file, in an empty folder (`load_dataset` prefers a local folder of the same name) and
with fresh caches; each check is still a test of its own.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parent / "clients"
MODES: dict[str, dict[str, str]] = {"xet": {}, "plain": {"HF_HUB_DISABLE_XET": "1"}}
SECONDS = 500  # of a process that imports torch and datasets first, perhaps from a cold disk


def check_names(file: str) -> list[str]:
    tree = ast.parse((CLIENTS / file).read_text())
    return [f.name for f in tree.body if isinstance(f, ast.FunctionDef) and f.name.startswith("check_")]


FILES = ("hub_calls.py", "dataset_calls.py", "model_calls.py")
CASES = [
    pytest.param(file, mode, name, id=f"{mode}-{name.removeprefix('check_')}")
    for file in FILES
    for mode in MODES
    for name in check_names(file)
]


@pytest.fixture(scope="session")
def run_checks(client_env: Any, tokens: dict[str, str], tmp_path_factory: Any) -> Callable[[str, str], dict[str, str]]:
    """Run all checks of a client file in one process, once a mode; returns check -> "" or its traceback."""
    known: dict[tuple[str, str], dict[str, str]] = {}

    def run(file: str, mode: str) -> dict[str, str]:
        if (file, mode) not in known:
            work = tmp_path_factory.mktemp(f"{Path(file).stem}-{mode}")
            (work / "cwd").mkdir()
            known_as = {name.upper(): token for name, token in tokens.items()}
            env = client_env(work / "home", CHECK_MODE=mode, **known_as, **MODES[mode])
            command = [sys.executable, str(CLIENTS / "run_checks.py"), str(CLIENTS / file), str(work / "results.json")]
            done = subprocess.run(
                command, env=env, cwd=work / "cwd", check=False, capture_output=True, text=True, timeout=SECONDS
            )
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
            known[file, mode] = json.loads((work / "results.json").read_text())
        return known[file, mode]

    return run


@pytest.mark.parametrize(("file", "mode", "check"), CASES)
def test_client(run_checks: Callable[[str, str], dict[str, str]], file: str, mode: str, check: str) -> None:
    problem = run_checks(file, mode)[check]
    assert not problem, problem
