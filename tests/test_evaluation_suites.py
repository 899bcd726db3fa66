"""Suites played by real students and by students with given words, against the real loop, guard and verifiers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rl2f_hub.engines.score import can_score, log_likelihoods
from rl2f_hub.evaluation.plasticity import gold_logps
from rl2f_hub.evaluation.suites import SUITES, Settings, environment_tasks, play, resample_depth
from rl2f_hub.evaluation.summary import entry_of
from rl2f_hub.recipe import TeacherSpec
from rl2f_hub.records import Task
from rl2f_hub.teachers import probes

SETTINGS = Settings(max_turns=4, turn_tokens=12, gold_tasks=100)


@pytest.mark.parametrize("suite", [name for name, suite in SUITES.items() if not suite.own_tasks])
def test_every_suite_plays_and_is_summed_up(suite: str, make_student: Any, products: list[Task]) -> None:
    rows = play(suite, products, make_student(), SETTINGS, 3)
    assert [row["task_id"] for row in rows] == [task.task_id for task in products]
    entry = entry_of(suite, rows, 4, SETTINGS.went_on(suite), 50, 0)
    assert len(entry["acc_at_turn"]) == 4
    assert entry["oracle_stop"] == (suite in ("resample", "shuffled", "leaked"))
    assert ("sycophancy" in entry) == (suite in ("misleading", "are_you_sure", "wrong_answer"))
    assert ("critic" in entry) == (suite == "autodidact")
    assert ("plasticity" in entry) == SUITES[suite].gold
    again = play(suite, products, make_student(), SETTINGS, 3)
    assert again == rows


def test_playing_on_changes_no_word_up_to_the_first_right_attempt(
    make_student: Any, products: list[Task], judged_by_length: str, make_task: Callable[..., Task]
) -> None:
    tasks = [make_task(i, verifier=judged_by_length) for i in range(12)]
    settings = Settings(max_turns=4, turn_tokens=12, temperature=1.0)
    on, off = (play("teacher", tasks, make_student(), s, 5) for s in (settings, _stopping(settings)))
    assert any(row["solved_at"] for row in on)
    for a, b in zip(on, off, strict=True):
        assert a["solved_at"] == b["solved_at"]
        words = [turn["attempt"] for turn in b["turns"]]
        assert [turn["attempt"] for turn in a["turns"]][: len(words)] == words
        assert len(a["turns"]) == 4 or a["stop_reason"] == "context_full"
    for row in on:
        for turn in row["turns"][:-1]:
            assert (turn["feedback"] == probes.CHECK.text) == turn["correct"]


def _stopping(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, plays_on=False)


@pytest.mark.parametrize(("kind", "suite"), [("none", "resample"), ("leaked", "leaked"), ("shuffled", "shuffled")])
def test_a_control_is_the_same_whatever_the_recipes_teacher_does(
    kind: str, suite: str, make_student: Any, products: list[Task]
) -> None:
    """Also where the recipe's own teacher is of the control's kind and doubts right answers."""
    doubting = Settings(max_turns=4, turn_tokens=12, teacher=TeacherSpec(kind=kind, doubt_rate=0.5))
    plain = Settings(max_turns=4, turn_tokens=12)
    assert play(suite, products, make_student(), doubting, 3) == play(suite, products, make_student(), plain, 3)


@pytest.mark.parametrize("doubt_rate", [0.0, 0.5])
def test_a_teacher_without_feedback_makes_fresh_attempts_also_when_dialogues_play_on(
    doubt_rate: float, make_student: Any, products: list[Task]
) -> None:
    settings = Settings(max_turns=4, turn_tokens=12, teacher=TeacherSpec(kind="none", doubt_rate=doubt_rate))
    rows = play("teacher", products, make_student(), settings, 3)
    assert {row["stop_reason"] for row in rows} <= {"solved", "turn_limit"}
    assert not settings.went_on("teacher"), "nobody goes on after a right attempt"


def test_first_attempts_are_the_same_wherever_nothing_was_heard(make_student: Any, products: list[Task]) -> None:
    settings = Settings(max_turns=2, turn_tokens=8, temperature=1.0)
    firsts = {
        suite: [row["turns"][0]["attempt"] for row in play(suite, products, make_student(), settings, 3)]
        for suite in ("teacher", "try_again", "resample", "shuffled", "are_you_sure", "autodidact")
    }
    assert len({tuple(words) for words in firsts.values()}) == 1


def test_pressure_names_a_wrong_answer_and_the_one_who_gives_in_is_seen(
    saying: Any, make_task: Callable[..., Task]
) -> None:
    tasks = [make_task(i, "408") for i in range(3)]
    hint = probes.decoy("408", "integer", tasks[0].prompt)
    assert hint != "408" and len(hint) == 3
    hints = [probes.decoy("408", "integer", task.prompt) for task in tasks]
    caves = play("wrong_answer", tasks, saying(lambda row, turn: "408" if turn == 1 else hints[row % 3]), SETTINGS, 0)
    holds = play("wrong_answer", tasks, saying(["408"]), SETTINGS, 0)
    assert caves[0]["turns"][0]["feedback"] == f"I think the answer is {hint}."
    one, other = (entry_of("wrong_answer", rows, 4, True, 50, 0)["sycophancy"] for rows in (caves, holds))
    assert one["hint_adoption_rate"]["value"] == 1
    assert one["first_flip_turn"]["value"] == 2
    assert other["hint_adoption_rate"]["value"] == other["capitulation_rate"]["value"] == 0


@pytest.mark.parametrize(
    ("reference", "verifier"), [("408", "integer"), ("-7", "integer"), ("B", "choice"), ("0", "integer")]
)
def test_a_decoy_is_wrong_and_always_the_same(reference: str, verifier: str) -> None:
    for question in map(str, range(50)):
        made = probes.decoy(reference, verifier, question)
        assert made == probes.decoy(reference, verifier, question)
        assert made != reference and made
        assert len(made.lstrip("-")) == len(reference.lstrip("-"))
    assert probes.decoy("a walk", "text", "q") == ""


def test_the_self_critic_is_asked_without_knowing_what_is_right(
    saying: Any, make_task: Callable[..., Task], chat: Any
) -> None:
    """It judges right and wrong attempts alike, sees no reference, and its own word decides where it stops."""
    words = {1: "111", 2: "Correct.", 3: "408"}
    task = make_task(0, "408")
    student = saying(lambda row, turn: words[1])
    critics = [probes.SelfCritic(student, form) for form in ("role", "asked")]
    assert all(not critic.sees_privilege for critic in critics)
    rows = play("autodidact", [task], saying(["111", "408"]), SETTINGS, 0)
    engine = student.engine
    play("autodidact", [task], student, SETTINGS, 0)
    seen = " ".join(chat.tokenizer.decode(ids) for ids in engine.fed.values())
    assert "408" not in seen
    assert probes.ASKED[:40] in seen
    assert len(rows[0]["turns"]) == 4
    assert all(turn["accepted"] is False for turn in rows[0]["turns"][:3])  # its critique is its next attempt here
    assert rows[0]["turns"][0]["confidence"] is None  # words only: this engine has no model


def test_a_student_that_accepts_its_first_attempt_stops_there(saying: Any, make_task: Callable[..., Task]) -> None:
    rows = play("autodidact", [make_task(0, "408")], saying(["Correct. 111"]), SETTINGS, 0)
    entry = entry_of("autodidact", rows, 4, True, 50, 0)
    assert entry["stops"]["own_stop_calls"]["value"] == 1
    assert entry["stops"]["own_stop_accuracy"]["value"] == 0
    assert entry["critic"]["precision"]["value"] == 0


@pytest.mark.parametrize(
    ("text", "accepted"),
    [("Correct.", True), ("**Correct**", True), ("yes, it is", True), ("Incorrect.", False), ("Not correct", False)],
)
def test_what_counts_as_accepting(text: str, accepted: bool) -> None:
    assert probes.accepts(text) is accepted


def test_in_the_teachers_role_the_student_goes_on_after_the_mark_of_that_role(make_student: Any, chat: Any) -> None:
    """What the critique term trains: the same ids as where a teacher's words stand."""
    student = make_student()
    critic = probes.SelfCritic(student, "role")
    ledger = chat.open("What is 12 * 34?")
    chat.attempt(ledger, [*chat.encode("408"), chat.eos_id], [], 1)
    before = list(ledger.ids)
    chat.feedback(ledger, "Correct.", 1, closing=True)
    from rl2f_hub.records import Privilege, Verdict
    from rl2f_hub.teachers import FeedbackRequest

    situation = FeedbackRequest(
        "What is 12 * 34?", "d", ("408",), (), Verdict(True, 1.0, "408", ""), Privilege("answer", "9")
    )
    asked = critic._before_judgement(situation).ids
    assert asked[: len(before)] == before
    assert asked == ledger.ids[: ledger.ids.index(chat.encode("Correct.")[0], len(before))]


def test_log_likelihoods_are_those_of_a_plain_forward_pass(make_student: Any, tiny_model: Any) -> None:
    engine = make_student().engine
    pairs = [([5, 6, 7, 8], [9, 10]), ([5], [6, 7, 8]), ([11, 12, 13], []), ([3] * 30, [4])]
    got = log_likelihoods(engine, pairs)
    for (context, target), value in zip(pairs, got, strict=True):
        with torch.no_grad():
            logps = tiny_model(torch.tensor([context + target])).logits[0].log_softmax(-1)
        want = sum(float(logps[len(context) + i - 1, t]) for i, t in enumerate(target))
        assert value == pytest.approx(want, abs=1e-4)
    assert math.isnan(log_likelihoods(engine, [([1] * 600, [2])])[0])
    assert can_score(engine)


def test_gold_is_scored_in_the_context_of_each_attempt(make_student: Any, products: list[Task], chat: Any) -> None:
    from rl2f_hub.dialogue.runner import run_dialogues
    from rl2f_hub.engines import Sampling
    from rl2f_hub.teachers import build_teacher
    from rl2f_hub.teachers.guard import Guard

    student = make_student()
    how = Sampling(temperature=1.0, turn_tokens=8)
    rollouts = run_dialogues(
        products, student, build_teacher("try_again"), guard=Guard(), max_turns=3, sampling=how, seed=1
    )
    for rollout, values in zip(rollouts, gold_logps(student, rollouts), strict=True):
        assert len(values) == len(rollout.turns)
        ids = rollout.ledger.ids
        second = next(s for s in rollout.ledger.spans if s.role == "student" and s.turn == 2)
        gold = chat.encode(rollout.task.privilege.reference)
        assert values[1] == pytest.approx(log_likelihoods(student.engine, [(ids[: second.start], gold)])[0], abs=1e-3)


def test_fresh_attempts_are_given_the_tokens_of_a_whole_dialogue(make_student: Any, products: list[Task]) -> None:
    settings = Settings(max_turns=3, turn_tokens=8, temperature=1.0)
    guided = play("teacher", products, make_student(), settings, 0)
    depth = resample_depth(guided, settings)
    assert 3 < depth <= 24  # feedback costs more than these short attempts
    rows = play("resample", products, make_student(), replace(settings, resample_calls=depth), 0)
    assert {len(row["turns"]) for row in rows if not row["solved_at"]} == {depth}
    assert all(turn["heard_tokens"] == 0 for row in rows for turn in row["turns"])


def test_environments_bring_their_own_tasks_and_answer_for_themselves(saying: Any) -> None:
    pytest.importorskip("textarena")
    tasks = environment_tasks(1, 0)
    assert len({task.source for task in tasks}) == 4
    rows = play("environment", tasks, saying(["[up]"]), SETTINGS, 0)
    entry = entry_of("environment", rows, 12, False, 50, 0)
    assert len(entry["by_source"]) == 4
    kinds = {turn["feedback_kind"] for row in rows for turn in row["turns"] if turn["feedback"]}
    assert kinds == {"environment"}


def test_every_suite_and_figure_is_in_the_docs(make_student: Any, products: list[Task]) -> None:
    from pathlib import Path

    text = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()
    entry = entry_of("teacher", play("teacher", products[:2], make_student(), SETTINGS, 0), 4, True, 50, 0)
    pressed = entry_of("are_you_sure", play("are_you_sure", products[:2], make_student(), SETTINGS, 0), 4, True, 50, 0)
    for name in [*SUITES, *entry["figures"], *pressed["sycophancy"]]:
        assert f"`{name}`" in text, name
    for name in entry:
        assert name in text, name
