"""Verdicts per second, one process, by verifier and by kind of attempt; beside them a peer on the same attempts.

    python tests/bench/bench_verify.py
    PYTHONPATH=CHECKOUT python tests/bench/bench_verify.py      # the same attempts, judged by another commit

Attempts: `cases` are those of tests/verify/cases.jsonl, each judged once a round; `completions` what small models wrote
(tests/data); `bare` a number, letter or word alone, as the quickstart's student answers. The first round
has empty caches (`cold`), the median of five is `warm`. The peer, for `math`, is math-verify's own `parse` and `verify`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import math_verify

from rl2f_hub.records import Privilege, Task
from rl2f_hub.verify import verify_many

TESTS = Path(__file__).parent.parent
ROUNDS = 5
Case = dict[str, Any]


def cases_of(kind: str, verifier: str) -> list[Case]:
    """The attempts of a kind."""
    if kind == "bare":
        bare = {"integer": "408", "math": "408", "choice": "B", "text": "plum", "grid": "1 2\n3 4"}[verifier]
        config = {"options": ["10", "12", "15"]} if verifier == "choice" else {}
        wrong = bare.translate(str.maketrans("4BpP", "7CtT"))
        pair = [{"reference": bare, "attempt": attempt, "config": config} for attempt in (bare, wrong)]
        return [case | {"verifier": verifier} for case in pair * 50]
    path = TESTS / ("verify/cases.jsonl" if kind == "cases" else "data/completions.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [case for case in map(json.loads, lines) if case["verifier"] == verifier]


def task_of(case: Case) -> Task:
    """The task of an attempt."""
    privilege = Privilege("answer", case["reference"])
    return Task("t", "bench", "bench", "What is asked?", privilege, case["verifier"], json.dumps(case["config"]))


def per_second(judge: Callable[[], object], count: int) -> tuple[float, float]:
    """Verdicts per second: of the first round, and of the median round."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        judge()
        seconds.append(time.perf_counter() - start)
    return count / seconds[0], count / statistics.median(seconds)


def judge_as_peer(cases: list[Case]) -> None:
    """math-verify's verdict on each."""
    for case in cases:
        gold = case["reference"].rsplit("####", 1)[-1].strip()
        math_verify.verify(math_verify.parse(f"${gold}$"), math_verify.parse(case["attempt"]))


def main() -> None:
    print(f"{'verifier':9} {'attempts':12} {'cold/s':>8} {'warm/s':>8} {'us each':>8} {'peer/s':>8}")
    for verifier in ("integer", "choice", "text", "grid", "math"):
        for kind in ("cases", "completions", "bare"):
            cases = cases_of(kind, verifier)
            items = [(task_of(case), case["attempt"], ()) for case in cases]
            verify_many(items[:1])  # starts the time-limited child
            cold, warm = per_second(partial(verify_many, items), len(items))
            peer = f"{per_second(partial(judge_as_peer, cases), len(cases))[1]:8.0f}" if verifier == "math" else ""
            print(f"{verifier:9} {kind:12} {cold:8.0f} {warm:8.0f} {1e6 / cold:8.0f} {peer}")


if __name__ == "__main__":
    main()
