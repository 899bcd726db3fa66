"""Made-up recipes, overrides and run folders: an answer or one line of error, never a traceback."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import fuzz, one_line, refuses_or, values
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import Recipe, load_recipe

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart" / "recipe.yaml"


@fuzz
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_as_a_recipe(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(data)
    refuses_or(lambda: load_recipe(file))


def paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(path for key, value in inner for path in paths(value, (*at, key)))]


SHIPPED = yaml.safe_load(QUICKSTART.read_text())


@fuzz
@given(path=st.sampled_from(paths(SHIPPED)[1:]), value=values, remove=st.booleans())
def test_a_good_recipe_with_one_part_changed(path: tuple[Any, ...], value: Any, remove: bool, tmp_path: Path) -> None:
    changed = copy.deepcopy(SHIPPED)
    node = changed
    for key in path[:-1]:
        node = node[key]
    if remove:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    recipe = refuses_or(lambda: load_recipe(file))
    if recipe is not None:
        assert isinstance(recipe, Recipe)
        assert len(recipe.fingerprint) == 16


@fuzz
@given(text=st.text(max_size=40) | st.tuples(st.text("abehst.0_", max_size=12), st.text(max_size=20)).map("=".join))
def test_any_text_as_an_override(text: str) -> None:
    refuses_or(lambda: load_recipe(QUICKSTART, [text]))


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "a: &a [*a]",
        "[" * 5000,
        "{a: " * 5000,
        "a: 2020-13-45",
        "!!python/object/apply:os.system [ls]",
        "? [a]\n: b",
    ],
    ids=["aliases of aliases", "holds itself", "deep list", "deep mapping", "no date", "python tag", "list as key"],
)
def test_known_traps_of_yaml(text: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_recipe(file)
    one_line(caught.value)


RECIPE = load_recipe(QUICKSTART)


def manifest_of(stages: Any) -> bytes:
    """A manifest of the right recipe whose stages are anything."""
    return json.dumps({"fingerprint": RECIPE.fingerprint, "stages": stages}).encode()


@fuzz
@given(manifest=st.binary(max_size=60) | values.map(manifest_of) | values.map(lambda v: json.dumps(v).encode()))
def test_any_manifest_of_a_run(manifest: bytes, tmp_path: Path) -> None:
    from rl2f_hub.runs import STAGES, Run

    (tmp_path / "manifest.json").write_bytes(manifest)
    run = refuses_or(lambda: Run.open(RECIPE, tmp_path, resume=True))
    if run is not None:
        assert all(run.done(stage) in (True, False) for stage in STAGES)
