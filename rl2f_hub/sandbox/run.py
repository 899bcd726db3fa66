"""One job in a pair of cells: the attempt in one, its tests in the other, nothing between them but two pipes.

Form `function`: the tests' process decides and reports here (`inside/checks.py`). Form `stdio`: the attempt runs as a
program once a case, and its output is compared here (`output.py`).

A `reason` may be read by whoever wrote the attempt. An attempt that has seen a test's input can choose how to fail: which
exception, which line, which signal, to be slow or wrong. So once a test has begun the reason is the number of the test
that failed and nothing else; how it failed is the first line of the private observation. What happens before that
(syntax, imports, a missing function) depends on the code alone and is told in full.
"""

from __future__ import annotations

import ast
import builtins
import json
import signal
import sys
import time
from typing import Any

from rl2f_hub.sandbox.cell import Cell, Ended, close_all, pipes
from rl2f_hub.sandbox.jobs import CodeJob, CodeResult, Limits
from rl2f_hub.sandbox.output import same_output
from rl2f_hub.sandbox.talk import Talk

GRACE_S = 0.5  # the tests' process notices a late answer itself and can say more about it; this is for when it cannot
REPORT_BYTES = 1 << 16
SHOWN = 240


class Pair:
    """Two cells: one for attempts, one for tests. One job at a time."""

    def __init__(self, limits: Limits, isolated: bool) -> None:
        self.limits = limits
        self.attempts, self.tests = Cell(limits, isolated), Cell(limits, isolated)
        self._broken = False

    def run(self, job: CodeJob) -> CodeResult:
        """The verdict of one job. Raises only when no sandbox can be started at all.

        A job during which a cell broke is run once more in new ones: an interpreter that something else killed is not
        the attempt's fault.
        """
        self._broken = False
        result = self._run(job)
        if self._broken:
            result = self._run(job)
        return result

    def _run(self, job: CodeJob) -> CodeResult:
        started = time.monotonic()
        tests = job.tests
        if tests.form == "function":
            total, (passed, reason, observation) = len(tests.tests), self._functions(job) if tests.tests else _NOTHING
        elif tests.form == "stdio":
            total, (passed, reason, observation) = len(tests.cases), self._programs(job) if tests.cases else _NOTHING
        else:
            total, (passed, reason, observation) = 0, (0, f"tests of form {tests.form[:40]!r} cannot be run", "")
        right = not reason and 0 < total == passed
        seconds = time.monotonic() - started
        reason = reason or ("all tests passed" if right else "the tests ended early")
        return CodeResult(right, reason, observation[: 5 * SHOWN], passed, total, seconds)

    def close(self) -> None:
        self.attempts.close()
        self.tests.close()

    def _functions(self, job: CodeJob) -> tuple[int, str, str]:
        """Tests passed before the first failure, its reason ("" when there is none) and its observation."""
        tests, limits = job.tests, self.limits
        code, calls, replies, checks, report = made = pipes(5)
        mine = {code[1], checks[1], report[0]}
        try:
            self.attempts.fork("functions", (code[0], calls[0], replies[1]))
            self.tests.fork("checks", (checks[0], replies[0], calls[1], report[1]))
        except BaseException:
            close_all(fd for pipe in made for fd in pipe)
            raise
        close_all(fd for pipe in made for fd in pipe if fd not in mine)
        job_text: dict[str, Any] = {"code": job.code, "context": job.context, "entry_points": tests.entry_points}
        job_text |= {"cpu_s": limits.cpu_s}
        tests_text: dict[str, Any] = {"setup": tests.setup, "tests": tests.tests, "entry_points": tests.entry_points}
        tests_text |= {"test_s": limits.test_s, "cpu_s": limits.cpu_s}
        reports = _Reports(len(tests.tests), limits.test_s + GRACE_S)
        talk = Talk({code[1]: _json(job_text), checks[1]: _json(tests_text)})
        talk.listen(report[0], reports.take)
        why = talk.run(time.monotonic() + limits.wall_s, lambda: reports.deadline)
        self.attempts.sweep()
        self.tests.sweep()
        attempt, judge = self.attempts.swept(), self.tests.swept()
        self._broken |= attempt.status is None or judge.status is None
        reason, observation = _explained(reports, why, attempt, judge, job, limits)
        return reports.passed, reason, observation

    def _programs(self, job: CodeJob) -> tuple[int, str, str]:
        ends = time.monotonic() + self.limits.wall_s
        cases = job.tests.cases
        for i, (given, wanted) in enumerate(cases):
            reason, observation = self._program(job, given, wanted, ends)
            if reason:
                return i, reason.replace(PLACE, f"test {i + 1} of {len(cases)} failed"), observation
        return len(cases), "", ""

    def _program(self, job: CodeJob, given: str, wanted: str, ends: float) -> tuple[str, str]:
        """Why one case failed ("" when it passed), with `PLACE` for which, and its observation."""
        text, given_pipe, out, err = made = pipes(4)
        mine = {text[1], given_pipe[1], out[0], err[0]}
        try:
            self.attempts.fork("program", (text[0], given_pipe[0], out[1], err[1]))
        except BaseException:
            close_all(fd for pipe in made for fd in pipe)
            raise
        close_all(fd for pipe in made for fd in pipe if fd not in mine)
        limit = self.limits.output_bytes + len(wanted.encode("utf-8", "replace"))
        printed, complaints = _Tail(limit, stop=True), _Complaints(1 << 14, stop=False)
        program = _json({"code": job.code, "context": job.context})
        talk = Talk({text[1]: program, given_pipe[1]: given.encode("utf-8", "replace")})
        talk.listen(out[0], printed.take)
        talk.listen(err[0], complaints.take)
        case_ends = time.monotonic() + self.limits.test_s
        why = talk.run(min(ends, case_ends), lambda: case_ends)
        self.attempts.sweep()
        ended = self.attempts.swept()
        self._broken |= ended.status is None
        syntax = complaints.told.get("syntax")
        if syntax:
            return f"syntax error{_at(syntax[0], job)}", str(syntax[1])
        output = bytes(printed.data).decode("utf-8", "replace")
        errors = bytes(complaints.data).decode("utf-8", "replace").strip()
        how = self._how(why, ended, errors.splitlines()[-1] if errors else "") or (
            "" if same_output(output, wanted) else "wrong output"
        )
        if how and complaints.header is None:  # nothing of the program has run
            return f"{how} before the tests", ""
        observation = f"{HOW}{how}\ninput: {_cut(given)}\nexpected: {_cut(wanted)}\nprinted: {_cut(output)}"
        observation += f"\nerrors: {errors[-SHOWN:]}" if errors else ""
        lacks = how and _lacking(job.code)
        return how and PLACE + (f"; there is no module `{lacks}` here" if lacks else ""), observation

    def _how(self, why: str, ended: Ended, last: str) -> str:
        """How a program ended, "" when by itself and without an error; `last` is the last line of its errors."""
        if why == "stopped":
            return "output limit"
        if why == "late" or _out_of_time(ended, self.limits.cpu_s):
            return "time limit"
        if ended.status is None or ended.status < 0:
            return _crash(ended)
        if ended.status and last.startswith("MemoryError"):
            return "memory limit"
        if not ended.status:
            return ""
        name = last.split(":", 1)[0]
        known = isinstance(getattr(builtins, name, None), type)
        return f"raised {name}" if known else f"ended with an error, status {ended.status}"


HOW = "failed: "  # begins the first line of an observation
PLACE = "{place}"
_NOTHING = (0, "the task has no tests", "")
_KINDS = {
    "wrong": "wrong value",
    "not plain": "the test needs plain data, and not an object of the attempt's own",
    "too large": "a value is too large to compare",
    "unsendable": "a value cannot cross the sandbox",
    "malformed": "broke the connection to its tests",
}


class _Reports:
    """What the tests' process says: tests passed, then how it ended."""

    def __init__(self, total: int, test_s: float) -> None:
        self.total, self.test_s = total, test_s
        self.passed = 0
        self.end: dict[str, Any] | None = None
        self.deadline = time.monotonic() + test_s
        self._rest = b""

    def take(self, data: bytes) -> bool:
        """Read on? False at the end or at nonsense."""
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            try:
                told = json.loads(line)
                if "end" in told:
                    self.end = dict(told["end"])
                    return False
                self.passed = min(int(told["passed"]), self.total)
            except (ValueError, TypeError, KeyError):
                return False
            self.deadline = time.monotonic() + self.test_s
        return len(self._rest) <= REPORT_BYTES


class _Tail:
    """Collects output up to a limit; beyond it either stops the job or forgets the oldest part."""

    def __init__(self, limit: int, stop: bool) -> None:
        self.limit, self.stop = limit, stop
        self.data = bytearray()

    def take(self, data: bytes) -> bool:
        self.data += data
        if len(self.data) > self.limit:
            if self.stop:
                del self.data[self.limit :]
                return False
            del self.data[: -self.limit]
        return True


class _Complaints(_Tail):
    """What a program writes to its errors; before it, in the first line, what the harness says of its code (`told`)."""

    def __init__(self, limit: int, stop: bool) -> None:
        super().__init__(limit, stop)
        self.header: bytes | None = None
        self.told: dict[str, Any] = {}
        self._first = b""

    def take(self, data: bytes) -> bool:
        if self.header is not None:
            return super().take(data)
        self._first += data
        if b"\n" not in self._first:
            return True
        self.header, _, rest = self._first.partition(b"\n")
        self.told = json.loads(self.header)
        return super().take(rest)


def _lacking(code: str) -> str:
    """A module that the program imports at its top level and that the sandbox does not have; read off its text alone."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    named = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in body if isinstance(node, ast.ImportFrom) and not node.level]
    tops = [name.partition(".")[0] for name in named]
    return next((top[:60] for top in tops if top not in sys.stdlib_module_names), "")


def _explained(
    reports: _Reports, why: str, attempt: Ended, judge: Ended, job: CodeJob, limits: Limits
) -> tuple[str, str]:
    """Reason and observation of a `function` job; reason "" when all tests passed."""
    end = reports.end or {}
    kind, observation = str(end.get("kind", "")), str(end.get("observation", ""))
    if kind == "passed":
        return "", ""
    how = _how_it_failed(kind, end, why, attempt, judge, job, limits)
    if kind in ("syntax", "missing", "load") or end.get("before") is True:
        return how, observation
    return f"test {reports.passed + 1} of {reports.total} failed", f"{HOW}{how}\n{observation}".rstrip()


def _how_it_failed(
    kind: str, end: dict[str, Any], why: str, attempt: Ended, judge: Ended, job: CodeJob, limits: Limits
) -> str:
    before = " before the tests" if end.get("before") is True or kind == "load" else ""
    name = str(end.get("name", ""))
    known = name if isinstance(getattr(builtins, name, None), type) else "an exception of its own"
    most = limits.cpu_s if before else max(limits.cpu_s, limits.wall_s)  # tests renew the time that they have
    if _out_of_time(attempt, most) or why == "late" or kind == "time":
        return f"time limit{before}"
    if kind == "syntax":
        return f"syntax error{_at(end.get('line'), job)}"
    if kind == "missing":
        return f"does not define `{name if name in job.tests.entry_points else job.tests.entry_points[0]}`"
    if name == "MemoryError" and kind in ("load", "raised"):
        return "memory limit"
    if kind in ("load", "raised"):
        return f"raised {known}{_at(end.get('line'), job)}{before}"
    if kind == "gone" and (attempt.status is None or attempt.status < 0):
        return f"{_crash(attempt)}{before}"
    if kind in ("exit", "gone"):
        return f"exited{before}"
    if kind == "tests":
        return f"the value makes the test itself raise {known}"
    if kind in _KINDS:
        return _KINDS[kind] + before
    return (
        "time limit of the tests themselves" if _out_of_time(judge, limits.cpu_s) else "the tests' process ended early"
    )


def _at(line: Any, job: CodeJob) -> str:
    return f" on line {line}" if isinstance(line, int) and 0 < line <= job.code.count("\n") + 1 else ""


def _out_of_time(ended: Ended, cpu_s: float) -> bool:
    return ended.status == -signal.SIGXCPU or (ended.status == -signal.SIGKILL and ended.cpu_s >= cpu_s)


def _crash(ended: Ended) -> str:
    if ended.status is None:
        return "broke its sandbox, which was replaced"
    if ended.status == -signal.SIGKILL:
        return "closed its connection or was killed"
    try:
        return f"crashed ({signal.Signals(-ended.status).name})"
    except ValueError:
        return f"crashed (signal {-ended.status})"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _cut(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN])[: 2 * SHOWN] + ("..." if len(text) > SHOWN else "")
