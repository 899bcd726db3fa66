"""The tests' end: runs the test statements against stand-ins for the attempt's functions, and reports each as it passes.

What the attempt returns arrives as plain data, so every comparison is one among real builtins of this process. An
object of the attempt (an instance of its class, a generator) arrives as a `Foreign`: its methods, attributes, items,
length, truth, text and iteration are asked of the attempt, while equality is identity and arithmetic is an error.
Functions that a test passes as arguments can be called by the attempt; other objects of the tests cannot cross.
"""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from .attempt import all_of, builtin_error, describe
from .link import Broken, Link
from .plain import Unsendable

SHOWN = 240  # characters of a value, a statement or a message in an observation


class Foreign:
    """An object that lives in the attempt's process."""

    __slots__ = ("_ask", "_number")

    def __init__(self, ask: Any, number: int) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", self._number, list(args), kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__name__":
            raise AttributeError(name)  # copy, pickle and their like must not reach through
        return self._ask("get", self._number, [name], {})

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", self._number, [name, value], {})

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", self._number, [key], {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("put", self._number, [key, value], {})

    def __contains__(self, item: Any) -> bool:
        return bool(self._ask("in", self._number, [item], {}))

    def __len__(self) -> int:
        return self._plain("len", int)

    def __bool__(self) -> bool:
        return self._plain("truth", bool)

    def __str__(self) -> str:
        return self._plain("str", str)

    def __repr__(self) -> str:
        return self._plain("repr", str)

    def __iter__(self) -> Iterator[Any]:
        iterator = self._ask("iter", self._number, [], {})
        if not isinstance(iterator, Foreign):
            raise TypeError("iter() returned no iterator")
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                return
            yield item

    def __next__(self) -> Any:
        return self._ask("next", self._number, [], {})

    def _plain(self, do: str, kind: Any) -> Any:
        value = self._ask(do, self._number, [], {})
        if not isinstance(value, kind):
            raise TypeError(f"{do} of an object of the attempt is {type(value).__name__}")
        return value


class Checks:
    """The state of one run: the line, the stand-ins, the last call that a test made, the sources of the tests."""

    def __init__(self, link_fds: tuple[int, int], max_bytes: int) -> None:
        self.link = Link(
            *link_fds,
            max_bytes,
            adopt=self._foreign,
            may_hold=callable,
            number_of=lambda value: value._number if isinstance(value, Foreign) else None,
            perform=self._perform,
            describe=describe,
        )
        self.foreign: dict[int, Foreign] = {}
        self.names: dict[int, str] = {}
        self.last_call = ""
        self.last_error: BaseException | None = None  # the last exception of the attempt, as raised in a test
        self.error_line = 0
        self.ready = False  # the attempt has defined its functions
        self.sources: dict[str, str] = {}

    def _foreign(self, link: Link, number: int) -> Foreign:
        if number not in self.foreign:
            self.foreign[number] = Foreign(self._ask, number)
        return self.foreign[number]

    def _perform(self, link: Link, do: str, number: int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if do != "call" or not isinstance(number, int) or not 0 <= number < len(link.held):
            raise TypeError("only functions that a test passed can be called")
        return link.held[number](*args, **kwargs)

    def _ask(self, do: str, number: int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if do == "call":
            name = self.names.get(number, "an object of the attempt")
            shown = [shortened(a) for a in args] + [f"{k}={shortened(v)}" for k, v in kwargs.items()]
            self.last_call = f"call: {name}({', '.join(shown)[: 2 * SHOWN]})"
        answer = self.link.ask(do, number, args, kwargs)
        if answer[0] == "return":
            if do == "call":
                self.last_call += f"\nreturned: {shortened(answer[1])}"
            return answer[1]
        _, names, message, line = answer
        if do == "next" and names[:1] == ["StopIteration"]:
            raise StopIteration
        self.last_call += f"\nraised: {names[0] if names else 'an exception'}: {message[:SHOWN]}"
        self.last_call += f" (line {line} of the attempt)" if line else ""
        self.last_error, self.error_line = builtin_error(names, message), line
        raise self.last_error

    def run(self, job: dict[str, Any], report: Any) -> dict[str, Any]:
        """The first failure, or `{"kind": "passed"}`; `report(n)` after each passed test."""
        self.link.deadline = time.monotonic() + job["test_s"]
        try:
            first = self.link.receive()
            if first[:1] != ("ready",) or len(first) != 2 or not _numbers(first[1], len(job["entry_points"])):
                return _load_failure(first)
            self.ready = True
            space: dict[str, Any] = {"__name__": "tests"}
            for name, number in zip(job["entry_points"], first[1], strict=True):
                self.names[number] = name
                space[name] = self._foreign(self.link, number)
            stand_ins = dict(space)
            self._execute(job["setup"], "<set-up>", space)
            space |= stand_ins  # a set-up that defines a function under test must not replace the attempt's
            for i, source in enumerate(job["tests"]):
                self.link.deadline = time.monotonic() + job["test_s"]
                self.last_call, self.last_error = "", None
                self._execute(source, f"<test {i + 1}>", space)
                report(i + 1)
        except Broken as broken:
            return {"kind": broken.kind, "before": not self.ready, "observation": self._observation("")}
        except Unsendable as error:
            return {"kind": "unsendable", "observation": self._observation(str(error))}
        except BaseException as error:
            return self._failure(error)
        return {"kind": "passed"}

    def _execute(self, source: str, name: str, space: dict[str, Any]) -> None:
        self.sources[name] = source
        try:
            exec(compile(source, name, "exec", dont_inherit=True), space)
        finally:
            if self.link.failure:
                raise self.link.failure  # whatever the test made of it

    def _failure(self, error: BaseException) -> dict[str, Any]:
        names, message, _ = describe(error)
        if error is self.last_error:
            return {
                "kind": "raised",
                "name": names[0],
                "line": self.error_line,
                "observation": self._observation("", error),
            }
        kind = "wrong" if isinstance(error, AssertionError) else "tests"
        text = f"{names[0]}: {message}" if message else ""
        return {"kind": kind, "name": names[0], "observation": self._observation(text, error)}

    def _observation(self, text: str, error: BaseException | None = None) -> str:
        statement = self._statement(error)
        parts = [self.last_call, f"test: {statement}" if statement else "", text[:SHOWN]]
        return "\n".join(filter(None, parts))

    def _statement(self, error: BaseException | None) -> str:
        """The statement of the tests in which the exception arose: the innermost one of their own sources."""
        found = None
        tb = error.__traceback__ if error else None
        while tb is not None:
            if tb.tb_frame.f_code.co_filename in self.sources:
                found = tb.tb_frame.f_code.co_filename, tb.tb_lineno
            tb = tb.tb_next
        if found is None:
            return ""
        source, line = self.sources[found[0]], found[1]
        inner = [
            node
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
        ]
        if not inner:
            return ""
        node = min(inner, key=lambda n: (n.end_lineno or n.lineno) - n.lineno)
        return " ".join((ast.get_source_segment(source, node) or "").split())[: 2 * SHOWN]


def shortened(value: Any) -> str:
    """A value's text, cut; never raises and never asks the attempt for it."""
    if isinstance(value, Foreign):
        return "<an object of the attempt>"
    try:
        if isinstance(value, str | bytes | list | tuple) and len(value) > SHOWN:
            return repr(value[:SHOWN])[:SHOWN] + "..."
        if isinstance(value, dict | set | frozenset) and len(value) > SHOWN:
            return f"a {type(value).__name__} of {len(value)} entries"
        if isinstance(value, int) and value.bit_length() > 10_000:
            return f"an integer of {value.bit_length()} bits"
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(n) is int for n in value)


def _load_failure(message: tuple[Any, ...]) -> dict[str, Any]:
    """Why the attempt has no functions to test, from what its own process says of itself."""
    match message:
        case ("syntax", int(line), str(text)):
            return {"kind": "syntax", "line": line, "observation": text[:SHOWN]}
        case ("raised", list(names), str(text), int(line)) if names:
            kind = type(builtin_error([str(n) for n in names[:20]], "")).__name__
            return {"kind": "load", "name": kind, "line": line, "observation": f"{names[0]}: {text}"[:SHOWN]}
        case ("missing", str(name)):
            return {"kind": "missing", "name": name, "observation": ""}
        case ("exit",):
            return {"kind": "exit", "before": True, "observation": ""}
    return {"kind": "malformed", "observation": ""}


def checks(fds: list[int], max_bytes: int) -> None:
    """Role of a fork: (job, answers in, requests out, reports). Writes one JSON object a line to the reports."""
    job_fd, incoming, outgoing, report_fd = fds
    job = json.loads(all_of(job_fd))

    def write(line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(report_fd, data) :]

    run = Checks((incoming, outgoing), max_bytes)
    write({"end": run.run(job, lambda passed: write({"passed": passed}))})
