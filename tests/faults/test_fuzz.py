"""Made-up input for every reader of outside data: an answer, a counted row or one line of error, never a traceback.

`RL2F_FUZZ_CASES` sets how many cases each test tries (50 in CI). The long form, with other cases each time, is
`RL2F_FUZZ_CASES=10000 python -m pytest tests/faults/test_fuzz.py`.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe import Recipe, load_recipe
from rl2f_hub.tasks import load_tasks
from rl2f_hub.tasks.spec import SourceSpec

CASES = int(os.environ.get("RL2F_FUZZ_CASES", "50"))
fuzz = settings(
    max_examples=CASES,
    derandomize=CASES <= 50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart" / "recipe.yaml"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["", "0", "-1", "1e999", "{x}"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def one_line(error: RL2FError) -> None:
    said = str(error)
    assert said.strip()
    assert "\n" not in said, said


def refuses_or(read: Callable[[], Any]) -> Any:
    """What `read` gives, or None where it refuses in one line."""
    try:
        return read()
    except RL2FError as error:
        one_line(error)
        return None


# -- recipes -------------------------------------------------------------------------------------------------------


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


# -- rows of tasks -------------------------------------------------------------------------------------------------

COLUMNS = {"prompt": "q", "reference": "a", "solution": "s", "choices": "c"}
VERIFIERS = ("integer", "text", "choice", "math", "grid", "unit_tests")
rows = st.lists(
    st.one_of(
        values,
        st.fixed_dictionaries(
            {"q": values, "a": values}, optional={"s": values, "c": values, "verifier": values, "_config": values}
        ),
    ),
    max_size=6,
)


@fuzz
@given(rows=rows, verifier=st.sampled_from(VERIFIERS), named=st.sets(st.sampled_from(sorted(COLUMNS))))
def test_any_rows_become_tasks_or_are_counted(rows: list[Any], verifier: str, named: set[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    mapping = {name: COLUMNS[name] for name in named | {"prompt"}}

    def load(rule: str, count: int) -> tuple[list[Any], dict[str, Any]]:
        reports: list[dict[str, Any]] = []
        spec = SourceSpec(source=f"jsonl:{file}", count=count, verifier=verifier, on_bad_row=rule, **mapping)
        return load_tasks({"train": [spec]}, 1, reports)["train"], reports[0]

    refuses_or(lambda: load("fail", 1))
    for count in range(1, len(rows) + 1):
        found = refuses_or(lambda count=count: load("skip", count))
        if found is not None:
            tasks, report = found
            assert len(tasks) == count
            assert report["bad_rows"] + len(tasks) <= len(rows)


@fuzz
@given(
    data=st.binary(max_size=300),
    kind=st.sampled_from(["jsonl", "csv", "parquet"]),
    rule=st.sampled_from(["fail", "skip"]),
)
def test_any_bytes_as_a_file_of_tasks(data: bytes, kind: str, rule: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.any"
    file.write_bytes(data)
    spec = SourceSpec(source=f"{kind}:{file}", count=1, on_bad_row=rule)
    refuses_or(lambda: load_tasks({"train": [spec]}, 1))


@fuzz
@given(table=st.lists(st.lists(st.text(max_size=12), max_size=4), max_size=6))
def test_any_table_as_csv(table: list[list[str]], tmp_path: Path) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["prompt", "reference"], *table])
    file = tmp_path / "tasks.csv"
    file.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    for rule in ("fail", "skip"):
        refuses_or(
            lambda rule=rule: load_tasks({"train": [SourceSpec(source=f"csv:{file}", count=1, on_bad_row=rule)]}, 1)
        )


# -- what models say -----------------------------------------------------------------------------------------------

said = st.lists(
    st.sampled_from(
        [
            "<feedback>",
            "</feedback>",
            "<think>",
            "</think>",
            "\\boxed{",
            "}",
            "answer is",
            "####",
            "7",
            "1/0",
            "\x00",
            "\ud800",
        ]
    )
    | st.text(max_size=12),
    max_size=12,
).map("".join)


@fuzz
@given(raw=said, question=st.text(max_size=40), limit=st.integers(1, 50), complete=st.booleans())
def test_any_reply_of_a_teacher(raw: str, question: str, limit: int, complete: bool) -> None:
    from rl2f_hub.teachers.reply import read_reply

    feedback, reason = read_reply(raw, question, limit, complete)
    assert bool(feedback) != bool(reason)
    assert len(feedback) <= limit


@fuzz
@given(body=values)
def test_any_body_of_an_endpoint(body: Any) -> None:
    from rl2f_hub.teachers.completion import Failure, checked, reduced

    with pytest.raises((Failure, ValueError)):
        checked(body)
    with pytest.raises(Failure):
        reduced(body)


@fuzz
@given(attempt=said, verifier=st.sampled_from(["integer", "text", "choice", "grid"]), make=st.integers(0, 3))
def test_any_attempt_gets_a_verdict(attempt: str, verifier: str, make: int, make_task: Callable[..., Any]) -> None:
    from rl2f_hub.verify import verify

    reference = {"integer": "408", "text": "plum", "choice": "B", "grid": "1 2\n3 4"}[verifier]
    config = json.dumps({"options": ["plum", "pear"]} if verifier == "choice" else {})
    verdict = verify(make_task(make, reference, verifier=verifier, config=config), attempt)
    assert 0 <= verdict.score <= 1


# -- templates -----------------------------------------------------------------------------------------------------

parts = st.lists(
    st.sampled_from(
        [
            "{% for m in messages %}",
            "{% endfor %}",
            "{{ m['content'] }}",
            "{{ m.role }}",
            "{% if add_generation_prompt %}",
            "{% endif %}",
            "<|user|>",
            "<|end|>",
            "\n",
            "{{ messages[0]['content'] }}",
            "{{ raise_exception('no') }}",
            "{{ 1/0 }}",
            "{{ undefined.x }}",
            "{% set x = m %}",
            "{{ messages | length }}",
            "{{ ''.__class__.__mro__ }}",
        ]
    )
    | st.text(max_size=6),
    max_size=10,
).map("".join)


@fuzz
@given(template=parts)
def test_any_chat_template(template: str, tokenizer: Any) -> None:
    from rl2f_hub.chat import ChatFormat

    own = copy.deepcopy(tokenizer)
    own.chat_template = template
    made = refuses_or(lambda: ChatFormat(own))
    if made is not None:
        assert made.decode(made.encode("a <b>")) == "a <b>"


@fuzz
@given(template=parts)
def test_any_template_of_a_teacher(template: str, tmp_path: Path) -> None:
    from rl2f_hub.teachers.prompts import PromptSet

    (tmp_path / "any.answer.jinja").write_bytes(template.encode("utf-8", "surrogatepass"))
    refuses_or(lambda: PromptSet(str(tmp_path)))


# -- folders -------------------------------------------------------------------------------------------------------

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


@fuzz
@given(
    config=st.binary(max_size=40) | values.map(lambda v: json.dumps(v).encode()),
    weights=st.none() | st.binary(max_size=40),
)
def test_any_folder_as_an_adapter(config: bytes, weights: bytes | None, tmp_path: Path) -> None:
    from rl2f_hub.students.load import open_pair

    folder = tmp_path / "adapter"
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_bytes(config)
    (folder / "adapter_model.safetensors").unlink(missing_ok=True)
    if weights is not None:
        (folder / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(RL2FError) as caught:
        open_pair(str(folder))
    one_line(caught.value)


@pytest.mark.parametrize("damage", ["cut", "zeros", "no header", "pickle", "other shape"])
def test_a_damaged_adapter_is_refused_in_one_line(damage: str, make_model: Any, tokenizer: Any, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file

    from rl2f_hub.students.load import open_pair

    model = make_model()
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    tuned.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    whole = file.read_bytes()
    if damage == "pickle":
        torch.save({"a": torch.zeros(1)}, tmp_path / "adapter" / "adapter_model.bin")
        file.unlink()
    elif damage == "other shape":
        from safetensors.torch import load_file

        save_file({name: torch.zeros(3, 3) for name in load_file(file)}, file)
    else:
        file.write_bytes({"cut": whole[: len(whole) // 2], "zeros": bytes(len(whole)), "no header": whole[8:]}[damage])
    with pytest.raises(RL2FError) as caught:
        open_pair(str(tmp_path / "adapter"))
    one_line(caught.value)
