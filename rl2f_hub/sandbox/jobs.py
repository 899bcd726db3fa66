"""What the sandbox is asked and what it answers: `CodeTests`, `CodeJob`, `Limits`, `CodeResult`. Plain records, no running.

Two forms of tests. `function`: the attempt defines functions that trusted test code calls. `stdio`: the attempt is a
program that reads standard input and prints. Texts come from data sets and are untrusted; they run in a sandbox too,
but not in the one that the attempt runs in.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CodeTests:
    """The hidden tests of a code task.

    Attributes:
        form: `function` or `stdio`.
        setup: trusted code that the tests need (imports, helper functions); `function` only.
        tests: `function`: Python statements, run in order in one namespace, each of which passes when it does not
            raise. They call the attempt's functions by name.
        entry_points: names that the attempt must define; `function` only.
        cases: `stdio`: (standard input, expected standard output) pairs.
    """

    form: str
    setup: str = ""
    tests: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()
    cases: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """The text that `Privilege.tests` holds."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> CodeTests:
        """The tests of a `text` that `to_json` made. Raises: ValueError on anything else."""
        try:
            row: dict[str, Any] = json.loads(text)
            return cls(
                form=str(row["form"]),
                setup=str(row["setup"]),
                tests=tuple(map(str, row["tests"])),
                entry_points=tuple(map(str, row["entry_points"])),
                cases=tuple((str(given), str(wanted)) for given, wanted in row["cases"]),
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"not the JSON text of code tests: {error}") from None


@dataclass(frozen=True, slots=True)
class CodeJob:
    """One attempt (Python source) and the tests it must pass; `context` is public code that runs before it."""

    code: str
    tests: CodeTests
    context: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of an attempt, and of its tests, may use. CPU time is the limit meant to bind; wall time is looser.

    CPU time is counted anew for every test, by the attempt's own process: code that interferes with that has `test_s` for
    a test, and `wall_s` of CPU time for all of them.

    A worker holds two processes, so a sandbox can take up to `workers` * 2 * (`memory_mib` + `file_mib`) of memory.

    Attributes:
        cpu_s: CPU seconds before the tests, and for each test.
        test_s: wall seconds of one test statement or stdio case.
        wall_s: wall seconds of all tests together.
        memory_mib: address space of a process, its libraries included.
        processes: threads of a process, where the kernel counts them (never for root); new processes are always denied.
        file_mib: one file, and all files of the private /tmp together.
        open_files: open files of a process.
        output_bytes: what a program may print beyond the length of what is expected.
        value_mib: one call's arguments or result on their way between attempt and tests.
    """

    cpu_s: int = 5
    test_s: float = 10.0
    wall_s: float = 120.0
    memory_mib: int = 512
    processes: int = 64
    file_mib: int = 16
    open_files: int = 64
    output_bytes: int = 1 << 20
    value_mib: int = 16


@dataclass(frozen=True, slots=True)
class CodeResult:
    """`passed` or not, after so many `seconds`.

    `reason` is for everybody: what went wrong before any test, else which test failed and nothing that the attempt could
    choose after it had seen a test. `observation` is the first failure in full (private); it begins with how it failed.

    `passed_tests` of `total_tests` counts tests in order up to and without the first failure.
    """

    passed: bool
    reason: str
    observation: str
    passed_tests: int
    total_tests: int
    seconds: float
