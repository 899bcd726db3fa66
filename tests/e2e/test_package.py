"""The wheel and the sdist: complete, typed, and enough to run without the source tree."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from . import shrunken

ROOT = Path(__file__).parents[2]


def build(source: Path, target: Path, *what: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *what]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return target


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    inside = names(wheel)
    tracked = subprocess.run(["git", "ls-files", "rl2f_hub"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:
        assert set(tracked.stdout.split()) <= inside
    assert "rl2f_hub/py.typed" in inside
    assert {
        f"rl2f_hub/_recipes/{p.relative_to(ROOT / 'recipes')}" for p in (ROOT / "recipes").rglob("*.yaml")
    } <= inside
    assert {f"rl2f_hub/_cards/{p.name}" for p in (ROOT / "cards").glob("*.jinja")} <= inside
    assert not [n for n in inside if n.startswith(("tests", "docs", "runs", "shared")) or "__pycache__" in n]


def test_the_sdist_builds_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build(next(tmp_path.iterdir()), tmp_path / "dist", "-t", "wheel")
    assert names(next(again.glob("*.whl"))) == names(wheel)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; the dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder


def run(installed: Path, *command: str) -> str:
    env = {k: v for k, v in shrunken.environment().items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(installed / "venv" / "bin" / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        cwd=installed,
        env=env,
        timeout=900,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-2000:]}"
    return done.stdout


def test_an_installed_wheel_runs_without_the_source_tree(installed: Path) -> None:
    where = run(installed, "python", "-c", "import rl2f_hub; print(rl2f_hub.__file__)").strip()
    assert where.startswith(os.fspath(installed))
    assert "quickstart" in run(installed, "rl2f", "recipes", "list")
    sets = [f"--set={key}={value}" for key, value in {**shrunken.SMALLER, "model.scratch.steps": 2}.items()]
    run(installed, "rl2f", "run", "quickstart", "--only=base,generate,publish", "--out", "runs/q", *sets)
    assert list((installed / "runs" / "q" / "generate").glob("dialogues-*.jsonl"))
