"""The references in docs/ are what the code says, and the code says something about every recipe key and option."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from rl2f_hub.cli import app
from rl2f_hub.recipe import Recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def references() -> ModuleType:
    spec = importlib.util.spec_from_file_location("references", ROOT / "docs" / "references.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["recipe", "cli"])
def test_references_are_current(references: ModuleType, name: str) -> None:
    committed = (ROOT / "docs" / f"{name}-reference.md").read_text(encoding="utf-8")
    made = getattr(references, f"{name}_reference")()
    assert committed == made, f"docs/{name}-reference.md is out of date: run `make docs` and commit it"


def test_every_recipe_key_is_described(references: ModuleType) -> None:
    missing = {
        path: bad for model, path in references.sections(Recipe).items() if (bad := references.undescribed(model))
    }
    assert not missing, f"say what these keys mean, in a comment behind them or in their section's docstring: {missing}"


def test_every_command_and_option_is_described(references: ModuleType) -> None:
    for path, function in references.commands(app, "rl2f"):
        assert function.__doc__, f"{path}: a command needs a docstring; it is its help"
        for row in (references._parameter(*given) for given in references._parameters(function)):
            if row is not None:
                assert row[3], f"{path} {row[0]}: needs help="


def test_the_recipe_reference_knows_every_key_that_a_recipe_dump_has(references: ModuleType) -> None:
    text = references.recipe_reference()

    def keys(schema: dict) -> set[str]:
        return {key for part in [schema, *schema.get("$defs", {}).values()] for key in part.get("properties", {})}

    for key in keys(Recipe.model_json_schema()):
        assert f"| `{key}` |" in text


def test_help_shows_what_stands_in_brackets() -> None:
    """Rich would read a default in square brackets as markup and leave it out."""
    from typer.testing import CliRunner

    said = CliRunner().invoke(app, ["run", "--help"]).output
    assert "runs/<recipe name>" in said
    assert "[default: " in said


def test_lists_of_commands_are_not_cut_off_on_a_narrow_terminal() -> None:
    from typer.main import get_command

    cut = []
    waiting = [(get_command(app), "rl2f")]
    for group, path in waiting:  # grows while it is read
        room = 78 - 6 - max(len(name) for name in group.commands)  # what click leaves of 80 columns
        for name, command in group.commands.items():
            cut += [f"{path} {name}"] if command.get_short_help_str(room).endswith("...") else []
            waiting += [(command, f"{path} {name}")] if hasattr(command, "commands") else []
    assert cut == [], "the first sentence of their help is too long"


def test_the_version_is_what_the_package_says() -> None:
    from typer.testing import CliRunner

    from rl2f_hub import __version__

    assert CliRunner().invoke(app, ["--version"]).output == f"rl2f_hub {__version__}\n"
