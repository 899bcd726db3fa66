"""Recipes: strict keys, one-line refusals, overrides, and a fingerprint of what can change a result."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import Recipe, load_recipe, recipe_files

SOURCE: dict[str, Any] = {"source": "reasoning_gym:products", "count": 10}
BASE: dict[str, Any] = {
    "name": "small",
    "hub": {"dataset": "d", "adapter": "a", "base": "b"},
    "model": {"scratch": {"tasks": [{**SOURCE}]}},
    "tasks": {"train": [{**SOURCE}], "eval": [{**SOURCE}]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """`BASE` with one key changed, or taken out when the value is `...`."""
    data = copy.deepcopy(BASE)
    node: Any = data
    *parents, last = path.split(".")
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return data


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load_(data: Any = None, overrides: tuple[str, ...] = ()) -> Recipe:
        file = tmp_path / "recipe.yaml"
        file.write_text(data if isinstance(data, str) else yaml.safe_dump(BASE if data is None else data))
        return load_recipe(file, overrides)

    return load_


def refusal(load: Any, *args: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_small_recipe_is_enough(load: Any) -> None:
    recipe = load()
    assert recipe.dialogue.max_turns == 4
    assert recipe.model.scratch is not None
    assert recipe.model.scratch.learning_rate == 3e-3


@pytest.mark.parametrize("file", recipe_files(), ids=lambda f: f.parent.name)
def test_every_recipe_that_is_shipped_loads(file: Path) -> None:
    assert load_recipe(file).fingerprint == load_recipe(file.parent.name).fingerprint


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("nmae", "name"),
        ("trian", "train"),
        ("train.learning_rat", "learning_rate"),
        ("dialogue.max_turn", "max_turns"),
        ("teacher.guard.max_retry", "max_retries"),
        ("tasks.train.0.cuont", "count"),
        ("model.lora.alhpa", "alpha"),
        ("model.scratch.hiden", "hidden"),
        ("model.scratch.lessons.hed_share", "heed_share"),
        ("model.scratch.tasks.0.verifer", "verifier"),
    ],
)
def test_an_unknown_key_is_refused_with_its_neighbour(load: Any, key: str, near: str) -> None:
    assert f"unknown key {key!r}; did you mean {near!r}?" in refusal(load, changed(key, 1))


def test_an_unknown_key_without_a_neighbour_gets_the_list(load: Any) -> None:
    message = refusal(load, changed("dialogue.zzz", 1))
    assert "unknown key 'dialogue.zzz'; known: discount, history, max_turns, on_cut, thinking, turn_tokens" in message


def test_free_settings_take_any_key(load: Any) -> None:
    recipe = load(changed("train.grpo", {"max_grad_norm": 0.1}))
    assert recipe.train.grpo == {"max_grad_norm": 0.1}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "seven"),
        ("seed", 1.5),
        ("name", "bad name"),
        ("name", "../up"),
        ("dialogue.max_turns", 0),
        ("dialogue.max_turns", "four"),
        ("dialogue.discount", 0),
        ("dialogue.discount", 1.1),
        ("dialogue.discount", float("nan")),
        ("train.num_generations", 1),
        ("train.learning_rate", "fast"),
        ("train.learning_rate", -1e-3),
        ("train.temperature", 0),
        ("train.critique_coef", -0.1),
        ("generate.top_p", 0),
        ("generate.top_p", 1.5),
        ("teacher.kind", "oracle"),
        ("tasks.train", []),
        ("tasks.train", "reasoning_gym:products"),
        ("tasks.train.0.count", 0),
        ("tasks.train.0.answer_range", [1]),
        ("tasks.train.0.verifier", "magic"),
        ("evaluate.suites", ["teacher", "nobody"]),
        ("model.quantization", "int3"),
        ("hub", None),
        ("hub.private", "perhaps"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(load: Any, key: str, value: Any) -> None:
    assert f": {key}" in refusal(load, changed(key, value))


@pytest.mark.parametrize("key", ["name", "hub", "hub.dataset", "tasks.eval", "tasks.train.0.source", "model"])
def test_a_missing_key_is_named(load: Any, key: str) -> None:
    assert f"{key}: missing" in refusal(load, changed(key, ...))


def test_values_that_do_not_go_together_are_refused(load: Any) -> None:
    assert "exactly one of" in refusal(load, changed("model.id", "some/model"))
    assert "exactly one of" in refusal(load, changed("model", {}))
    assert "hub.base: missing" in refusal(load, changed("hub.base", ...))
    assert "evaluate.max_turns: 6 is below dialogue.max_turns 9" in refusal(load, changed("dialogue.max_turns", 9))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a recipe is a mapping"),
        ("- 1\n- 2", "a recipe is a mapping"),
        ("name: [", "not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']", "not valid YAML"),
        (yaml.safe_dump(BASE) + "1: 2", "the key '1' is no text; put it in quotes"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(load: Any, text: str, says: str) -> None:
    assert says in refusal(load, text)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    assert "no file" in refusal(load_recipe, tmp_path / "none.yaml")
    assert "did you mean 'quickstart'?" in refusal(load_recipe, "quickstrat")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert "binary.yaml" in refusal(load_recipe, tmp_path / "binary.yaml")


def test_a_folder_stands_for_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(BASE))
    assert load_recipe(tmp_path).name == "small"


@pytest.mark.parametrize("text", ["3e-3", "0.003", '"3e-3"', "3.0e-3"])
def test_a_rate_may_be_written_as_people_write_it(load: Any, text: str) -> None:
    data = yaml.safe_dump(BASE) + f"train: {{learning_rate: {text}}}\n"
    assert load(data).train.learning_rate == 3e-3


# -- overrides ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seed=9", "seed", 9),
        ("dialogue.max_turns=2", "dialogue.max_turns", 2),
        ("train.learning_rate=3e-3", "train.learning_rate", 3e-3),
        ("train.baselines=[dpo, sft]", "train.baselines", ["dpo", "sft"]),
        ("threads=null", "threads", None),
        ("threads=", "threads", None),
        ("evaluate.suites=[teacher, shuffled]", "evaluate.suites", ["teacher", "shuffled"]),
        ("tasks.train.0.count=5", "tasks.train.0.count", 5),
        ("tasks.ood=[{source: 'jsonl:a=b', count: 1}]", "tasks.ood.0.source", "jsonl:a=b"),
        ("train.grpo.max_grad_norm=0.5", "train.grpo.max_grad_norm", 0.5),
        ("model.scratch.lessons.heed_share=0.5", "model.scratch.lessons.heed_share", 0.5),
        ("description=a=b", "description", "a=b"),
    ],
)
def test_set_reaches_every_key(load: Any, override: str, key: str, value: Any) -> None:
    node: Any = load(None, (override,)).model_dump()
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    assert node == value


def test_set_changes_one_place_of_a_recipe_with_aliases(load: Any) -> None:
    source = dict(SOURCE)
    aliased = yaml.safe_dump({**BASE, "tasks": {"train": [source], "eval": [source]}})
    assert "*id" in aliased
    recipe = load(aliased, ("tasks.train.0.count=99",))
    assert (recipe.tasks.train[0].count, recipe.tasks.eval[0].count) == (99, 10)


def test_the_last_set_wins(load: Any) -> None:
    assert load(None, ("seed=1", "seed=2")).seed == 2


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed", "not of the form a.b=value"),
        ("=5", "not of the form a.b=value"),
        ("", "not of the form a.b=value"),
        ("seed=[", "not valid YAML"),
        ("seed.deep=1", "'seed' is not a section"),
        ("name.deep.er=1", "'name' is not a section"),
        ("tasks.train.7.count=1", "'tasks.train.7' is not a section"),
        ("tasks.train.first.count=1", "'tasks.train.first' is not a section"),
        ("tasks.train.7=1", "the list has 1 entries"),
        ("dialog.max_turns=2", "unknown key 'dialog'; did you mean 'dialogue'?"),
        ("dialogue.maxturns=2", "unknown key 'dialogue.maxturns'; did you mean 'max_turns'?"),
        ("dialogue.max_turns=two", 'dialogue.max_turns: "two" is refused'),
        ("dialogue..max_turns=2", "unknown key 'dialogue.'"),
    ],
)
def test_a_bad_set_is_refused_in_one_line(load: Any, override: str, says: str) -> None:
    assert says in refusal(load, {**copy.deepcopy(BASE), "seed": 1}, (override,))


# -- fingerprint -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("model.scratch.hidden", 64),
        ("model.scratch.lessons.heed_share", 0.5),
        ("model.lora.r", 4),
        ("tasks.train.0.count", 11),
        ("tasks.train.0.config", {"min_terms": 3}),
        ("tasks.ood", [SOURCE]),
        ("teacher.kind", "try_again"),
        ("teacher.guard.max_retries", 0),
        ("dialogue.discount", 0.8),
        ("generate.temperature", 0.5),
        ("warmup.steps", 1),
        ("train.critique_coef", 0.0),
        ("train.grpo", {"beta": 0.1}),
        ("evaluate.max_turns", 7),
    ],
)
def test_what_changes_a_result_changes_the_fingerprint(load: Any, key: str, value: Any) -> None:
    assert load(changed(key, value)).fingerprint != load().fingerprint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("description", "words"),
        ("hub.endpoint", "hf"),
        ("hub.namespace", "me"),
        ("hub.dataset", "elsewhere"),
        ("hub.private", False),
        ("hub.root", "/var/hub"),
    ],
)
def test_what_a_thing_is_called_and_where_it_lies_does_not(load: Any, key: str, value: Any) -> None:
    assert load(changed(key, value)).fingerprint == load().fingerprint


def test_spelling_out_a_default_or_turning_the_order_round_does_not(load: Any) -> None:
    spelt = load(yaml.safe_dump(load().model_dump(mode="json")))
    assert spelt.fingerprint == load().fingerprint
    backwards = yaml.safe_dump(dict(reversed(BASE.items())), sort_keys=False)
    assert load(backwards).fingerprint == load().fingerprint
    assert load(changed("train.learning_rate", "1e-3")).fingerprint == load().fingerprint


def test_a_recipe_that_extends_another_says_only_what_differs(tmp_path: Path) -> None:
    base = {**BASE, "dialogue": {"max_turns": 3, "turn_tokens": 9}, "train": {"baselines": ["dpo", "sft"]}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: base.yaml\nname: mine\ndialogue: {max_turns: 4}\ntrain: {baselines: [sft]}\n")
    recipe = load_recipe(mine, ["dialogue.turn_tokens=8"])
    assert recipe.name == "mine" and recipe.train.baselines == ["sft"]
    assert (recipe.dialogue.max_turns, recipe.dialogue.turn_tokens) == (4, 8)
    assert recipe.tasks == load_recipe(tmp_path / "base.yaml").tasks


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.yaml", "extends itself"),
        ("../mine.yaml", "is refused"),
        ("quickstrt", "did you mean 'quickstart'"),
        ("[a]", "is refused"),
    ],
)
def test_what_cannot_be_extended_is_one_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: {name}\nname: mine\n")
    with pytest.raises(UsageError, match=said) as caught:
        load_recipe(tmp_path / "mine.yaml")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("extends: ")
