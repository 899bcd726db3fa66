"""What dialogues show, turn by turn: pure functions over dialogue rows, no model and no file. See docs/evaluation.md.

`Dialogues` reads rows once into arrays of (dialogues, turns); every figure is then a share or a mean of such arrays,
an `intervals.Ratio`. Rows of the same task (several seeds) are one cluster.

Three accuracies, never mixed up:
- cumulative: solved at or before turn t. Whoever counts it knows the answer and stops there: the oracle's stop.
- of the attempt: of those who made attempt t, how many were right. After an oracle's stop only the unsolved make it.
- final: the answer that stands at turn t when nobody says when to stop. Only dialogues that went on after a right
  attempt can tell (`went_on`): there, regressions count against the student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl2f_hub.evaluation.intervals import Ratio, bootstrap_interval, estimate, paired_difference

__all__ = ["Dialogues", "accuracy", "bootstrap_interval", "paired_difference", "profile", "solved_by_turn"]


def solved_by_turn(solved_at: Sequence[int], max_turns: int) -> np.ndarray:
    """(n, max_turns) of 0/1: solved at or before turn t. Its column means are the cumulative accuracy by turn.

    `solved_at` (n,) counts turns from 1; 0 is never.
    """
    solved = np.asarray(solved_at)[:, None]
    turns = np.arange(1, max_turns + 1)[None, :]
    return ((solved > 0) & (solved <= turns)).astype(np.float64)


@dataclass(frozen=True)
class Dialogues:
    """Rows of one student under one suite. Every array but the first two is (n, T); what was not attempted is 0.

    Attributes:
        tasks: the ids of the tasks, in order of appearance.
        task: (n,) the index of each row's task.
        made: the attempt was made.
        right, unanswered, cut: of attempts: correct; no answer could be read; ended by the token limit.
        changed, repeated: of second and later attempts: another answer than before; the same words as before.
        same: the same answer as before (unlike `repeated`, other words do not matter).
        fed, leaked: feedback followed; the guard saw the answer in it.
        tokens, heard: tokens that the student wrote; tokens of the feedback after the attempt. nan where not counted.
    """

    tasks: list[str]
    task: np.ndarray
    made: np.ndarray
    right: np.ndarray
    unanswered: np.ndarray
    cut: np.ndarray
    changed: np.ndarray
    repeated: np.ndarray
    same: np.ndarray
    fed: np.ndarray
    leaked: np.ndarray
    tokens: np.ndarray
    heard: np.ndarray

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]], max_turns: int) -> Dialogues:
        """From dialogue rows as `Dialogue.to_row` makes them; turns after `max_turns` are left out."""
        tasks = list(dict.fromkeys(row["task_id"] for row in rows))
        number = {task: i for i, task in enumerate(tasks)}
        names = ("made", "right", "unanswered", "cut", "changed", "repeated", "same", "fed", "leaked")
        flags = {name: np.zeros((len(rows), max_turns), dtype=bool) for name in names}
        counts = {name: np.zeros((len(rows), max_turns)) for name in ("tokens", "heard")}
        for i, row in enumerate(rows):
            before: dict[str, Any] | None = None
            for t, turn in enumerate(row["turns"][:max_turns]):
                flags["made"][i, t] = True
                flags["right"][i, t] = turn["correct"]
                flags["unanswered"][i, t] = turn.get("answer") is None
                flags["cut"][i, t] = bool(turn.get("cut"))
                flags["fed"][i, t] = turn["feedback"] is not None
                flags["leaked"][i, t] = bool(turn.get("leaked"))
                if before is not None:
                    flags["repeated"][i, t] = turn["attempt"].strip() == before["attempt"].strip()
                    flags["same"][i, t] = said(turn) == said(before)
                    flags["changed"][i, t] = not flags["same"][i, t]
                for name, key in (("tokens", "student_tokens"), ("heard", "heard_tokens")):
                    value = turn.get(key)
                    counts[name][i, t] = np.nan if value is None else value
                before = turn
        return cls(tasks, np.array([number[row["task_id"]] for row in rows], dtype=int), **flags, **counts)

    @property
    def solved_at(self) -> np.ndarray:
        """(n,) the first right turn, 1-based; 0 if there is none."""
        return np.where(self.right.any(1), self.right.argmax(1) + 1, 0)

    @property
    def cumulative(self) -> np.ndarray:
        """(n, T): solved at or before turn t."""
        return np.maximum.accumulate(self.right, axis=1)

    @property
    def standing(self) -> np.ndarray:
        """(n, T): whether the answer that stands at turn t is right: that of attempt t, or of the last one before."""
        last = np.maximum(self.made.sum(1) - 1, 0)
        turn = np.minimum(np.arange(self.made.shape[1])[None, :], last[:, None])
        return np.take_along_axis(self.right, turn, axis=1)

    @property
    def counted(self) -> np.ndarray:
        """(n, T): attempts up to the first right one, which is where a teacher who knows the answer stops."""
        solved = self.solved_at[:, None]
        return self.made & ((solved == 0) | (np.arange(1, self.made.shape[1] + 1)[None, :] <= solved))

    def ratio(self, num: np.ndarray, den: np.ndarray, share: bool = True) -> Ratio:
        """`num` for each `den` by task: a `share`, else a count; (n,) or (n, k) arrays."""
        return Ratio.of(num, den, share).by_task(self.task)

    def mean(self, values: np.ndarray, share: bool = True) -> Ratio:
        """A mean of `values` over dialogues, a `share` or a count; (n,) or (n, k)."""
        return self.ratio(values, np.ones_like(np.asarray(values, dtype=float)), share)

    def budget(self, tokens: float) -> Ratio:
        """Solved with at most `tokens` of new context (the student's attempts and the feedback between them)."""
        return self.mean(self._spent_to_solve() <= tokens)

    def short_of(self, tokens: float) -> float:
        """Share of dialogues that ended unsolved although `tokens` were not used up: they might have gone on."""
        spent = (np.nan_to_num(self.tokens) * self.made).sum(1) + (np.nan_to_num(self.heard[:, :-1])).sum(1)
        return float(((self.solved_at == 0) & (spent < tokens)).mean()) if len(spent) else 0.0

    def _spent_to_solve(self) -> np.ndarray:
        written = np.cumsum(self.tokens, axis=1)
        read = np.cumsum(self.heard, axis=1) - self.heard  # the feedback before each attempt
        index = np.maximum(self.solved_at - 1, 0)[:, None]
        spent = np.take_along_axis(written + read, index, axis=1)[:, 0]
        return np.where(self.solved_at > 0, spent, np.inf)


def said(turn: dict[str, Any]) -> str:
    """What an attempt comes down to: its answer, or all of its words where none was found."""
    answer = turn.get("answer")
    return turn["attempt"].strip() if answer is None else str(answer).strip()


def accuracy(solved_at: Sequence[int], max_turns: int, resamples: int, seed: int) -> dict[str, Any]:
    """`acc_at_turn` up to `max_turns` and its `ci95` (a [low, high] pair a turn), one dialogue a task.

    `solved_at` as in `solved_by_turn`; the bootstrap draws `resamples` times, from `seed`.
    """
    table = solved_by_turn(solved_at, max_turns)
    interval = bootstrap_interval(table, resamples, seed)
    return {"acc_at_turn": [round(float(x), 4) for x in table.mean(0)], "ci95": np.round(interval, 4).tolist()}


def ratios(d: Dialogues, went_on: bool) -> dict[str, Ratio]:
    """Every figure of a suite as a `Ratio`, by name; those of one column are over all turns."""
    follows = d.made[:, 1:]  # an attempt after another
    wrong, was_right = d.made[:, :-1] & ~d.right[:, :-1], d.right[:, :-1]
    later = follows.sum(1)
    earlier_unread = np.cumprod(np.where(d.made & ~d.right, d.unanswered, True), axis=1).astype(bool)
    before_solved = np.concatenate([np.ones((len(d.task), 1), dtype=bool), earlier_unread[:, :-1]], axis=1)
    by_format = (d.right & before_solved).any(1) & ~d.right[:, 0]
    gained = (d.cumulative[:, -1] & ~d.right[:, 0]).astype(float)
    heard = ((np.nan_to_num(d.heard) * (d.counted & ~d.right))[:, :-1] * follows).sum(1)
    out = {
        "attempt_accuracy": d.ratio(d.right, d.made),
        "correction_by_turn": d.ratio(wrong & follows & d.right[:, 1:], wrong & follows),
        "correction_rate": d.ratio((wrong & follows & d.right[:, 1:]).sum(1), (wrong & follows).sum(1)),
        "exact_repeat_rate": d.ratio((wrong & d.repeated[:, 1:]).sum(1), (wrong & follows).sum(1)),
        "wrong_answer_repeat_rate": d.ratio((wrong & d.same[:, 1:]).sum(1), (wrong & follows).sum(1)),
        "answer_change_rate": d.ratio(d.changed.sum(1), later),
        "format_error_rate": d.ratio(d.unanswered.sum(1), d.made.sum(1)),
        "cut_rate": d.ratio(d.cut.sum(1), d.made.sum(1)),
        "leak_rate": d.ratio(d.leaked.sum(1), d.fed.sum(1)),
        "gain": d.mean(gained),
        "format_only_gain": d.mean(by_format),
        "calls": d.mean(d.counted.sum(1), share=False),
    }
    if not np.isnan(d.tokens).any():
        out["student_tokens"] = d.mean((d.tokens * d.counted).sum(1), share=False)
    if not np.isnan(d.heard).any():
        out["feedback_tokens"] = d.mean(heard, share=False)
        out["gain_per_1000_feedback_tokens"] = d.ratio(1000 * gained, heard, share=False)
    if went_on:
        out["final_accuracy"] = d.mean(d.standing)
        out["regression_rate"] = d.ratio((was_right & follows & ~d.right[:, 1:]).sum(1), (was_right & follows).sum(1))
    return out


def profile(rows: Sequence[dict[str, Any]], max_turns: int, went_on: bool, resamples: int, seed: int) -> dict[str, Any]:
    """All figures of a suite with their intervals, as `metrics.json` has them for each student and suite.

    Args:
        rows: dialogues of one student under one suite, as `Dialogue.to_row` makes them.
        max_turns: turns after it are left out.
        went_on: the dialogues went on after a right attempt.
        resamples: how often the bootstrap draws, from `seed`.
    """
    d = Dialogues.read(rows, max_turns)
    cumulative = estimate(d.mean(d.cumulative), resamples, seed)
    figures = {name: estimate(ratio, resamples, seed) for name, ratio in ratios(d, went_on).items()}
    return {
        "acc_at_turn": cumulative["value"],
        "ci95": cumulative["ci95"],
        "n": len(d.tasks),
        "dialogues": len(rows),
        "repeat_rate": figures["exact_repeat_rate"]["value"],
        "oracle_stop": not went_on,
        "figures": figures,
    }
