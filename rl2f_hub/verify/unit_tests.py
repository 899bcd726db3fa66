"""Verifier `unit_tests`: the attempt's code passes the task's hidden tests, run in the sandbox.

Which part of an attempt is the code says `code_blocks.py`. A function body
without its header is read as a continuation of the prompt, as completion models write it; a whole function finds the
imports and helpers of the prompt beside it, as if it stood there, and the imports that the benchmark's own grader gives it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from rl2f_hub.records import Task, Verdict
from rl2f_hub.sandbox.jobs import CodeJob, CodeResult, CodeTests
from rl2f_hub.verify.base import Verifier
from rl2f_hub.verify.code_blocks import defined_names, find_code


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
        jobs.append(_job(task, attempt, tests))
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


def _job(task: Task, text: str, tests: CodeTests) -> CodeJob:
    """The code to run: what the attempt defines, beside the prompt's imports and helpers, or the prompt continued."""
    found = find_code(text, tests.entry_points)
    config = task.settings
    prelude = "\n".join(filter(None, [_text(config, "prelude"), found.helpers]))
    header = _text(config, "header")  # the code that the prompt asks to complete
    code, defined = _with_methods(found.code, tests.entry_points)
    if not header:
        return CodeJob(code, tests, prelude)
    names = "|".join(map(re.escape, tests.entry_points))
    if defined is None and re.search(rf"^(?:async[ \t]+)?(?:def|class)[ \t]+(?:{names})\b", code, re.MULTILINE):
        return CodeJob(code, tests)  # a whole function that does not parse: the line of the error is to be its own
    if defined is not None and set(tests.entry_points) <= defined:
        return CodeJob(code, tests, "\n".join(filter(None, [_context(header, tests.entry_points), prelude])))
    return CodeJob(header + ("" if header.endswith("\n") else "\n") + code, tests)


def _text(config: dict[str, Any], name: str) -> str:
    value = config.get(name)
    return value if isinstance(value, str) else ""


def _with_methods(code: str, wanted: tuple[str, ...]) -> tuple[str, set[str] | None]:
    """The code, and what it defines (None: it does not parse); a method of `class Solution` is a function too.

    So the graders of APPS, TACO and LiveCodeBench have it: they call the method of one `Solution()`.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code, None
    defined = defined_names(tree)
    solution = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Solution"), None)
    methods = [n.name for n in solution.body if isinstance(n, ast.FunctionDef)] if solution else []
    taken = [name for name in wanted if name in methods and name not in defined]
    if taken:
        code = f"{code.rstrip()}\n\n\n_solution = Solution()\n"
        code += "".join(f"{name} = _solution.{name}\n" for name in taken)
    return code, defined | set(taken)


def _context(header: str, entry_points: tuple[str, ...]) -> str:
    """The header's imports and helper functions, without the function that it begins."""
    try:
        body = ast.parse(header).body
    except (SyntaxError, ValueError, RecursionError):
        return ""  # it ends within the function, and what stands before cannot be told apart
    return "\n".join(ast.unparse(node) for node in body if getattr(node, "name", None) not in entry_points)


def _verdict(job: CodeJob, result: CodeResult) -> Verdict:
    share = result.passed_tests / result.total_tests if result.total_tests else 0.0
    return Verdict(result.passed, 1.0 if result.passed else share, job.code, result.reason, result.observation)


UNIT_TESTS = Verifier(
    unit_tests,
    check_unit_tests,
    right_attempt=lambda task: task.privilege.solution,
    judge_many=judge_many,
    takes_all=True,
    is_remote=True,
)
