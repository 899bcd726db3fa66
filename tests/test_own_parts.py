"""Parts of a user's own, by import path and as plain functions: the examples of the documentation run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import UsageError
from rl2f_hub.kinds import CREDITS, ENVIRONMENTS, SOURCES, TEACHERS, VERIFIERS, find_part
from rl2f_hub.recipe import SourceSpec, TeacherSpec
from rl2f_hub.records import StopReason, Task, Verdict
from rl2f_hub.runtime import permits
from rl2f_hub.tasks import load_tasks
from rl2f_hub.tasks.validate import validate
from rl2f_hub.teachers import FeedbackRequest, Reply, Teacher, as_teacher, build_teacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.verify import as_verifier, verify

Make = Callable[..., Any]
EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
TEACHER = f"python:{EXAMPLES / 'my_teacher.py'}:HighLow"
VERIFIER = f"python:{EXAMPLES / 'my_verifier.py'}:same_words"
WORLD = f"python:{EXAMPLES / 'my_environment.py'}:Guess"


@pytest.fixture
def permitted() -> Iterator[None]:
    with permits.allowing(local_code=True):
        yield


def play(tasks: list[Task], student: Any, teacher: Any, **more: Any) -> list[Any]:
    return run_dialogues(tasks, student, teacher, max_turns=4, sampling=Sampling(1.0, 1.0, 8), seed=0, **more)


def said(rollout: Any) -> list[str | None]:
    return [turn.feedback and turn.feedback.text for turn in rollout.turns]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_an_example_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 60


@pytest.mark.usefixtures("permitted")
def test_the_teacher_of_the_example(make_task: Make, saying: Make) -> None:
    (rollout,) = play([make_task(1)], saying(["hm", "500", "408"]), build_teacher(TEACHER))
    assert said(rollout) == ["Give one whole number.", "Too high.", None]
    function = build_teacher(TeacherSpec(kind=TEACHER.replace("HighLow", "only_wrong"), doubt_rate=1.0))
    (rollout,) = play([make_task(1)], saying(["5", "408", "408", "408"]), function)
    assert said(rollout)[0] == "5 is wrong."
    assert all(said(rollout)[1:3]), "doubts are there for teachers of one's own too"


@pytest.mark.usefixtures("permitted")
def test_the_verifier_of_the_example(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"prompt": "Name two colours.", "reference": "red blue"}))
    source = SourceSpec(source=f"jsonl:{tmp_path / 't.jsonl'}", count=1, verifier=VERIFIER)
    (task,) = load_tasks({"train": [source]}, 0)["train"]
    task = Task.from_row(json.loads(json.dumps(task.to_row())))  # as it comes back from a data set
    assert verify(task, "blue red").correct
    assert verify(task, "blue").score == 0.5
    (task,) = load_tasks(
        {"train": [source.model_copy(update={"verifier": VERIFIER.replace("same_words", "mentions")})]}, 0
    )["train"]
    assert verify(task, "it is red blue").correct


@pytest.mark.usefixtures("permitted")
def test_the_environment_of_the_example(saying: Make) -> None:
    (task, *_) = load_tasks({"train": [SourceSpec(source=WORLD, count=5, config={"highest": 5, "guesses": 3})]}, 0)[
        "train"
    ]
    number = int(task.privilege.reference)
    high = str(number + 1)
    (won,) = play([task], saying(["hm", high, str(number)]), build_teacher("scripted"))
    assert said(won) == ["Say a number.", "Less.", None]
    assert won.stop_reason is StopReason.SOLVED
    assert won.dialogue("s", "t", Sampling()).teacher == "environment"
    (lost,) = play([task], saying([high]), build_teacher("scripted"))
    assert lost.stop_reason is StopReason.GAME_OVER
    report = validate(SourceSpec(source=WORLD, count=5))
    assert (report.note, report.errors, report.false_rejects, report.false_accepts) == ("", 0, 0, 0)


@pytest.mark.parametrize(
    "use",
    [
        lambda: build_teacher(TEACHER),
        lambda: load_tasks({"train": [SourceSpec(source=WORLD, count=1)]}, 0),
        lambda: find_part(CREDITS, f"python:{EXAMPLES / 'my_teacher.py'}:only_wrong", "credit"),
    ],
    ids=["teacher", "environment", "credit"],
)
def test_code_of_ones_own_needs_the_permission_by_name(use: Callable[[], Any]) -> None:
    with pytest.raises(UsageError, match="code of your own; allow it with --allow-local-code") as refused:
        use()
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("python:nowhere.py:X", "teacher.kind: no file 'nowhere.py'"),
        (TEACHER.replace("HighLow", "Nobody"), "Nobody cannot be loaded: AttributeError"),
        ("scriptd", "teacher.kind: 'scriptd' is unknown; did you mean 'scripted'?"),
    ],
)
def test_a_part_that_is_not_there(path: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        build_teacher(path)
    assert reason in str(refused.value)


def test_functions_are_teachers_and_verifiers(make_task: Make, saying: Make) -> None:
    def teacher(request: FeedbackRequest) -> str | None:
        return None if request.seed < 0 else f"{len(request.attempts)}: no"

    for verifier, right in (
        (lambda task, attempt: attempt == "7", "7"),
        (lambda task, attempt: Verdict(attempt == "8", 0, "", ""), "8"),
    ):
        (rollout,) = play([make_task(1)], saying(["5", "6", right]), teacher, verifier=verifier)
        assert said(rollout) == ["1: no", "2: no", None]
        assert rollout.stop_reason is StopReason.SOLVED


def test_what_a_function_says_passes_the_guard(make_task: Make, saying: Make) -> None:
    guard = Guard()
    (rollout,) = play(
        [make_task(1)], saying(["5"]), lambda request: f"It is {request.privilege.reference}.", guard=guard
    )
    assert not any("408" in text for text in said(rollout) if text)
    assert guard.counts["leaked"]


@pytest.mark.parametrize(("make", "what"), [(as_teacher, "teacher: int"), (as_verifier, "verifier: int")])
def test_what_is_no_part_is_refused_in_one_line(make: Callable[[Any], Any], what: str) -> None:
    with pytest.raises(UsageError, match=what) as refused:
        make(3)
    assert "\n" not in str(refused.value)


def test_an_object_of_earlier_versions_still_teaches_with_a_warning(make_task: Make, saying: Make) -> None:
    class Old:
        name = "old"

        def feedback(self, requests: Any) -> list[Reply]:
            return [Reply("No.", "told") for _ in requests]

    with pytest.warns(DeprecationWarning, match=r"Old should subclass rl2f_hub\.teachers\.Teacher"):
        (rollout,) = play([make_task(1)], saying(["5", "408"]), Old(), guard=Guard())
    assert said(rollout) == ["No.", None]
    with pytest.warns(DeprecationWarning, match="FeedbackRequest"):
        from rl2f_hub.teachers import Situation
    assert Situation is FeedbackRequest


@pytest.mark.parametrize(
    "table",
    [TEACHERS, VERIFIERS, ENVIRONMENTS, SOURCES, CREDITS],
    ids=["teachers", "verifiers", "worlds", "sources", "credits"],
)
def test_every_kind_is_where_its_table_says(table: dict[str, Any]) -> None:
    for name, where in table.items():
        path = where if isinstance(where, str) else where.where
        found = find_part({name: path}, name, "kind")
        if table is TEACHERS:
            assert issubclass(found, Teacher)
            assert found.independent_attempts == where.independent_attempts
