"""`report.md` of an evaluation, and dialogues as text for it and for the terminal.

Ten dialogues are shown, chosen by rule and not by hand: failures first, then answers that were lost, then late ones.
Everything in them is outside text: fenced so that it stays text, without control characters.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from rl2f_hub.evaluation.report import TABLES, markdown_table

SHOWN = 10
MAX_CHARS = 1500  # of one text in the report


def report(result: dict[str, Any], rows: Sequence[dict[str, Any]], figures: Sequence[str]) -> str:
    """The report in Markdown: how it was measured, every table, figures, sampled dialogues.

    Args:
        rows: dialogue rows with `model` and `suite`.
        figures: file names beside the report.
    """
    plan = result["plan"]
    parts = ["# Evaluation", _how(result)]
    for title, build in TABLES:
        table = build(result)
        if len(table) > 1:
            parts += [f"## {title}", markdown_table([[_cell(c) for c in row] for row in table])]
    parts += [f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in figures]
    chosen = sample(rows, plan["max_turns"])
    if chosen:
        parts.append(
            f"## {len(chosen)} dialogues\n\nChosen by rule: failures, answers lost again, late and early ones."
        )
        parts += [as_markdown(row) for row in chosen]
    return "\n\n".join(parts) + "\n"


def _how(result: dict[str, Any]) -> str:
    plan = result["plan"]
    decoding = f"sampled at {plan['temperature']:g}" if plan["temperature"] else "greedy"
    cpu = result["hardware"].get("gpu") or f"{result['hardware']['cores']} cores of {result['hardware']['cpu']}"
    stop = (
        'Dialogues with the teacher and with "try again" went on after right attempts.'
        if plan["plays_on"]
        else "Every dialogue ended at its first right attempt (an oracle's stop)."
    )
    return (
        f"{plan['tasks']['n']} tasks (fingerprint `{plan['tasks']['fingerprint']}`), at most {plan['max_turns']} turns of "
        f"{plan['turn_tokens']} tokens, {decoding}, seeds {', '.join(map(str, plan['seeds']))}, teacher "
        f"`{plan['teacher']['kind']}`, {cpu}. {stop} Intervals are 95 % bootstraps over tasks; differences are paired. "
        "What each figure means: docs/evaluation.md of rl2f_hub."
    )


def sample(rows: Sequence[dict[str, Any]], max_turns: int) -> list[dict[str, Any]]:
    """Up to ten dialogues: four failures, two that lost a right answer, two solved late, two solved at once, then any.

    Drawn with a fixed seed from dialogues with the teacher, or from all where there are none.
    """
    pool = [row for row in rows if row["suite"] == "teacher"] or list(rows)
    random.Random(0).shuffle(pool)

    def lost(row: dict[str, Any]) -> bool:
        return bool(row["solved_at"]) and not row["turns"][-1]["correct"]

    groups = (
        (4, lambda row: not row["solved_at"]),
        (2, lost),
        (2, lambda row: row["solved_at"] > 1 and not lost(row)),
        (2, lambda row: row["solved_at"] == 1 and not lost(row)),
        (SHOWN, lambda row: True),
    )
    chosen: list[dict[str, Any]] = []
    for count, fits in groups:
        left = [row for row in pool if fits(row) and not any(row is c for c in chosen)]
        chosen += left[: min(count, SHOWN - len(chosen))]
    return chosen


def as_markdown(row: dict[str, Any]) -> str:
    """One dialogue for the report."""
    ending = f"solved at turn {row['solved_at']}" if row["solved_at"] else "not solved"
    head = f"### {_cell(row['task_id'])}: {_cell(row['model'])}, {row['suite']}, {ending}"
    parts = [head, _fenced(row["messages"][0]["content"])]
    for t, turn in enumerate(row["turns"], 1):
        mark = "right" if turn["correct"] else ("no readable answer" if turn["answer"] is None else "wrong")
        parts.append(f"Attempt {t}, {mark}:\n\n{_fenced(turn['attempt'])}")
        if turn["feedback"] is not None:
            parts.append(f"{row['teacher']}:\n\n{_fenced(turn['feedback'])}")
    return "\n\n".join(parts)


def _fenced(text: str) -> str:
    """Outside text as a code block that nothing in it can close."""
    text = clean(text)[:MAX_CHARS] or "(nothing)"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _cell(text: str) -> str:
    """Outside text in a heading or a table: no markup, no HTML."""
    line = " ".join(clean(text).split())
    return "".join(f"&#{ord(c)};" if c in "<>&`*[]|\\#" else c for c in line)


def clean(text: str) -> str:
    """Without control characters, line ends and tabs kept: a log must not be able to write to the terminal."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
