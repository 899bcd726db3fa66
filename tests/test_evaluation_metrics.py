"""Metrics held to account: dialogues counted by hand, and simulated students whose behaviour is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from rl2f_hub.evaluation import metrics
from rl2f_hub.evaluation.intervals import Ratio, estimate, over_seeds
from rl2f_hub.evaluation.metrics import Dialogues, profile, ratios
from rl2f_hub.evaluation.plasticity import plasticity
from rl2f_hub.evaluation.self_critic import calibration, own_stop, stops
from rl2f_hub.evaluation.summary import gains, versus
from rl2f_hub.evaluation.sycophancy import pressure

T = 4


def dialogue(
    task: int, *turns: tuple[str | None, bool], seed: int = 0, feedback: str | None = "no", **more: Any
) -> dict[str, Any]:
    """A row with (answer, right) a turn; every attempt costs 10 tokens, every feedback 5."""
    made = [
        {
            "attempt": f"answer: {answer}" if answer is not None else "hm",
            "answer": answer,
            "correct": right,
            "feedback": feedback if t < len(turns) - 1 else None,
            "leaked": False,
            "cut": False,
            "student_tokens": 10,
            "heard_tokens": 5 if feedback and t < len(turns) - 1 else 0,
        }
        for t, (answer, right) in enumerate(turns)
    ]
    solved = next((t for t, (_, right) in enumerate(turns, 1) if right), 0)
    return {"task_id": f"t{task}", "source": "test", "seed": seed, "turns": made, "solved_at": solved, **more}


HAND = [
    dialogue(0, ("7", True), ("7", True), ("8", False), ("7", True)),  # right, holds, falls, comes back
    dialogue(1, ("1", False), ("1", False), ("2", True), ("2", True)),  # repeats once, then corrects
    dialogue(2, (None, False), ("5", True), ("5", True), ("6", False)),  # only the form was wrong at first; ends wrong
    dialogue(3, ("3", False), ("4", False), ("4", False), ("9", False)),  # never
]


def value(rows: list[dict[str, Any]], name: str, went_on: bool = True, max_turns: int = T) -> Any:
    got = ratios(Dialogues.read(rows, max_turns), went_on)[name].value
    return got[0] if len(got) == 1 else list(got)


def test_dialogues_counted_by_hand() -> None:
    entry = profile(HAND, T, True, 200, 0)
    assert entry["acc_at_turn"] == [0.25, 0.5, 0.75, 0.75]
    assert value(HAND, "attempt_accuracy") == [0.25, 0.5, 0.5, 0.5]
    assert value(HAND, "final_accuracy") == [0.25, 0.5, 0.5, 0.5]
    # wrong attempts that were followed: t0 1, t1 2, t2 1, t3 3; followed by a right one: t0 1, t1 1, t2 1
    assert value(HAND, "correction_rate") == pytest.approx(3 / 7)
    assert value(HAND, "correction_by_turn") == pytest.approx([1 / 3, 1 / 2, 1 / 2])
    # right attempts that were followed: t0 2, t1 1, t2 2; followed by a wrong one: t0 1, t2 1
    assert value(HAND, "regression_rate") == pytest.approx(2 / 5)
    assert value(HAND, "exact_repeat_rate") == pytest.approx(2 / 7)
    assert value(HAND, "answer_change_rate") == pytest.approx((2 + 1 + 2 + 2) / 12)
    assert value(HAND, "format_error_rate") == pytest.approx(1 / 16)
    assert value(HAND, "gain") == 0.5
    assert value(HAND, "format_only_gain") == 0.25
    # up to the oracle's stop: attempts 1, 3, 2, 4; feedback heard before the last of them 0, 2, 1, 3 times
    assert value(HAND, "calls") == 2.5
    assert value(HAND, "student_tokens") == 25
    assert value(HAND, "feedback_tokens") == pytest.approx(30 / 4)
    assert value(HAND, "gain_per_1000_feedback_tokens") == pytest.approx(1000 * 2 / 30)


def test_dialogues_that_the_oracle_stopped_say_nothing_of_final_answers() -> None:
    entry = profile([dialogue(0, ("1", False), ("2", True))], T, False, 50, 0)
    assert entry["oracle_stop"] is True
    assert "final_accuracy" not in entry["figures"]
    assert "regression_rate" not in entry["figures"]
    assert entry["acc_at_turn"] == [0.0, 1.0, 1.0, 1.0]


def test_leaks_are_counted_over_feedback() -> None:
    rows = [dialogue(0, ("1", False), ("2", False)), dialogue(1, ("1", False), ("2", False), ("3", False))]
    rows[1]["turns"][0]["leaked"] = True
    assert value(rows, "leak_rate") == pytest.approx(1 / 3)


def test_nothing_to_divide_by_is_none_and_not_zero() -> None:
    entry = profile([dialogue(0, ("7", True))], T, False, 50, 0)
    assert entry["figures"]["correction_rate"] == {"value": None, "ci95": None, "n": 0}
    assert entry["repeat_rate"] is None


def test_nothing_out_of_a_few_is_not_certain_to_be_nothing() -> None:
    """A bootstrap of zeros has no width; the exact bound for 0 of 10 tasks is 30.8 %."""
    rows = [dialogue(i, ("1", False), ("2", False)) for i in range(10)]
    entry = profile([*rows, *(row | {"seed": 1} for row in rows)], 2, True, 100, 0)
    assert entry["ci95"] == [[0.0, 0.3085]] * 2
    assert entry["figures"]["answer_change_rate"]["ci95"] == [0.6915, 1.0]
    assert entry["figures"]["calls"]["ci95"] == [2.0, 2.0]  # a count is what it is


def test_seeds_of_a_task_are_one_cluster() -> None:
    rng = np.random.default_rng(0)
    solved = rng.random(60) < 0.5
    once = [dialogue(i, ("1", bool(s))) for i, s in enumerate(solved)]
    copies = [row | {"seed": seed} for row in once for seed in range(5)]  # no new information
    one, five = (profile(rows, 1, False, 1000, 0)["ci95"][0] for rows in (once, copies))
    assert one == five


def test_training_seeds_widen_the_interval_by_what_they_differ() -> None:
    rng = np.random.default_rng(0)
    agree = [Ratio.mean((rng.random(200) < 0.5).astype(float)) for _ in range(3)]
    apart = [Ratio.mean((rng.random(200) < p).astype(float)) for p in (0.1, 0.5, 0.9)]
    narrow, wide = (over_seeds(runs, 500, 0) for runs in (agree, apart))
    assert wide["ci95"][1] - wide["ci95"][0] > 3 * (narrow["ci95"][1] - narrow["ci95"][0])
    assert len(wide["by_seed"]) == 3
    assert over_seeds(apart[:1], 500, 0)["ci95"] == estimate(apart[0], 500, 0)["ci95"]


# -- simulated students ---------------------------------------------------------------------------------------------


Student = Callable[[np.random.Generator, float], Iterator[bool]]


def repeats(rng: np.random.Generator, p: float) -> Iterator[bool]:
    """The first answer for ever."""
    right = bool(rng.random() < p)
    while True:
        yield right


def resampler(rng: np.random.Generator, p: float) -> Iterator[bool]:
    """A fresh draw whatever was said."""
    while True:
        yield bool(rng.random() < p)


def listener(rng: np.random.Generator, p: float) -> Iterator[bool]:
    """Right from the second attempt on, and holds on to it."""
    yield bool(rng.random() < p)
    while True:
        yield True


def sycophant(rng: np.random.Generator, p: float) -> Iterator[bool]:
    """Gives way whenever it is answered: right becomes wrong, wrong becomes right."""
    right = bool(rng.random() < p)
    while True:
        yield right
        right = not right


def simulated(
    student: Student, seed: int, tasks: int = 120, stop: bool = True, turns: int = T, feedback: str | None = "no"
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    chance = np.random.default_rng(99).uniform(0, 0.6, tasks)  # tasks differ in difficulty, the same for everyone
    rows = []
    for task in range(tasks):
        made: list[tuple[str, bool]] = []
        for t, right in zip(range(turns), student(rng, chance[task]), strict=False):
            made.append(("42" if right else ("1" if student is repeats else f"{t}"), right))
            if right and stop:
                break
        rows.append(dialogue(task, *made, feedback=feedback))
    return rows


def test_each_simulated_student_is_told_from_the_others() -> None:
    plays = {s.__name__: simulated(s, 1, stop=False) for s in (repeats, resampler, listener, sycophant)}

    def of(name: str) -> dict[str, Any]:
        return {who: value(rows, name) for who, rows in plays.items()}

    assert of("exact_repeat_rate")["repeats"] == 1
    assert all(of("exact_repeat_rate")[who] == 0 for who in ("resampler", "listener", "sycophant"))
    assert of("correction_rate")["repeats"] == 0
    assert of("correction_rate")["listener"] == of("correction_rate")["sycophant"] == 1
    assert 0.1 < of("correction_rate")["resampler"] < 0.5
    assert of("regression_rate")["sycophant"] == 1
    assert of("regression_rate")["listener"] == of("regression_rate")["repeats"] == 0
    assert of("answer_change_rate")["repeats"] == 0
    assert of("answer_change_rate")["sycophant"] == 1
    assert of("final_accuracy")["listener"][-1] == 1
    flips = {who: pressure(rows, T)["capitulation_rate"].value[0] for who, rows in plays.items()}
    assert flips["sycophant"] == 1
    assert flips["listener"] == flips["repeats"] == 0


def test_the_oracles_stop_flatters_and_the_final_answer_does_not() -> None:
    """A resampler that the oracle stops looks like a learner; without the oracle it is as good as at its first attempt."""
    rows = simulated(resampler, 3, tasks=1500, stop=False)
    entry = profile(rows, T, True, 200, 0)
    assert entry["acc_at_turn"][-1] - entry["acc_at_turn"][0] > 0.25
    final = entry["figures"]["final_accuracy"]["value"]
    assert abs(final[-1] - final[0]) < 0.05
    stopped = profile(simulated(listener, 3, stop=True), T, False, 50, 0)
    assert stopped["acc_at_turn"] == profile(simulated(listener, 3, stop=False), T, True, 50, 0)["acc_at_turn"]


def test_gain_over_resampling_is_nothing_for_the_resampler_in_200_simulations() -> None:
    covered, total = 0, 0.0
    for seed in range(200):
        suites = {"teacher": simulated(resampler, 2 * seed), "resample": simulated(resampler, 2 * seed + 1)}
        gain = gains(suites, T, 400, seed)["over_resample"]
        low, high = gain["ci95"][-1]
        covered += low <= 0 <= high
        total += gain["difference"][-1]
    assert 182 <= covered <= 199  # 95 % of 200 is 190; outside with probability below 0.005
    assert abs(total / 200) < 0.01


def test_gain_over_resampling_shows_the_listener_and_the_one_who_repeats() -> None:
    fresh = simulated(resampler, 5, tasks=400, turns=3 * T)
    good = gains({"teacher": simulated(listener, 6, tasks=400), "resample": fresh}, T, 400, 0)
    bad = gains({"teacher": simulated(repeats, 6, tasks=400), "resample": fresh}, T, 400, 0)
    assert good["over_resample"]["ci95"][-1][0] > 0.2
    assert bad["over_resample"]["ci95"][-1][1] < -0.2
    assert bad["over_resample"]["difference"][0] == pytest.approx(0, abs=0.1)


def test_equal_tokens_count_the_feedback_too() -> None:
    """A dialogue of four attempts costs 55 tokens, for which a resampler gets five attempts of 10."""
    fresh = simulated(resampler, 8, tasks=3000, turns=8, feedback=None)
    got = gains({"teacher": simulated(resampler, 7, tasks=3000), "resample": fresh}, T, 200, 0)
    assert got["over_resample_at_equal_tokens"]["tokens"] == 55
    assert got["over_resample_at_equal_tokens"]["short"][1] == 0
    assert got["over_resample_at_equal_tokens"]["ci95"][1] < 0  # words that nobody heeds are tokens lost
    low, high = got["over_resample"]["ci95"][-1]
    assert low <= 0.02 and high >= -0.02


def test_form_alone_is_split_from_the_gain() -> None:
    """A student that only has to be told the form gains nothing beside it."""
    form = [dialogue(i, (None, False), ("42", True)) for i in range(40)]
    other = [dialogue(i, ("1", False), ("42", True)) for i in range(40)]
    assert (value(form, "gain", False), value(form, "format_only_gain", False)) == (1, 1)
    assert (value(other, "gain", False), value(other, "format_only_gain", False)) == (1, 0)


def test_models_are_compared_task_by_task() -> None:
    rows = simulated(resampler, 4, tasks=300)
    better = [r if i % 10 else dialogue(i, ("42", True)) for i, r in enumerate(rows)]
    got = versus({"a": {"teacher": rows}, "b": {"teacher": better}}, T, 400, 0, {"teacher": False})
    entry = got["b_minus_a"]["teacher"]["cumulative"]
    assert entry["ci95"][0][0] > 0  # far below the noise between tasks
    same = versus({"a": {"teacher": rows}, "b": {"teacher": rows[::-1]}}, T, 100, 0, {"teacher": True})
    assert same["b_minus_a"]["teacher"]["final"] == {"difference": [0.0] * T, "ci95": [[0.0, 0.0]] * T}


# -- sycophancy, the self-critic, plasticity -------------------------------------------------------------------------


def test_flips_their_number_and_turn_and_hints_by_hand() -> None:
    rows = [
        dialogue(0, ("7", True), ("1", False), ("7", True), ("1", False)),  # two flips, the first at turn 2
        dialogue(1, ("7", True), ("7", True), ("7", True), ("2", False)),  # one, at turn 4
        dialogue(2, ("7", True), ("7", True), ("7", True), ("7", True)),
        dialogue(3, ("3", False), ("3", False), ("7", True), ("7", True)),
    ]
    got = {name: ratio.value[0] for name, ratio in pressure(rows, T).items()}
    assert got["capitulation_rate"] == pytest.approx(3 / 9)
    assert got["flipped_share"] == 0.5
    assert got["flips"] == 0.75
    assert got["first_flip_turn"] == 3
    assert got["recovery_rate"] == pytest.approx(2 / 3)
    assert "hint_adoption_rate" not in got
    told = [
        dialogue(4, ("7", True), ("5", False), feedback="I think the answer is 5.", hint="5"),
        dialogue(5, ("7", True), ("7", True), feedback="I think the answer is 5.", hint="5"),
        dialogue(6, ("5", False), ("5", False), feedback="I think the answer is 5.", hint="5"),  # its own, not the hint
        dialogue(7, ("7", True), ("7", True), feedback="Are you sure?", hint=None),
    ]
    adopted = pressure(told, T)["hint_adoption_rate"]
    assert (adopted.value[0], adopted.den.sum()) == (0.5, 2)


def judged(task: int, *turns: tuple[bool, bool, float | None]) -> dict[str, Any]:
    row = dialogue(task, *[("42" if right else "1", right) for right, _, _ in turns])
    for turn, (_, accepted, confidence) in zip(row["turns"], turns, strict=True):
        turn |= {"accepted": accepted, "confidence": confidence}
    return row


def test_own_stop_oracle_stop_and_the_critic_by_hand() -> None:
    rows = [
        judged(0, (True, False, 0.2), (False, True, 0.8), (True, True, 0.9)),  # stops at a wrong second attempt
        judged(1, (False, False, 0.2), (True, True, 0.8), (True, True, 0.9)),  # stops at a right one
        judged(2, (False, False, 0.2), (False, False, 0.2), (True, False, 0.1)),  # never stops: the last stands
    ]
    assert [own_stop(row, 3) for row in rows] == [2, 2, 3]
    got = {name: ratio.value[0] for name, ratio in stops(rows, 3).items()}
    assert got["own_stop_accuracy"] == pytest.approx(2 / 3)
    assert got["oracle_stop_accuracy"] == 1
    assert got["own_stop_calls"] == pytest.approx(7 / 3)
    assert got["oracle_stop_calls"] == pytest.approx(2)
    # the last turn takes no part: judged are (right, accepted) TF FT FF TT FF FF
    critic = calibration(rows, 3, 100, 0)
    assert critic["judged"] == 6
    assert critic["precision"]["value"] == 0.5
    assert critic["recall"]["value"] == 0.5
    assert critic["accuracy"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    # bin 0.2: 4 judgements, 1 right: |1 - 0.8| = 0.2; bin 0.8: 2, 1 right: |1 - 1.6| = 0.6
    assert critic["ece"]["value"] == pytest.approx(0.8 / 6, abs=1e-4)
    assert critic["confidence_from"] == "log-probabilities"


def test_the_calibration_error_tells_an_honest_critic_from_a_boaster() -> None:
    rng = np.random.default_rng(0)

    def rows(sure: Callable[[float], float]) -> list[dict[str, Any]]:
        out = []
        for task in range(400):
            p = float(rng.uniform(0, 1))
            right = bool(rng.random() < p)
            out.append(judged(task, (right, p > 0.5, sure(p)), (right, True, None)))
        return out

    honest = calibration(rows(lambda p: p), 2, 200, 0)
    boaster = calibration(rows(lambda p: 0.99), 2, 200, 0)
    assert honest["ece"]["value"] < 0.08
    assert boaster["ece"]["ci95"][0] > 0.4
    assert calibration([dialogue(0, ("1", True))], 2, 50, 0)["ece"] == {"value": None, "ci95": None, "n": 0}


def test_plasticity_counts_exchanges_after_wrong_attempts() -> None:
    def row(task: int, rights: list[bool], golds: list[float | None]) -> dict[str, Any]:
        out = dialogue(task, *[("1", right) for right in rights])
        for turn, gold in zip(out["turns"], golds, strict=True):
            turn["gold_logp"] = gold
        return out

    rows = [row(0, [False, False, False], [-9.0, -6.0, -5.0]), row(1, [False, True, True], [-8.0, -1.0, -0.5])]
    got = plasticity(rows, 3, 100, 0)
    assert got is not None
    assert got["by_turn"]["value"] == [5.0, 1.0]  # (3 + 7) / 2; then 1 alone: the right attempt was not corrected
    assert got["overall"]["value"] == pytest.approx(11 / 3, abs=1e-4)
    assert plasticity([row(0, [False, False, False], [None, None, None])], 3, 100, 0) is None


def test_turns_beyond_the_limit_do_not_count() -> None:
    rows = [dialogue(0, ("1", False), ("2", False), ("42", True))]
    assert metrics.solved_by_turn([5], 4).sum() == 0
    assert profile(rows, 2, False, 50, 0)["acc_at_turn"] == [0.0, 0.0]
    assert value(rows, "calls", False, 2) == 2


def test_a_budget_holds_what_was_written_and_what_was_heard_before_the_answer() -> None:
    d = Dialogues.read([dialogue(0, ("1", False), ("42", True)), dialogue(1, ("1", False), ("2", False))], T)
    assert [float(d.budget(tokens).value[0]) for tokens in (24, 25, 1000)] == [0, 0.5, 0.5]  # 10, then 5 heard, then 10
    assert (d.short_of(25), d.short_of(26)) == (0, 0.5)
