"""Verifier `unit_tests`: the attempt's code passes the task's hidden tests, run in the sandbox.

The code is the last fenced block that defines what the tests call, else the last fenced block, else the whole attempt.
A function body without its header is read as a continuation of the prompt, as completion models write it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence

from rl2f_hub.records import Task, Verdict
from rl2f_hub.sandbox.jobs import CodeJob, CodeResult, CodeTests
from rl2f_hub.verify.extract import extract_code


def unit_tests(task: Task, attempt: str) -> Verdict:
    """Right when every test passes; the score is the share of tests passed before the first failure."""
    judged = judge_many([(task, attempt)])[0]
    if isinstance(judged, Exception):
        raise judged
    return judged


def judge_many(items: Sequence[tuple[Task, str]]) -> list[Verdict | Exception]:
    """Verdicts for many (task, attempt), run in parallel."""
    from rl2f_hub.sandbox import shared

    out: list[Verdict | Exception | None] = [None] * len(items)
    jobs: list[CodeJob] = []
    places: list[int] = []
    for i, (task, attempt) in enumerate(items):
        try:
            tests = CodeTests.from_json(task.privilege.tests)
        except ValueError as error:
            out[i] = error
            continue
        jobs.append(CodeJob(_program(task, attempt, tests), tests))
        places.append(i)
    for i, job, result in zip(places, jobs, shared().run(jobs) if jobs else [], strict=True):
        out[i] = _verdict(job, result)
    return [verdict for verdict in out if verdict is not None]


def check_unit_tests(task: Task) -> None:
    """Raises ValueError when the tests cannot be read or parsed. Does not run them."""
    tests = CodeTests.from_json(task.privilege.tests)
    if tests.form == "function":
        if not tests.tests or not tests.entry_points:
            raise ValueError("the task has no tests or names no function to test")
        for source in (tests.setup, *tests.tests):
            try:
                ast.parse(source)
            except (SyntaxError, ValueError, RecursionError) as error:
                raise ValueError(f"the tests are not valid Python: {error}") from None
    elif tests.form != "stdio" or not tests.cases:
        raise ValueError(f"tests of form {tests.form!r} with {len(tests.cases)} cases cannot be run")


def _program(task: Task, attempt: str, tests: CodeTests) -> str:
    code = extract_code(attempt, tests.entry_points)
    header = json.loads(task.config).get("header", "")  # the code that the prompt asks to complete
    if header and not _defines(code, tests.entry_points):
        return header + ("" if header.endswith("\n") else "\n") + code
    return code


def _defines(code: str, names: tuple[str, ...]) -> bool:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    defined |= {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    return set(names) <= defined


def _verdict(job: CodeJob, result: CodeResult) -> Verdict:
    share = result.passed_tests / result.total_tests if result.total_tests else 0.0
    return Verdict(result.passed, 1.0 if result.passed else share, job.code, result.reason, result.observation)
