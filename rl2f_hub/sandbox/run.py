"""One job in a pair of cells: the attempt in one, its tests in the other, nothing between them but two pipes.

Form `function`: the tests' process decides and reports here (`inside/checks.py`). Form `stdio`: the attempt runs as a
program once a case, and its output is compared here: lines must agree after white space at their ends is dropped, and
blank lines at the end do not count.

A `reason` never holds anything of a test's content; names of exceptions and line numbers are the attempt's own.
"""

from __future__ import annotations

import builtins
import json
import signal
import time
from typing import Any

from rl2f_hub.sandbox.cell import Cell, Ended, close_all, pipes
from rl2f_hub.sandbox.jobs import CodeJob, CodeResult, Limits
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
        job_text = {"code": job.code, "context": job.context, "entry_points": tests.entry_points}
        tests_text = {"setup": tests.setup, "tests": tests.tests, "entry_points": tests.entry_points}
        reports = _Reports(len(tests.tests), limits.test_s + GRACE_S)
        talk = Talk({code[1]: _json(job_text), checks[1]: _json(tests_text | {"test_s": limits.test_s})})
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
        for i, (given, wanted) in enumerate(job.tests.cases):
            reason, observation = self._program(job.code, given, wanted, ends)
            if reason:
                whole = reason.startswith("syntax error")
                said = reason if whole else f"test {i + 1} of {len(job.tests.cases)} failed: {reason}"
                return i, said, f"input: {_cut(given)}\nexpected: {_cut(wanted)}\n{observation}"
        return len(job.tests.cases), "", ""

    def _program(self, code: str, given: str, wanted: str, ends: float) -> tuple[str, str]:
        """Why one case failed ("" when it passed) and what it printed."""
        text, given_pipe, out, err = made = pipes(4)
        mine = {text[1], given_pipe[1], out[0], err[0]}
        try:
            self.attempts.fork("program", (text[0], given_pipe[0], out[1], err[1]))
        except BaseException:
            close_all(fd for pipe in made for fd in pipe)
            raise
        close_all(fd for pipe in made for fd in pipe if fd not in mine)
        limit = self.limits.output_bytes + len(wanted.encode("utf-8", "replace"))
        printed, complaints = _Tail(limit, stop=True), _Tail(1 << 14, stop=False)
        talk = Talk({text[1]: _json({"code": code}), given_pipe[1]: given.encode("utf-8", "replace")})
        talk.listen(out[0], printed.take)
        talk.listen(err[0], complaints.take)
        case_ends = time.monotonic() + self.limits.test_s
        why = talk.run(min(ends, case_ends), lambda: case_ends)
        self.attempts.sweep()
        ended = self.attempts.swept()
        self._broken |= ended.status is None
        output = bytes(printed.data).decode("utf-8", "replace")
        errors = bytes(complaints.data).decode("utf-8", "replace").strip()
        observation = f"printed: {_cut(output)}" + (f"\nerrors: {errors[-SHOWN:]}" if errors else "")
        last = errors.splitlines()[-1] if errors else ""
        if why == "stopped":
            return "output limit", observation
        if why == "late" or _out_of_time(ended, self.limits):
            return "time limit", observation
        if ended.status is None or ended.status < 0:
            return _crash(ended), observation
        if ended.status and last.startswith(("SyntaxError", "IndentationError", "TabError")):
            return "syntax error", observation
        if ended.status and last.startswith("MemoryError"):
            return "memory limit", observation
        if ended.status:
            name = last.split(":", 1)[0]
            known = isinstance(getattr(builtins, name, None), type)  # no other word of the program's own: see below
            return (f"raised {name}" if known else f"ended with an error, status {ended.status}"), observation
        return ("" if same_output(output, wanted) else "wrong output"), observation


_NOTHING = (0, "the task has no tests", "")


def same_output(printed: str, wanted: str) -> bool:
    """Whether two outputs agree line by line, white space at the ends of lines and blank lines at the end aside."""
    return [line.rstrip() for line in printed.rstrip().splitlines()] == [
        line.rstrip() for line in wanted.rstrip().splitlines()
    ]


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


def _explained(
    reports: _Reports, why: str, attempt: Ended, judge: Ended, job: CodeJob, limits: Limits
) -> tuple[str, str]:
    """Reason and observation of a `function` job; reason "" when all tests passed.

    The attempt sees the tests' arguments and names its own exceptions: a name or a line number of its choice would
    carry them into a sentence that the student reads. So only builtin names and lines that exist are repeated.
    """
    end = reports.end or {}
    kind, observation = str(end.get("kind", "")), str(end.get("observation", ""))
    if kind == "passed":
        return "", ""
    before = end.get("before") is True
    place = f"test {reports.passed + 1} of {reports.total} failed: "
    line = end.get("line")
    at = f" on line {line}" if isinstance(line, int) and 0 < line <= job.code.count("\n") + 1 else ""
    name = str(end.get("name", ""))
    known = name if isinstance(getattr(builtins, name, None), type) else "an exception of its own"
    if _out_of_time(attempt, limits) or why == "late" or kind == "time":
        return "time limit before the tests" if before else place + "time limit", observation
    if kind == "syntax":
        return f"syntax error{at}", observation
    if kind == "missing":
        name = name if name in job.tests.entry_points else job.tests.entry_points[0]
        return f"does not define `{name}`", observation
    if name == "MemoryError" and kind in ("load", "raised"):
        return ("" if kind == "load" else place) + "memory limit", observation
    if kind == "load":
        return f"raised {known}{at} before the tests", observation
    if kind == "wrong":
        return place + "wrong value", observation
    if kind == "raised":
        return f"{place}raised {known}{at}", observation
    if kind in ("exit", "gone"):
        if kind == "gone" and (attempt.status is None or attempt.status < 0):
            return (f"{_crash(attempt)} before the tests" if before else place + _crash(attempt)), observation
        return "exited before the tests" if before else f"{place}exited", observation
    if kind == "tests":
        return f"{place}the value makes the test itself raise {known}", observation
    if kind == "too large":
        return f"{place}a value is too large to compare", observation
    if kind == "unsendable":
        return f"{place}a value cannot cross the sandbox", observation
    if kind == "malformed":
        return f"{place}broke the connection to its tests", observation
    if _out_of_time(judge, limits):
        return f"{place}time limit of the tests themselves", observation
    return f"{place}the tests' own process ended early", observation


def _out_of_time(ended: Ended, limits: Limits) -> bool:
    if ended.status == -signal.SIGXCPU:
        return True
    return ended.status == -signal.SIGKILL and ended.cpu_s >= limits.cpu_s


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
