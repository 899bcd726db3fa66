"""Records: rows there and back, and what a fingerprint depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.records import Dialogue, Feedback, Privilege, StopReason, Task, Turn, Verdict, fingerprint

TEXT = st.text(max_size=20)
TASKS = st.builds(
    Task,
    task_id=TEXT,
    source=TEXT,
    domain=TEXT,
    prompt=TEXT,
    privilege=st.builds(Privilege, kind=st.just("answer"), reference=TEXT, solution=TEXT),
    verifier=st.sampled_from(["integer", "text"]),
    config=st.just("{}"),
    seed=st.integers(0, 2**31),
    split=st.sampled_from(["train", "eval", "ood"]),
)
VERDICTS = st.builds(
    Verdict, correct=st.booleans(), score=st.floats(0, 1), answer=st.none() | TEXT, reason=TEXT, observation=st.just("")
)
FEEDBACK = st.builds(Feedback, text=TEXT, kind=TEXT, leaked=st.sampled_from([(), ("recorded",)]))
DIALOGUES = st.builds(
    Dialogue,
    dialogue_id=TEXT,
    task_id=TEXT,
    prompt=TEXT,
    turns=st.lists(st.builds(Turn, attempt=TEXT, verdict=VERDICTS, feedback=st.none() | FEEDBACK), max_size=4).map(
        tuple
    ),
    stop_reason=st.sampled_from(StopReason),
    student=TEXT,
    teacher=TEXT,
    privilege=st.just("answer"),
    sampling=st.dictionaries(TEXT, st.integers() | TEXT, max_size=3),
)


@given(TASKS)
def test_a_task_survives_its_row_as_json(task: Task) -> None:
    assert Task.from_row(json.loads(json.dumps(task.to_row()))) == task


@given(DIALOGUES)
def test_a_dialogue_survives_its_row_as_json(dialogue: Dialogue) -> None:
    assert Dialogue.from_row(json.loads(json.dumps(dialogue.to_row()))) == dialogue


@given(st.lists(DIALOGUES, min_size=1, max_size=4))
def test_dialogues_survive_arrow(dialogues: list[Dialogue]) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [d.to_row() for d in dialogues]
    assert [Dialogue.from_row(r) for r in datasets.Dataset.from_list(rows)] == dialogues


def test_a_row_has_no_observation() -> None:
    """What running the attempt showed is privileged: it stays out of what is published."""
    verdict = Verdict(False, 0.0, "1", "another number", observation="expected 42")
    dialogue = Dialogue("d", "t", "p", (Turn("1", verdict),), StopReason.TURN_LIMIT, "s", "t", "answer")
    assert "expected 42" not in json.dumps(dialogue.to_row())


def test_messages_alternate_and_solved_at_is_the_first_right_turn() -> None:
    right, wrong = Verdict(True, 1.0, "2", ""), Verdict(False, 0.0, "1", "")
    turns = (Turn("one", wrong, Feedback("no", "digits")), Turn("two", right), Turn("three", right))
    dialogue = Dialogue("d", "t", "ask", turns[:2], StopReason.SOLVED, "s", "t", "answer")
    assert [m["role"] for m in dialogue.messages()] == ["user", "assistant", "user", "assistant"]
    assert [m["content"] for m in dialogue.messages()] == ["ask", "one", "no", "two"]
    assert dataclasses.replace(dialogue, turns=turns).solved_at == 2
    assert dataclasses.replace(dialogue, turns=turns[:1]).solved_at == 0


def test_records_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Privilege("answer", "42").reference = "43"  # type: ignore[misc]


@given(st.lists(TASKS, min_size=1, max_size=3))
def test_fingerprint_sees_content_and_order_and_nothing_else(tasks: list[Task]) -> None:
    copies = [Task.from_row(dict(reversed(t.to_row().items()))) for t in tasks]
    assert fingerprint(copies) == fingerprint(iter(tasks))
    changed = [dataclasses.replace(tasks[0], prompt=tasks[0].prompt + "x"), *tasks[1:]]
    assert fingerprint(changed) != fingerprint(tasks)
    if len(tasks) > 1 and tasks[0] != tasks[-1]:
        assert fingerprint([*tasks[1:], tasks[0]]) != fingerprint(tasks) or tasks[1:] + tasks[:1] == tasks


def test_fingerprint_keeps_rows_apart() -> None:
    assert fingerprint(["a", "b"]) != fingerprint(["ab"]) != fingerprint(["a\nb"])
    assert fingerprint(["a", "b"]) != fingerprint(["a\nb"])


def test_fingerprint_is_sha256_of_canonical_json_lines() -> None:
    expected = hashlib.sha256('{"a": "ü", "b": 1}\n'.encode()).hexdigest()
    assert fingerprint([{"b": 1, "a": "ü"}]) == expected


@pytest.mark.parametrize("config", ["", "[]", "1", "no json", "[" * 100_000, '{"a": 1'])
def test_settings_that_are_no_json_object_name_the_task(config: str) -> None:
    with pytest.raises(ValueError, match=r"^task t-1: config .* is no JSON object$"):
        _ = Task("t-1", "s", "d", "p", Privilege("answer", "1"), "integer", config=config).settings
