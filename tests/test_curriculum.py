"""The curriculum moves with the student, is deterministic, and can be saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.records import Privilege, Task
from rl2f_hub.teachers.curriculum import CurriculumTeacher, weaker
from rl2f_hub.training.curriculum import Curriculum

Make = Callable[..., Any]


def tasks(source: str = "a", levels: int = 3, each: int = 4) -> list[Task]:
    return [
        Task(
            f"{source}-{level}-{n}",
            source,
            "d",
            f"Q{level}{n}?",
            Privilege("answer", "1"),
            "integer",
            json.dumps({"level": level}),
        )
        for level in range(levels)
        for n in range(each)
    ]


def level(curriculum: Curriculum, source: str = "a") -> int:
    return curriculum.tracks[source].level


def test_success_raises_the_level_and_failure_lowers_it() -> None:
    c = Curriculum(tasks(), memory=8)
    c.update([("a", True)] * 7)
    assert level(c) == 0
    c.update([("a", True)])
    assert level(c) == 1
    c.update([("a", i % 2 == 0) for i in range(40)])
    assert level(c) == 1
    c.update([("a", False)] * 40)
    assert level(c) == 0
    for _ in range(9):
        c.update([("a", True)] * 8)
    assert level(c) == 2 == c.highest("a")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=200), st.integers(1, 30))
def test_a_resumed_curriculum_goes_on_as_if_uninterrupted(results: list[tuple[str, bool]], cut: int) -> None:
    every = tasks("a") + tasks("b", levels=1)
    whole, first = Curriculum(every, memory=5), Curriculum(every, memory=5)
    chunks = [results[i : i + 4] for i in range(0, len(results), 4)]
    for chunk in chunks:
        whole.update(chunk)
    for chunk in chunks[:cut]:
        first.update(chunk)
    second = Curriculum(every, memory=5)
    second.load(json.loads(json.dumps(first.state())))
    for chunk in chunks[cut:]:
        second.update(chunk)
    assert second.state() == whole.state()
    assert all(0 <= level(whole, s) <= whole.highest(s) for s in "ab")


def test_tasks_are_swapped_within_their_source_at_its_level() -> None:
    every = tasks("a") + tasks("b")
    c = Curriculum(every, memory=4)
    c.update([("a", True)] * 4)
    swapped = [c.swap(t, step=3) for t in every]
    assert swapped == [c.swap(t, step=3) for t in every]
    assert {(t.source, json.loads(t.config)["level"]) for t in swapped} == {("a", 1), ("b", 0)}
    at_level = [t for t in every if t.source == "a" and json.loads(t.config)["level"] == 1]
    assert [c.swap(t, step=3) for t in at_level] == at_level
    assert {c.swap(every[0], step=n).task_id for n in range(60)} == {t.task_id for t in at_level}


def test_hints_weaken_with_the_level(situation: Make) -> None:
    c = Curriculum(tasks(levels=1), memory=4)
    teacher = CurriculumTeacher(c.level)
    asked = [situation("152", "193", source="a")]
    said = []
    for _ in range(3):
        said.append(teacher.feedback(asked)[0].text)  # type: ignore[union-attr]
        c.update([("a", True)] * 4)
    assert said == [
        "Wrong: hundreds 1 right, tens 5 too low, units 2 too low.",
        "Wrong: tens 5 too low.",
        "Wrong: too low.",
    ]
    assert Curriculum(tasks(levels=1), hints=False).highest("a") == 0


def test_a_model_teacher_is_shown_less_at_higher_levels(situation: Make) -> None:
    class Shown:
        name = "model"

        def __init__(self) -> None:
            self.kinds: list[str] = []

        def feedback(self, situations: Any) -> list[Any]:
            self.kinds += [s.privilege.kind for s in situations]
            return [None for _ in situations]

    inner = Shown()
    c = Curriculum(tasks(levels=1), memory=4)
    teacher = CurriculumTeacher(c.level, inner)
    asked = [situation("152", "193", source="a", privilege=Privilege("solution", "193", "190 + 3"))]
    for _ in range(4):
        teacher.feedback(asked)
        c.update([("a", True)] * 4)
    assert inner.kinds == ["solution", "answer", "verdict", "verdict"]
    assert weaker(Privilege("tests", "", "code", "{}"), 1).kind == "solution"
