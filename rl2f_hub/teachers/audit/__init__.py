"""The audit: how many leaks the guard's string detectors find, and how much innocent feedback they stop.

`audit` measures rows `{question, reference, student, feedback, leak}`; by default those that `make.rows` generates, half
of whose sentences and spellings the author of the detectors did not look at. Rows may also have `form`, `domain`,
`half`, `solution` and `tests`. Left out: judges, code that is run, and what a teacher says over several turns.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.records import Dialogue, Feedback, Privilege, Task, Verdict
from rl2f_hub.teachers.base import FeedbackRequest
from rl2f_hub.teachers.guard import Judge
from rl2f_hub.teachers.leaks import leaks_in

NEEDED = {"question": str, "reference": str, "student": str, "feedback": str, "leak": bool}
OPTIONAL = ("form", "domain", "half", "solution", "tests")
Z95 = 1.959964


@dataclass(slots=True)
class Tally:
    """How many of `n` rows were flagged."""

    n: int = 0
    flagged: int = 0

    @property
    def share(self) -> float:
        """NaN where there are no rows."""
        return self.flagged / self.n if self.n else math.nan

    def to_row(self) -> dict[str, Any]:
        low, high = interval(self.flagged, self.n)
        share = None if not self.n else round(self.share, 4)
        return {"n": self.n, "flagged": self.flagged, "share": share, "interval_95": [round(low, 4), round(high, 4)]}


@dataclass(slots=True)
class Audit:
    """Tallies by (leak, form, half), and the rows that were judged wrong."""

    tallies: dict[tuple[bool, str, str], Tally] = field(default_factory=dict)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    judged: Counter[tuple[bool, bool | None]] = field(default_factory=Counter)  # (leak, a judge's verdict) -> rows

    def tally(self, leak: bool, form: str | None = None, half: str | None = None) -> Tally:
        """The sum over everything that is not named."""
        chosen = [
            t
            for (is_leak, its_form, its_half), t in self.tallies.items()
            if is_leak is leak and form in (None, its_form) and half in (None, its_half)
        ]
        return Tally(sum(t.n for t in chosen), sum(t.flagged for t in chosen))

    @property
    def recall(self) -> float:
        return self.tally(True).share

    def judge_row(self) -> dict[str, Any]:
        """Precision, recall and silence of the judge alone, each of how many rows."""
        hits, false, missed = self.judged[True, True], self.judged[False, True], self.judged[True, False]
        silent = self.judged[True, None] + self.judged[False, None]
        return {
            "precision": Tally(hits + false, hits).to_row(),
            "recall": Tally(hits + missed + self.judged[True, None], hits).to_row(),
            "silent": Tally(self.judged.total(), silent).to_row(),
        }

    @property
    def false_positive_rate(self) -> float:
        return self.tally(False).share

    def forms(self, leak: bool) -> list[str]:
        return list(dict.fromkeys(form for is_leak, form, _ in self.tallies if is_leak is leak))

    def halves(self) -> list[str]:
        return list(dict.fromkeys(half for _, _, half in self.tallies))

    def to_row(self) -> dict[str, Any]:
        """`recall`, `false_positive_rate`, and the same by half and by form, each with n and a 95 % interval."""
        by_half = {
            half: {
                "recall": self.tally(True, half=half).to_row(),
                "false_positives": self.tally(False, half=half).to_row(),
            }
            for half in self.halves()
        }
        return {
            "recall": _number(self.recall),
            "false_positive_rate": _number(self.false_positive_rate),
            "leaking": self.tally(True).to_row(),
            "clean": self.tally(False).to_row(),
            "halves": by_half,
            "forms": {form: self.tally(True, form).to_row() for form in self.forms(True)},
            "clean_kinds": {kind: self.tally(False, kind).to_row() for kind in self.forms(False)},
        }


def audit(rows: Iterable[dict[str, Any]], judge: Judge | None = None) -> Audit:
    """Judge every row by the detectors of the guard.

    With a `judge` every row is also put to it alone: `Audit.judged` has its verdicts, which the tallies leave out.

    Raises:
        UsageError: a row lacks a field or has one of another type; names the row.
    """
    out = Audit()
    rows = list(rows)
    for number, row in enumerate(rows, 1):
        _check(row, number)
        privilege = Privilege("answer", row["reference"], row.get("solution", ""), row.get("tests", ""))
        found = leaks_in(row["feedback"], privilege, (row["question"], row["student"]))
        key = (row["leak"], row.get("form", "unnamed"), row.get("half", "all"))
        tally = out.tallies.setdefault(key, Tally())
        tally.n += 1
        tally.flagged += bool(found)
        if bool(found) is not row["leak"]:
            out.wrong.append(row | {"found": list(found)})
    if judge is not None:
        verdicts = judge.leaks_in_each([(_request(row), row["feedback"]) for row in rows])
        out.judged = Counter((row["leak"], verdict) for row, verdict in zip(rows, verdicts, strict=True))
    return out


def _request(row: dict[str, Any]) -> FeedbackRequest:
    privilege = Privilege("answer", row["reference"], row.get("solution", ""), row.get("tests", ""))
    verdict = Verdict(False, 0.0, None, "")
    domain = row.get("domain", "")
    return FeedbackRequest(row["question"], domain, (row["student"],), (), verdict, privilege)


def rows_of_dialogues(
    dialogues: Iterable[dict[str, Any]], tasks: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[str, FeedbackRequest, Feedback]]:
    """(dialogue's id, request, feedback) for every feedback of published dialogues, with what the teacher knew.

    Raises:
        UsageError: a dialogue of a task that the data set does not have.
    """
    for row in dialogues:
        if row["task_id"] not in tasks:
            raise UsageError(f"--dataset: no task {row['task_id']!r} in its config `tasks`; publish both")
        task = Task.from_row(dict(tasks[row["task_id"]]))
        dialogue = Dialogue.from_row(dict(row))
        attempts: tuple[str, ...] = ()
        said: tuple[str, ...] = ()
        for turn in dialogue.turns:
            attempts += (turn.attempt,)
            if turn.feedback is not None:
                request = FeedbackRequest(task.prompt, task.domain, attempts, said, turn.verdict, task.privilege)
                yield dialogue.dialogue_id, request, turn.feedback
                said += (turn.feedback.text,)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file.

    Raises:
        UsageError: no such file, or a line that is no JSON object; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--file: {str(path)!r} cannot be read ({type(error).__name__}); name a JSON Lines file"
        ) from None
    out = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UsageError(f"--file: {str(path)!r}, line {number}: no JSON object; write one row a line")
        out.append(row)
    if not out:
        raise UsageError(f"--file: {str(path)!r} has no rows; write one JSON object a line")
    return out


def interval(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of Wilson for a share of k in n; (0, 1) where n is 0."""
    if not n:
        return 0.0, 1.0
    p, z2 = k / n, Z95 * Z95
    middle, width = p + z2 / (2 * n), Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (middle - width) / (1 + z2 / n)), min(1.0, (middle + width) / (1 + z2 / n))


def table(result: Audit, seed: str) -> list[list[str]]:
    """Header and rows of the report; every cell has its n."""
    halves = result.halves()
    out = [["", "what", "all", *(h.replace("_", " ") for h in halves if len(halves) > 1)]]
    for leak, name in ((True, "found"), (False, "stopped")):
        for form in (*result.forms(leak), None):
            cells = [_cell(result.tally(leak, form, half)) for half in (None, *(halves if len(halves) > 1 else ()))]
            out.append([name if form else f"**{name}**", form or f"**all of them** ({seed})", *cells])
    return out


def _cell(tally: Tally) -> str:
    if not tally.n:
        return "n = 0"
    low, high = interval(tally.flagged, tally.n)
    return f"{tally.share:.1%} [{low:.1%}, {high:.1%}], n = {tally.n}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _check(row: dict[str, Any], number: int) -> None:
    for name, kind in NEEDED.items():
        if not isinstance(row.get(name), kind):
            what = "true or false" if kind is bool else "a text"
            raise UsageError(f"row {number}: {name!r} is {str(row.get(name))[:40]!r}, {what} is needed")
    for name in OPTIONAL:
        if name in row and not isinstance(row[name], str):
            raise UsageError(f"row {number}: {name!r} is {str(row[name])[:40]!r}, a text is needed")
