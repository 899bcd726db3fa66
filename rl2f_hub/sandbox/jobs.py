"""What the sandbox is asked and what it answers: `CodeTests`, `CodeJob`, `CodeResult`. Plain records, no running.

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
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> CodeTests:
        """Raises ValueError on anything but what `to_json` writes."""
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
    """One attempt (Python source) and the tests it must pass."""

    code: str
    tests: CodeTests


@dataclass(frozen=True, slots=True)
class CodeResult:
    """Passed or not; `reason` a sentence without any test's content, `observation` the first failure in full (private).

    `passed_tests` of `total_tests` counts tests in order up to and without the first failure.
    """

    passed: bool
    reason: str
    observation: str
    passed_tests: int
    total_tests: int
    seconds: float
