"""Every code block of the Markdown files: Python and quick commands are run, YAML and other commands are checked.

What takes a GPU, a token or minutes is parsed by the real command line, with its recipe and overrides loaded; a block
that cannot even be checked says so above its fence (`<!-- not run: reason -->`) and is shown as a skip with that reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from blocks import PAGES, ROOT, Block, blocks_of, commands_of, filled, problem_of

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
SHELL = ("bash", "sh", "shell", "console")
FOLLOWED = {"tutorial.md"}  # their Python needs what their commands leave: tests/docs/test_tutorial.py does both
DATA = {"yaml": yaml.safe_load, "yml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}
SHOWN = ("", "text", "mermaid", "bibtex", "diff")  # output, pictures: nothing to run
# Commands that are really run, in a folder of their own: they take seconds and need no network.
QUICK = (
    ["recipes", "list"],
    ["recipes", "show"],
    ["tasks", "list"],
    ["tasks", "show"],
    ["hub", "user"],
)
SLOW = {
    ("tasks", "validate"): "judges some hundred programs; tests/test_tasks.py has a part of it",
    ("teachers", "audit"): "tests/test_audit.py has a part of it",
}


def of(*languages: str) -> list[Any]:
    return [
        pytest.param(b, id=str(b), marks=pytest.mark.skip(reason=b.reason) if b.reason else ())
        for b in BLOCKS
        if b.language in languages
    ]


def test_every_block_has_a_language_that_is_checked() -> None:
    known = {*SHELL, *DATA, *SHOWN, "python", "jinja"}
    assert [f"{b}: {b.language}" for b in BLOCKS if b.language not in known] == []
    assert len([b for b in BLOCKS if not b.reason]) > 10  # the reader of pages still finds them


@pytest.mark.parametrize("block", of(*SHELL))
def test_commands_exist_with_their_options(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    commands = commands_of(block.text)
    assert commands, "an empty block"
    for words in commands:
        problem = problem_of(words)
        assert problem is None, f"{block}: {' '.join(words)}\n{problem}"


def _quick() -> list[Any]:
    found = {}
    for block in BLOCKS:
        if block.language in SHELL and not block.reason and block.page.name not in FOLLOWED:
            for words in commands_of(block.text):
                if words[0] == "rl2f" and words[1:3] in QUICK:
                    found.setdefault(" ".join(words), filled(words))
    return [pytest.param(words, id=text) for text, words in found.items()]


@pytest.mark.parametrize("words", _quick())
def test_quick_commands_run(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rl2f_hub", *words[1:]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.strip()


@pytest.mark.parametrize("block", of("yaml", "yml", "json", "toml"))
def test_data_is_well_formed_and_recipes_are_valid(block: Block) -> None:
    value = DATA[block.language](block.text)
    from rl2f_hub.recipe import Recipe

    if isinstance(value, dict) and value and set(value) <= set(Recipe.model_fields):
        least: dict[str, Any] = {
            "name": "x",
            "hub": {"dataset": "d", "adapter": "a"},
            "model": {} if value.get("model", {}).keys() & {"wheel", "scratch"} else {"id": "m"},
            "tasks": {split: [{"source": "gsm8k", "count": 1}] for split in ("train", "eval")},
        }
        merged = {
            key: {**least.get(key, {}), **part} if isinstance(part, dict) else part for key, part in value.items()
        }
        Recipe.model_validate({**least, **merged})


@pytest.fixture(scope="module")
def reader(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a reader who has done the quickstart and speaks to its Hub."""
    from rl2f_hub.localhub import LocalHub

    with LocalHub.start(finished.parent / "hub", user="me") as hub:
        home = tmp_path_factory.mktemp("reader")
        yield {**os.environ, **hub.env(), "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _pages_with_python() -> list[Any]:
    pages = {b.page for b in BLOCKS if b.language == "python" and not b.reason and b.page.name not in FOLLOWED}
    return [pytest.param(p, id=str(p.relative_to(ROOT))) for p in sorted(pages)]


@pytest.mark.parametrize("page", _pages_with_python())
def test_python_runs_from_top_to_bottom(page: Path, reader: dict[str, str], tmp_path: Path) -> None:
    """A page's blocks in one process, in order, as somebody would paste them."""
    parts = [
        f"# {block}\n{block.text}\n" for block in blocks_of(page) if block.language == "python" and not block.reason
    ]
    (tmp_path / "train.py").write_text(
        "from huggingface_hub import HfApi\nHfApi().whoami()\n"
    )  # a program of the reader's
    (tmp_path / "tmp").mkdir()
    parts.insert(0, "from pathlib import Path\ntmp_path = Path('tmp')  # as pytest gives it\n")
    code = tmp_path / "page.py"
    code.write_text("\n".join(parts), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(code)], capture_output=True, text=True, cwd=tmp_path, env=reader, timeout=900
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stderr[-3000:]}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            at = f"{page.relative_to(ROOT)} links to {target}#{anchor}"
            there = page.parent / target if target else page
            assert there.exists(), f"{at}, which is not there"
            assert not anchor or anchor in _anchors(there), f"{at}, and no heading there is called that"


def _anchors(page: Path) -> set[str]:
    """The names that headings get on the Hub and elsewhere: lower case, hyphens for spaces, no other marks."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "text",
    [
        "rl2f rnu quickstart",
        "rl2f run quickstart --resumee",
        "rl2f run no-such-recipe",
        "rl2f run quickstart --set trian.steps=3",
        "rl2f run",
        "make quickstrat",
        'pip install "rl2f-hub[qlroa]"',
        "python docs/nothing.py",
        "frobnicate --all",
    ],
)
def test_a_wrong_command_is_found(text: str) -> None:
    assert problem_of(commands_of(text)[0]) is not None
