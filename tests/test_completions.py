"""What small real models wrote is judged as a person judged it: `data/completions.jsonl`, labelled by reading."""

from __future__ import annotations

from collections import Counter

from completions import labelled, task_of, verdicts

from rl2f_hub.verify import verifier_of

ROWS = labelled()
AGREEMENT, FALSE_ACCEPTS = 0.94, 6  # measured: docs/validation.md. Raise them with the reader, never lower them


def test_the_labelled_completions_are_of_many_kinds() -> None:
    assert len(ROWS) >= 300
    assert len({row["source"] for row in ROWS}) >= 15
    assert {row["temperature"] for row in ROWS} == {0.0, 1.0}
    assert {row["turn"] for row in ROWS} == {1, 2}
    assert len({row["student"] for row in ROWS}) == 2
    assert sum(row["correct"] for row in ROWS) >= 60
    for row in ROWS:
        verifier_of(task_of(row)).check(task_of(row))


def test_verdicts_agree_with_the_labels() -> None:
    said = verdicts(ROWS)
    disagreed = [row["attempt"] for row, correct in zip(ROWS, said, strict=True) if correct != row["correct"]]
    assert len(disagreed) <= (1 - AGREEMENT) * len(ROWS), disagreed
    accepted = [row for row, correct in zip(ROWS, said, strict=True) if correct and not row["correct"]]
    assert len(accepted) <= FALSE_ACCEPTS, (
        accepted
    )  # a wrong attempt that is paid does more harm than a right one that is not


def test_no_verifier_agrees_by_refusing_everything() -> None:
    rows = [row for row in ROWS if row["correct"]]
    accepted = Counter(row["verifier"] for row, correct in zip(rows, verdicts(rows), strict=True) if correct)
    for verifier, right in Counter(row["verifier"] for row in rows).items():
        assert accepted[verifier] >= 0.6 * right, verifier
