"""Rows -> tasks by column names: what a mapping can say, and what a row cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Task
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.columns import rows_to_tasks
from rl2f_hub.verify import verify

Q = {"prompt": "q", "reference": "a"}


def make(
    *rows: Any, convert: Callable[..., Any] | None = None, leave_out: bool = False, **spec: Any
) -> tuple[list[Task], dict[str, Any]]:
    request = Request(SourceSpec(source="hub:own/x", count=1, **{**Q, **spec}), "own/x", "tasks.train[0]", 0, "train")
    tasks = rows_to_tasks(enumerate(rows), request, prefix="x", convert=convert, leave_out_unreadable=leave_out)
    return list(tasks), request.report


def one(row: dict[str, Any], **spec: Any) -> Task:
    return make(row, **spec)[0][0]


@pytest.mark.parametrize(
    ("value", "text"),
    [("a b", "a b"), (3, "3"), (3.0, "3"), (2.5, "2.5"), ([1, 2], "[1, 2]"), ({"k": "é"}, '{"k": "é"}')],
)
def test_a_column_becomes_text(value: Any, text: str) -> None:
    assert one({"q": "Ask?", "a": value}).privilege.reference == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, r"column 'a' is empty \(null\)"),
        (float("nan"), r"column 'a' is empty \(null\)"),
        (True, r"'True' \(bool\)"),
        (b"raw", r"\(bytes\)"),
        ("\ud800", "half a character"),
        ("", "the reference is empty"),
    ],
)
def test_a_value_that_is_no_text_is_a_bad_row(value: Any, why: str) -> None:
    with pytest.raises(UsageError, match=rf"^tasks\.train\[0\]: hub:own/x, row 1: {'.*' + why}.*on_bad_row: skip`$"):
        make({"q": "Ask?", "a": "1"}, {"q": "More?", "a": value})
    tasks, report = make({"q": "Ask?", "a": "1"}, {"q": "More?", "a": value}, on_bad_row="skip")
    assert (len(tasks), report["bad_rows"]) == (1, 1)


def test_what_a_row_is_called_cannot_break_the_line_or_the_terminal() -> None:
    with pytest.raises(UsageError, match="row 0: no column 'q'") as caught:
        make({"new\nline": 1, "\x1b[31mred\x07": 2, "half \ud800": 3})
    assert str(caught.value).isprintable()
    assert "line" in str(caught.value)


def test_a_template_names_several_columns_and_reads_no_braces_in_them() -> None:
    row = {"q": "How {a} far?", "in": {"unit": "km"}, "a": "3"}
    assert one(row, prompt="{q} In {in.unit}, {not this!}.").prompt == "How {a} far? In km, {not this!}."
    with pytest.raises(UsageError, match="no column 'hint'"):
        make(row, prompt="{q} {hint}")


def test_nested_columns_serve_every_field() -> None:
    row = {"q": {"text": "Ask?"}, "a": {"value": 4, "why": "2 + 2", "id": "n7", "of": "sums"}, "a.b": "flat"}
    task = one(row, prompt="q.text", reference="a.value", solution="a.why", id="a.id", domain="a.of")
    assert (task.prompt, task.privilege.reference, task.privilege.solution) == ("Ask?", "4", "2 + 2")
    assert (task.task_id, task.domain, task.privilege.kind) == ("n7", "sums", "solution")
    assert (
        one(row, prompt="q.text", reference="a.b").privilege.reference == "flat"
    )  # a column may have a dot in its name
    with pytest.raises(UsageError, match=r"no column 'a\.valeu'; did you mean 'a\.value'\?"):
        make(row, prompt="q.text", reference="a.valeu")


@pytest.mark.parametrize(
    ("choices", "answer", "letter"),
    [
        (["red", "green", "blue"], "B", "B"),
        (["red", "green", "blue"], "b ", "B"),
        (["red", "green", "blue"], 1, "B"),
        (["red", "green", "blue"], "1", "B"),
        (["red", "green", "blue"], "green", "B"),
        ([1, 2, 3], "2", "B"),
        ({"text": ["red", "green", "blue"], "label": ["1", "2", "3"]}, "2", "B"),
        ({"text": ["red", "green", "blue"], "label": [1, 2, 3]}, 2, "B"),
        ({"text": ["red", "green", "blue"], "label": ["A", "B", "C"]}, "B", "B"),
        ({"text": ["A", "B", "C"], "label": ["B", "A", "C"]}, "A", "B"),
    ],
)
def test_every_kind_of_label_names_a_choice(choices: Any, answer: Any, letter: str) -> None:
    task = one({"q": "Which?", "c": choices, "a": answer}, choices="c", verifier="choice")
    assert task.privilege.reference == letter
    assert task.prompt.startswith("Which?\n(A) ")
    assert task.prompt.count("\n(") == 3
    assert verify(task, f"The answer is ({letter}).").correct
    assert not verify(task, "The answer is (C).").correct


@pytest.mark.parametrize(
    ("choices", "answer", "why"),
    [
        (["red", "green"], "C", "names none of the 2 choices"),
        (["red", "green"], 2, "names none of the 2 choices"),
        (["red", "green"], -1, "names none"),
        (["red", "green"], True, r"'True' \(bool\)"),
        (["red", "green"], None, "column 'a' is empty"),
        (["red", "green"], "²", "names none"),
        (["red", None], "A", "column 'c' is empty"),
        (["red"], "A", "a list of 2 to 26 choices is needed"),
        ("red", "A", "a list of 2 to 26 choices is needed"),
        ([str(n) for n in range(27)], "A", "a list of 2 to 26 choices is needed"),
    ],
)
def test_a_choice_that_is_none_is_a_bad_row(choices: Any, answer: Any, why: str) -> None:
    with pytest.raises(UsageError, match=f"row 0: .*{why}"):
        make({"q": "Which?", "c": choices, "a": answer}, choices="c", verifier="choice")


def test_a_worked_solution_is_split_from_its_answer() -> None:
    task = one({"q": "Ask?", "a": "2 + 2 = 4\n#### 4"}, verifier="math")
    assert (task.privilege.reference, task.privilege.solution, task.privilege.kind) == (
        "4",
        "2 + 2 = 4\n#### 4",
        "solution",
    )
    assert one({"q": "Ask?", "a": "4 #### 5"}, verifier="text").privilege.reference == "4 #### 5"
    named = one({"q": "Ask?", "a": "work #### 5", "s": "short"}, verifier="integer", solution="s")
    assert (named.privilege.reference, named.privilege.solution) == ("5", "short")


def test_a_row_cannot_choose_verifier_settings_or_domain() -> None:
    row = {"q": "Ask?", "a": "1", "_verifier": "python", "_config": {"plugin": {"file": "x"}}, "_domain": "code"}
    task = one(row)
    assert (task.verifier, task.config, task.domain) == ("text", "{}", "text")


@pytest.mark.parametrize("verifier", ["reasoning_gym", "environment", "python"])
def test_verifiers_that_need_their_own_source_are_refused(verifier: str) -> None:
    with pytest.raises(UsageError, match=f"verifier '{verifier}'"):
        make({"q": "Ask?", "a": "1"}, verifier=verifier)


def test_rows_can_be_left_out_and_are_counted_apart_from_bad_ones() -> None:
    def convert(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["a"] == "broken":
            raise ValueError("broken")
        return None if row["a"] == "no task" else {**row, "_domain": "own", "_config": {"k": 1}}

    rows = [{"q": f"Ask {n}?", "a": a} for n, a in enumerate(("1", "no task", "broken", "plum"))]
    tasks, report = make(*rows, convert=convert, leave_out=True, verifier="integer", on_bad_row="skip")
    assert [t.task_id for t in tasks] == ["x-0"]
    assert (tasks[0].domain, tasks[0].config) == ("own", '{"k": 1}')
    assert report == {"bad_rows": 1, "filtered": 2}
    with pytest.raises(UsageError, match="row 3: reference 'two' is not a whole number"):
        make(rows[0], rows[1], rows[1], rows[3], convert=convert, verifier="integer")


def test_where_takes_a_value_a_list_or_a_nested_column() -> None:
    rows = [{"q": f"Ask {n}?", "a": n, "m": {"level": n % 3}} for n in range(6)]
    assert [t.privilege.reference for t in make(*rows, where={"m.level": 1})[0]] == ["1", "4"]
    assert make(*rows, where={"m.level": 1})[1] == {"bad_rows": 0, "elsewhere": 4}
    assert [t.privilege.reference for t in make(*rows, where={"m.level": [0, 1], "a": [1, 2, 3]})[0]] == ["1", "3"]
    with pytest.raises(UsageError, match="row 0: no column 'level'"):
        make(*rows, where={"level": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["q", "a", "text", "label"]), inner),
    max_leaves=6,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["q", "a", "c", "_config", "_verifier"]), json_values) | json_values, max_size=4
    )
)
def test_no_row_can_break_the_load(rows: list[Any]) -> None:
    """Each row becomes a task that can be written and judged, or is counted."""
    for spec in ({}, {"verifier": "integer"}, {"choices": "c", "verifier": "choice"}, {"prompt": "{q} {a}"}):
        tasks, report = make(*rows, on_bad_row="skip", **spec)
        assert len(tasks) + report["bad_rows"] == len(rows)
        for task in tasks:
            assert Task.from_row(json.loads(json.dumps(task.to_row()))) == task
            task.prompt.encode()
            verify(task, task.privilege.reference or "x")
