"""Task sources: what they give, how they refuse, and that splits stay apart."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import SourceSpec
from rl2f_hub.records import Task
from rl2f_hub.tasks import load_tasks, near_key
from rl2f_hub.tasks.reasoning_gym import entry_of

PRODUCTS = "reasoning_gym:products"
SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2}


def load(split: str = "train", **source: Any) -> list[Task]:
    return load_tasks({split: [SourceSpec(**source)]}, 7)[split]


def write(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n", encoding="utf-8")
    return f"jsonl:{path}"


# -- reasoning-gym -------------------------------------------------------------------------------------------------


def test_reasoning_gym_tasks_are_the_data_sets_items() -> None:
    for task in load(source=PRODUCTS, count=20, config=SMALL, verifier="integer"):
        entry = entry_of(task)
        assert task.prompt == entry["question"].strip()
        assert task.privilege.reference == str(entry["answer"])
        assert task.source == PRODUCTS
        assert task.domain == "arithmetic"
        assert task.verifier == "integer"
        assert task.split == "train"


def test_answer_range_keeps_only_answers_within() -> None:
    tasks = load(source=PRODUCTS, count=30, config=SMALL, answer_range=[10, 99])
    assert len(tasks) == 30
    assert all(10 <= int(t.privilege.reference) <= 99 for t in tasks)


def test_an_unknown_source_is_named_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"tasks\.train\[0\]\.source: 'csv:x' is unknown; known: "):
        load(source="csv:x", count=1)
    with pytest.raises(UsageError, match="is unknown"):
        load(source="reasoning_gym:", count=1)


def test_an_unknown_data_set_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match=r"'reasoning_gym:product' is unknown; did you mean 'products'\?"):
        load(source="reasoning_gym:product", count=1)


@pytest.mark.parametrize("config", [{"min_trems": 2}, {"min_terms": 0}, {"min_terms": 9, "max_terms": 2}])
def test_a_refused_config_is_a_usage_error(config: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"products: config .* was refused"):
        load(source=PRODUCTS, count=1, config=config)


def test_a_range_without_answers_is_refused() -> None:
    with pytest.raises(UsageError, match="widen `answer_range`"):
        load(source=PRODUCTS, count=1, config=SMALL, answer_range=[-5, -1])


def test_too_many_tasks_asked_for_is_refused_with_the_number_there_is() -> None:
    with pytest.raises(UsageError, match=r"tasks\.train\[0\]\.count: .* has only \d+ tasks .* 500 were asked for"):
        load(source=PRODUCTS, count=500, config={**SMALL, "max_digits": 1})


# -- JSON Lines ----------------------------------------------------------------------------------------------------


def test_jsonl_rows_become_tasks(tmp_path: Path) -> None:
    row = {"prompt": " Ask 1? ", "reference": 42, "task_id": "mine", "domain": "maths", "solution": "6 * 7"}
    source = write(tmp_path / "own.jsonl", row, "", {"prompt": "Ask 2?", "reference": "plum"})
    tasks = {t.task_id: t for t in load(source=source, count=2, verifier="text")}
    assert set(tasks) == {"mine", "own-3"}
    assert tasks["mine"].prompt == "Ask 1?"
    assert tasks["mine"].privilege.reference == "42"
    assert tasks["mine"].privilege.solution == "6 * 7"
    assert tasks["mine"].domain == "maths"
    assert tasks["own-3"].verifier == "text"


BAD_ROWS = {
    "not json": "{prompt: 1",
    "not an object": "[1, 2]",
    "no prompt": {"reference": "1"},
    "no reference": {"prompt": "a"},
    "null reference": {"prompt": "a", "reference": None},
    "boolean reference": {"prompt": "a", "reference": True},
    "unknown verifier": {"prompt": "a", "reference": "1", "verifier": "magic"},
    "foreign verifier": {"prompt": "a", "reference": "1", "verifier": "reasoning_gym"},
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_named_by_its_line_or_skipped(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = {"prompt": "Ask?", "reference": "1"}
    source = write(tmp_path / "rows.jsonl", good, "", BAD_ROWS[name], {**good, "prompt": "Ask more?"})
    with pytest.raises(UsageError, match=r"rows\.jsonl, line 3: .*on_bad_row: skip"):
        load(source=source, count=2)
    with caplog.at_level(logging.WARNING):
        tasks = load(source=source, count=2, on_bad_row="skip")
    assert sorted(t.task_id for t in tasks) == ["rows-1", "rows-4"]
    assert "1 bad rows skipped" in caplog.text


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        load(source=f"jsonl:{tmp_path}/none.jsonl", count=1)


# -- mixing --------------------------------------------------------------------------------------------------------


def test_several_sources_are_mixed_and_shuffled() -> None:
    sources = [
        SourceSpec(source=PRODUCTS, count=30, config=SMALL),
        SourceSpec(source="reasoning_gym:chain_sum", count=30),
    ]
    names = [t.source for t in load_tasks({"train": sources}, 1)["train"]]
    assert names.count(PRODUCTS) == 30
    assert len(names) == 60
    assert len(list(itertools.groupby(names))) > 10


def test_a_file_given_to_two_splits_is_divided(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", *({"prompt": f"Ask {n}?", "reference": n} for n in range(10)))
    spec = {"train": [SourceSpec(source=source, count=6)], "eval": [SourceSpec(source=source, count=4)]}
    splits = load_tasks(spec, 0)
    assert len({t.prompt for split in splits.values() for t in split}) == 10
    assert {t.split for t in splits["eval"]} == {"eval"}


@given(st.lists(st.integers(0, 999), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_near_key_sees_no_order_of_numbers_case_or_spacing(numbers: list[int], rnd: Any) -> None:
    shuffled = list(numbers)
    rnd.shuffle(shuffled)
    assert near_key(f"What is {' * '.join(map(str, numbers))}?") == near_key(
        f"what  is\n{' * '.join(map(str, shuffled))}? "
    )
    assert near_key(f"What is {numbers[0]} + 1?") != near_key(f"What is {numbers[0]} * 1?")
    assert near_key(f"Is {numbers[0]} odd?") != near_key(f"Is {numbers[0] + 1} odd?")
