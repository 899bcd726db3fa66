"""Every attempt has a verdict, every dialogue an end with a name, and one failure costs one dialogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.dialogue.runner import Rollout, run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.records import Dialogue, StopReason, Task, Verdict
from rl2f_hub.teachers import Reply
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.verify import VERIFIERS, Verifier, named

Make = Callable[..., Any]


def play(tasks: list[Task], student: Any, teacher: Any = None, **options: Any) -> list[Rollout]:
    settings: dict[str, Any] = {"max_turns": 3, "sampling": Sampling(1.0, 1.0, 8), "seed": 0, **options}
    guard = settings.pop("guard", None) or Guard()
    return run_dialogues(tasks, student, teacher or ScriptedTeacher(), guard=guard, **settings)


def assert_typed(rollout: Rollout, max_turns: int) -> None:
    assert isinstance(rollout.stop_reason, StopReason)
    assert len(rollout.turns) <= max_turns
    assert rollout.turns or rollout.stop_reason is StopReason.CONTEXT_FULL
    for turn in rollout.turns:
        assert isinstance(turn.verdict, Verdict)
        assert turn.verdict.reason
    for turn in rollout.turns[:-1]:
        assert not turn.verdict.correct
        assert turn.feedback is not None
    solved = bool(rollout.turns) and rollout.turns[-1].verdict.correct
    assert solved == (rollout.stop_reason is StopReason.SOLVED)
    if rollout.stop_reason is StopReason.TURN_LIMIT:
        assert len(rollout.turns) == max_turns
    dialogue = rollout.dialogue("s", "t", Sampling())
    assert Dialogue.from_row(dialogue.to_row()).stop_reason is rollout.stop_reason
    assert dialogue.solved_at == (len(rollout.turns) if solved else 0)


class Fails:
    """The scripted teacher, which has nothing to say about some questions."""

    name = "fails"

    def __init__(self, questions: set[str]) -> None:
        self.questions = questions

    def feedback(self, situations: Any) -> list[Reply | None]:
        replies = ScriptedTeacher().feedback(situations)
        return [None if s.question in self.questions else r for s, r in zip(situations, replies, strict=True)]


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> str:
    """The integer verifier, which breaks on one question."""

    def verify(task: Task, attempt: str) -> Verdict:
        if task.prompt == "What is 12 * 34?":
            raise RuntimeError("sandbox died")
        return named("integer").judge(task, attempt)

    monkeypatch.setitem(VERIFIERS, "fragile", Verifier(verify))
    return "fragile"


ENDS = st.lists(
    st.tuples(st.sampled_from(["right", "wrong", "broken", "unanswered"]), st.integers(1, 4)), min_size=1, max_size=6
)


@given(plan=ENDS, room=st.integers(20, 200), max_turns=st.integers(1, 4))
def test_whatever_happens_every_dialogue_ends_with_a_name(
    plan: list[tuple[str, int]], room: int, max_turns: int, make_task: Make, saying: Make
) -> None:
    """Right, broken or unanswered at any turn, in any context window and any company."""
    tasks = [
        make_task(i, "408" if kind != "broken" else "no number", prompt=f"Ask {i}?") for i, (kind, _) in enumerate(plan)
    ]
    student = saying(lambda row, turn: "408" if plan[row][0] == "right" and turn >= plan[row][1] else "407", room)
    teacher = Fails({f"Ask {i}?" for i, (kind, _) in enumerate(plan) if kind == "unanswered"})
    rollouts = play(tasks, student, teacher, max_turns=max_turns)
    for (kind, when), rollout in zip(plan, rollouts, strict=True):
        assert_typed(rollout, max_turns)
        ends = {StopReason.CONTEXT_FULL} if len(rollout.turns) < max_turns else set()
        ends |= {
            "right": {StopReason.SOLVED} if when <= max_turns else {StopReason.TURN_LIMIT},
            "wrong": {StopReason.TURN_LIMIT},
            "broken": {StopReason.VERIFIER_ERROR},
            "unanswered": {StopReason.TEACHER_ERROR},
        }[kind]
        assert rollout.stop_reason in ends


def test_one_broken_verifier_and_one_silent_teacher_change_no_other_dialogue(
    products: list[Task], make_student: Make, fragile: str
) -> None:
    sound = play(products, make_student())
    tasks = [Task(**{f: getattr(t, f) for f in t.__slots__} | {"verifier": fragile}) for t in products]
    guard = Guard()
    hurt = play(tasks, make_student(), Fails({"What is 88 * 34?"}), guard=guard)
    ends = {r.task.prompt: r for r in hurt}
    broken, silent = ends["What is 12 * 34?"], ends["What is 88 * 34?"]
    assert broken.stop_reason is StopReason.VERIFIER_ERROR
    assert "RuntimeError: sandbox died" in broken.turns[-1].verdict.reason
    assert silent.stop_reason is StopReason.TEACHER_ERROR
    assert guard.counts["teacher_error"] == 1
    for before, after in zip(sound, hurt, strict=True):
        assert_typed(after, 3)
        if after not in (broken, silent):
            assert [t.attempt for t in before.turns] == [t.attempt for t in after.turns]
            assert before.ledger.ids == after.ledger.ids
        else:
            assert before.turns[0].attempt == after.turns[0].attempt
            assert len(silent.turns) == 1
            assert {t.verdict.reason for t in broken.turns[:-1]} <= {"empty attempt"}  # no verifier sees those


def test_a_teacher_that_raises_ends_its_dialogues_and_no_more(products: list[Task], make_student: Make) -> None:
    class Raises:
        name = "raises"

        def feedback(self, situations: Any) -> list[Reply | None]:
            raise ConnectionError("no teacher")

    for rollout in play(products, make_student(), Raises()):
        assert_typed(rollout, 3)
        assert rollout.stop_reason in (StopReason.TEACHER_ERROR, StopReason.SOLVED)


def test_a_full_context_is_an_end_and_not_an_error(products: list[Task], make_model: Make, make_student: Make) -> None:
    rollouts = play(products, make_student(make_model(context=100)), max_turns=50)
    assert {r.stop_reason for r in rollouts} == {StopReason.CONTEXT_FULL}
    assert len({len(r.ledger.ids) for r in rollouts}) > 1
    for rollout in rollouts:
        assert_typed(rollout, 50)
        assert len(rollout.ledger.ids) <= 100


def test_a_question_longer_than_the_context_is_never_asked(
    make_task: Make, make_model: Make, make_student: Make
) -> None:
    long, short = play(
        [make_task(1, prompt="why " * 100), make_task(2)], make_student(make_model(context=100)), max_turns=1
    )
    assert long.stop_reason is StopReason.CONTEXT_FULL
    assert long.turns == []
    assert len(short.turns) == 1
