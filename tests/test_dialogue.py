"""The didactic loop: who says what when, how it ends, and what is written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rl2f_hub.dialogue.runner import CLOSING_WORDS, Rollout, run_dialogues, waits
from rl2f_hub.engines import Interrupted, Sampling, derive_seed
from rl2f_hub.recipe.teacher_sections import EndpointSpec, TeacherSpec
from rl2f_hub.records import StopReason, Task
from rl2f_hub.teachers import FeedbackRequest, Teacher, build_teacher
from rl2f_hub.teachers.controls import DoubtingTeacher, MisleadingTeacher
from rl2f_hub.teachers.curriculum import CurriculumTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.probes import PlaysOn

Make = Callable[..., Any]


def play(tasks: list[Task], student: Any, teacher: Any = None, **options: Any) -> list[Rollout]:
    settings: dict[str, Any] = {"max_turns": 4, "sampling": Sampling(1.0, 1.0, 8), "seed": 0, **options}
    return run_dialogues(tasks, student, teacher or build_teacher("scripted"), guard=Guard(), **settings)


def test_a_right_attempt_ends_the_dialogue(make_task: Make, saying: Make) -> None:
    (rollout,) = play([make_task(12)], saying(["5", "407", "so it is 408", "9"]))
    assert rollout.stop_reason is StopReason.SOLVED
    assert [t.attempt for t in rollout.turns] == ["5", "407", "so it is 408"]
    assert [t.verdict.correct for t in rollout.turns] == [False, False, True]
    assert [t.feedback and t.feedback.text for t in rollout.turns] == [
        "Wrong: too few digits.",
        "Wrong: hundreds 4 right, tens 0 right, units 7 too low.",
        None,
    ]


def test_wrong_attempts_end_at_the_turn_limit_with_feedback_on_the_last(make_task: Make, saying: Make) -> None:
    (rollout,) = play([make_task(12)], saying(["5"]), max_turns=3)
    assert rollout.stop_reason is StopReason.TURN_LIMIT
    assert len(rollout.turns) == 3
    assert all(t.feedback for t in rollout.turns)


def test_one_turn_is_a_single_attempt(make_task: Make, saying: Make) -> None:
    rollouts = play([make_task(1), make_task(2)], saying(lambda row, turn: ["408", "5"][row]), max_turns=1)
    assert [r.stop_reason for r in rollouts] == [StopReason.SOLVED, StopReason.TURN_LIMIT]
    assert [len(r.turns) for r in rollouts] == [1, 1]


def test_the_student_reads_the_whole_conversation_once(make_task: Make, saying: Make, tokenizer: Any) -> None:
    """What the engine was fed is everything before the last attempt that it did not say itself, nothing twice."""
    student = saying(["5", "6", "7"])
    (rollout,) = play([make_task(12)], student, max_turns=3)
    ledger = rollout.ledger
    last = [s for s in ledger.spans if s.role == "student"][-1]
    own = ledger.mask("student")
    assert student.engine.fed[0] == [i for i, mine in zip(ledger.ids[: last.start], own, strict=False) if not mine]
    messages = rollout.dialogue("s", "t", Sampling()).messages()
    assert tokenizer.decode(ledger.ids) == tokenizer.apply_chat_template(messages, tokenize=False)


def test_the_teacher_sees_the_privilege_and_the_history(make_task: Make, saying: Make, telling: Make) -> None:
    teacher = telling(lambda s: f"No. ({len(s.attempts)})")
    play([make_task(12, "408", solution="12 * 34")], saying(["5", "6"]), teacher, max_turns=2)
    first, second = teacher.seen
    assert first.privilege.reference == "408"
    assert first.question == "What is 12 * 34?"
    assert (first.attempts, first.feedbacks) == (("5",), ())
    assert (second.attempts, second.feedbacks) == (("5", "6"), ("No. (1)",))
    assert second.verdict.answer == "6"


def test_a_solved_dialogue_closes_with_the_teachers_praise(make_task: Make, saying: Make, chat: Any) -> None:
    """In the ledger, where the critique term learns it; in no record."""
    (rollout,) = play([make_task(12)], saying(["408"]))
    span = rollout.ledger.spans[-1]
    assert span.role == "teacher"
    assert chat.decode(rollout.ledger.ids[span.start : span.end]) == CLOSING_WORDS
    assert CLOSING_WORDS not in str(rollout.dialogue("s", "t", Sampling()).messages())


def test_dialogues_come_back_in_the_order_of_the_tasks(make_task: Make, saying: Make) -> None:
    tasks = [make_task(n, str(n)) for n in range(7)]
    done: list[int] = []
    rollouts = play(tasks, saying(lambda row, turn: str(row) if turn > row % 3 else "x"), wave=3, on_wave=done.append)
    assert [r.task for r in rollouts] == tasks
    assert [len(r.turns) for r in rollouts] == [1, 2, 3, 1, 2, 3, 1]
    assert sum(done) == 7
    assert len(done) > 1, "progress is told as dialogues end, not at the end"


def test_a_dialogue_that_ends_gives_its_place_to_the_next(make_task: Make, saying: Make) -> None:
    """Never more than `wave` at once, and never fewer while others wait."""
    student = saying(lambda row, turn: str(row) if turn > row % 3 else "x")
    sizes: list[int] = []
    answer = student.engine.generate

    def generate(rows: list[int], *args: Any) -> list[Any]:
        sizes.append(len(rows))
        return answer(rows, *args)

    student.engine.generate = generate
    rollouts = play([make_task(n, str(n)) for n in range(9)], student, wave=3)
    assert [len(r.turns) for r in rollouts] == [1, 2, 3] * 3
    assert sizes == [3, 3, 3, 3, 3, 2, 1]


def test_the_wave_shrinks_to_what_the_cache_holds(make_task: Make, saying: Make) -> None:
    student = saying(["5"])
    sizes: list[int] = []
    answer = student.engine.generate
    student.engine.generate = lambda rows, *args: (sizes.append(len(rows)), answer(rows, *args))[1]
    student.engine.cache_tokens = 500
    play([make_task(n) for n in range(9)], student, max_turns=2)
    assert 1 < max(sizes) < 9


def test_a_reader_hears_every_id_and_may_stop_the_dialogues(products: list[Task], make_student: Make) -> None:
    told: dict[int, list[int]] = {}
    whole = play(products, make_student(), on_token=lambda n, token: told.setdefault(n, []).append(token))
    for n, rollout in enumerate(whole):
        ids = [i for i, own in zip(rollout.ledger.ids, rollout.ledger.mask("student"), strict=True) if own]
        assert told[n] == ids
    second = min(sum(r.ledger.mask("student", 1)) for r in whole) + 3
    heard: list[int] = []

    def stopping(n: int, token: int) -> None:
        heard.extend([token] * (n == 0))
        if len(heard) == second:
            raise Interrupted

    done: list[int] = []
    rollouts = play(products, make_student(), on_token=stopping, on_wave=done.append)
    assert {r.stop_reason for r in rollouts} <= {StopReason.CANCELLED, StopReason.SOLVED}
    assert rollouts[0].stop_reason is StopReason.CANCELLED
    assert sum(done) == len(products)
    for stopped, rollout in zip(rollouts, whole, strict=True):
        assert stopped.turns == rollout.turns[: len(stopped.turns)], "attempts under way are dropped, others stay"


@pytest.mark.parametrize("wave", [1, 3, 4])
def test_a_real_student_says_the_same_whatever_the_wave(products: list[Task], make_student: Make, wave: int) -> None:
    together, few = play(products, make_student()), play(products, make_student(), wave=wave)
    assert [r.ledger.ids for r in few] == [r.ledger.ids for r in together]


def test_seeds_come_from_the_task_unless_given(make_task: Make, saying: Make) -> None:
    tasks = [make_task(1), make_task(2)]
    assert [r.seed for r in play(tasks, saying(["5"]), seed=9)] == [derive_seed(9, "t-1"), derive_seed(9, "t-2")]
    assert [r.seed for r in play(tasks, saying(["5"]), seeds=[3, 4])] == [3, 4]


def test_no_tasks_no_dialogues(saying: Make) -> None:
    assert play([], saying(["5"])) == []


def test_the_record_says_how_it_was_made(make_task: Make, saying: Make) -> None:
    (rollout,) = play([make_task(12)], saying(["5", "408"]), seeds=[255])
    dialogue = rollout.dialogue("me", "scripted", Sampling(0.5, 0.9, 8))
    assert dialogue.solved_at == 2
    assert dialogue.sampling == {"temperature": 0.5, "top_p": 0.9, "turn_tokens": 8}
    assert (dialogue.task_id, dialogue.student, dialogue.teacher, dialogue.privilege) == (
        "t-12",
        "me",
        "scripted",
        "answer",
    )
    assert dialogue.dialogue_id == "t-12#00000000000000ff"


@pytest.mark.parametrize("room", [60, 90, 140])
def test_no_dialogue_outgrows_the_context(make_task: Make, saying: Make, telling: Make, room: int) -> None:
    """The teacher's last words count too: the trainer reads them with the same model."""
    for words in range(1, 60, 4):
        (rollout,) = play([make_task(12)], saying(["5"], room), telling("no " * words), max_turns=9)
        assert rollout.stop_reason in (StopReason.CONTEXT_FULL, StopReason.TURN_LIMIT)
        assert len(rollout.ledger.ids) <= room
        heard = [s for s in rollout.ledger.spans if s.role == "teacher"]
        assert len(heard) == sum(t.feedback is not None for t in rollout.turns)


def test_a_real_student_and_the_ledger_agree(products: list[Task], make_student: Make, chat: Any) -> None:
    for rollout in play(products, make_student()):
        spans = [s for s in rollout.ledger.spans if s.role == "student"]
        assert [chat.decode(rollout.ledger.ids[s.start : s.end]) for s in spans] == [t.attempt for t in rollout.turns]
        assert len(rollout.ledger.logprobs) == sum(s.end - s.start for s in spans)


def test_without_a_teacher_every_attempt_starts_from_the_question_alone(make_task: Make, saying: Make) -> None:
    student = saying(["5", "6", "408"])
    (rollout,) = play([make_task(12)], student, build_teacher("none"))
    assert rollout.stop_reason is StopReason.SOLVED
    assert [t.attempt for t in rollout.turns] == ["5", "6", "408"]
    assert [t.feedback for t in rollout.turns] == [None, None, None]
    question = student.chat.open(make_task(12).prompt).ids
    assert rollout.ledger.ids[: len(question)] == question
    assert rollout.ledger.mask("teacher").count(True) == 0
    (rollout,) = play([make_task(12)], saying(["5"]), build_teacher("none"), max_turns=3)
    assert rollout.stop_reason is StopReason.TURN_LIMIT
    assert len(rollout.turns) == 3


def test_resampled_attempts_differ_and_do_not_depend_on_the_batch(products: list[Task], make_student: Make) -> None:
    together = play(products, make_student(), build_teacher("none"))
    alone = play(products[3:4], make_student(), build_teacher("none"))
    assert [t.attempt for t in together[3].turns] == [t.attempt for t in alone[0].turns]
    assert any(len({t.attempt for t in r.turns}) > 1 for r in together)


def test_a_misleading_teacher_doubts_a_right_answer_and_the_dialogue_goes_on(make_task: Make, saying: Make) -> None:
    (held,) = play([make_task(12)], saying(["408"]), MisleadingTeacher(1.0), max_turns=3)
    assert [t.verdict.correct for t in held.turns] == [True, True, True]
    assert [t.feedback and t.feedback.kind for t in held.turns] == ["doubt", "doubt", None]
    assert held.stop_reason is StopReason.SOLVED
    (caved,) = play([make_task(12)], saying(["408", "500", "501"]), MisleadingTeacher(1.0), max_turns=3)
    assert [t.verdict.correct for t in caved.turns] == [True, False, False]
    assert caved.stop_reason is StopReason.TURN_LIMIT
    assert caved.dialogue("s", "t", Sampling()).solved_at == 1
    (honest,) = play([make_task(12)], saying(["408"]), MisleadingTeacher(0.0), max_turns=3)
    assert len(honest.turns) == 1


# -- two crews -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("teacher", ["scripted", "misleading", "none"])
@pytest.mark.parametrize("wave", [2, 5, 256])
def test_judging_beside_generation_changes_no_text(
    products: list[Task], make_student: Make, teacher: str, wave: int
) -> None:
    def played(overlap: bool) -> list[Any]:
        options: dict[str, Any] = {"overlap": overlap, "wave": wave, "on_wave": done.append}
        rollouts = play(products, make_student(), build_teacher(teacher), **options)
        return [[r.task.task_id, r.ledger.ids, r.turns, r.stop_reason, r.written] for r in rollouts]

    done: list[int] = []
    assert played(True) == played(False)
    assert sum(done) == 2 * len(products)


def test_the_student_speaks_while_a_slow_teacher_thinks(make_task: Make, saying: Make, telling: Make) -> None:
    """The teacher does not answer before the student has spoken again, which it never would if it had to wait."""
    student, spoken = saying(["5"]), threading.Semaphore(0)
    answer = student.engine.generate

    def generate(*args: Any) -> Any:
        out = answer(*args)
        spoken.release()
        return out

    heard: list[bool] = []

    def slowly(situation: Any) -> str:
        if len(heard) < 2:  # of the first crew's two dialogues: once for its own attempt, once for the other crew's
            heard.append(spoken.acquire(timeout=120))
        return "Wrong."

    student.engine.generate = generate
    teacher = telling(slowly)
    teacher.is_remote = True
    rollouts = play([make_task(n) for n in range(4)], student, teacher, max_turns=2)
    assert heard == [True, True]
    assert [len(r.turns) for r in rollouts] == [2, 2, 2, 2]


def test_crews_are_for_teachers_and_verdicts_that_are_waited_for(make_task: Make) -> None:
    plain, code = make_task(1), replace(make_task(2), verifier="unit_tests")
    guard = Guard()
    assert not waits(guard.wrap(build_teacher("scripted")), [plain])
    assert waits(guard.wrap(build_teacher("scripted")), [plain, code])


def _endpoint(**more: Any) -> Teacher:
    endpoint = EndpointSpec(url="http://h/v1", model="m")
    return build_teacher(TeacherSpec(kind="endpoint", endpoint=endpoint, **more))


WRAPPERS: dict[str, Callable[[Teacher], Teacher]] = {
    "doubts": lambda teacher: DoubtingTeacher(teacher, 0.5),
    "plays on": PlaysOn,
    "curriculum": lambda teacher: CurriculumTeacher(lambda source: 0, teacher),
    "all": lambda teacher: PlaysOn(DoubtingTeacher(CurriculumTeacher(lambda source: 0, teacher), 0.5)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_teacher_is_all_that_the_teacher_inside_is(wrap: Callable[[Teacher], Teacher]) -> None:
    declared = ("is_remote", "is_local_model", "independent_attempts", "guarded", "sees_privilege", "name")

    class Odd(Teacher):
        """Everything that it can say of itself is the other way round."""

        name, stopped, shown = "odd", "tired", ["this"]
        is_remote = is_local_model = independent_attempts = True
        guarded = sees_privilege = False

        def feedback(self, requests: Sequence[FeedbackRequest]) -> list[str]:
            return ["No." for _ in requests]

        def record(self) -> dict[str, Any]:
            return {"odd": 1}

    wrapped = wrap(Odd())
    for name in (*declared, "stopped", "shown"):
        assert getattr(wrapped, name) == getattr(Odd(), name) != getattr(Teacher, name, None), name
    assert wrapped.record()["odd"] == 1
    assert set(vars(Teacher)) - {"__module__", "__doc__", "__annotations__", "__abstractmethods__", "_abc_impl"} <= {
        *declared, "stopped", "shown", "record", "feedback", "challenge_correct", "from_spec"
    } | {"__dict__", "__weakref__"}, "a new member of Teacher: forward it in WrappedTeacher, and name it here"  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_endpoint_overlaps(wrap: Callable[[Teacher], Teacher], make_task: Make) -> None:
    assert waits(Guard().wrap(wrap(_endpoint())), [make_task(1)])


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_control_without_feedback_makes_fresh_attempts(
    wrap: Callable[[Teacher], Teacher], make_task: Make, saying: Make
) -> None:
    (rollout,) = play([make_task(1)], saying(["5", "6", "408"]), wrap(build_teacher("none")), max_turns=3)
    assert rollout.stop_reason is StopReason.SOLVED
    assert [t.attempt for t in rollout.turns] == ["5", "6", "408"]
    assert rollout.ledger.turns == [3]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_control_that_tells_the_answer_is_not_redacted(
    wrap: Callable[[Teacher], Teacher], make_task: Make, saying: Make
) -> None:
    (rollout,) = play([make_task(1)], saying(["5", "6"]), wrap(build_teacher("leaked")), max_turns=2)
    feedback = rollout.turns[0].feedback
    assert feedback is not None and feedback.leaked
    assert "408" in feedback.text


def test_a_fault_beside_generation_is_not_lost(make_task: Make, saying: Make) -> None:
    class Broken(Guard):
        def pass_on(self, *args: Any) -> Any:
            raise KeyError("no words")

    tasks = [make_task(n) for n in range(4)]
    with pytest.raises(KeyError, match="no words"):
        run_dialogues(
            tasks,
            saying(["5"]),
            build_teacher("scripted"),
            guard=Broken(),
            max_turns=2,
            sampling=Sampling(),
            seed=0,
            overlap=True,
        )
