"""The tests' end: runs the test statements against stand-ins for the attempt's functions, and reports each as it passes.

What the attempt returns arrives as plain data, so every comparison is one among real builtins of this process, or among
instances of the tests' own classes. An object of the attempt (an instance of its class, a generator, a function) arrives
as a `Foreign`. Functions that a test passes as arguments can be called by the attempt; other objects of the tests cannot
cross, dataclasses and named tuples aside.
"""

from __future__ import annotations

import ast
import json
import os
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

from .attempt import all_of, builtin_error, describe, start_test
from .link import Broken, Link
from .plain import LIBRARY, Unsendable

SHOWN = 240  # characters of a value, a statement or a message in an observation


class NotPlain(TypeError):
    """A test compared something that is no plain data."""


_PLAIN = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, types.FunctionType)
_PLAIN_NAMES = frozenset(name for kind in (*_PLAIN, *(kind for kind, _, _ in LIBRARY.values())) for name in dir(kind))


def _refuse(operator: str) -> Callable[..., Any]:
    def refused(self: Foreign, *_: Any) -> Any:
        raise self._checks.refuse(operator)

    return refused


class Foreign:
    """An object that lives in the attempt's process, of a class of its own, or of the library's (always true then).

    What it does is asked of the attempt, so an operator could be answered to suit the test: to be in, beyond and equal to
    whatever is asked for. Attributes and calls are what tests of objects are about; every operator is refused, whatever
    the test makes of that, unless a test has used an object as one (by an attribute that no plain data has): then those
    of one operand are asked too. Comparison is by identity or refused, always.
    """

    __slots__ = ("_checks", "_library", "_number")

    def __init__(self, checks: Checks, number: int, library: bool) -> None:
        for name, value in (("_checks", checks), ("_number", number), ("_library", library)):
            object.__setattr__(self, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._checks.ask("call", self._number, list(args), kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__name__":
            raise AttributeError(name)  # copy, pickle and their like must not reach through
        self._checks.objects |= name not in _PLAIN_NAMES
        return self._checks.ask("get", self._number, [name], {})

    def __setattr__(self, name: str, value: Any) -> None:
        self._checks.objects |= name not in _PLAIN_NAMES
        self._checks.ask("set", self._number, [name, value], {})

    def __getitem__(self, key: Any) -> Any:
        return self._operate("item", None, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._operate("put", None, key, value)

    def __contains__(self, item: Any) -> bool:
        return bool(self._operate("in", bool, item))

    def __len__(self) -> int:
        return int(self._operate("len", int))

    def __bool__(self) -> bool:
        return self._library or bool(self._operate("truth", bool))

    def __str__(self) -> str:
        return str(self._operate("str", str))

    def __repr__(self) -> str:
        if self._checks.showing:
            return "<an object of the attempt>"
        return str(self._operate("repr", str))

    def __iter__(self) -> Iterator[Any]:
        return ForeignIterator(self._checks, self._operate("iter", Foreign)._number)

    def __eq__(self, other: object) -> bool:
        if self is other or (other is None and self._library):
            return self is other
        raise self._checks.refuse("a comparison")

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        if self._checks.objects:
            return object.__hash__(self)
        raise self._checks.refuse("hash")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse("a comparison")
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse("arithmetic")
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __neg__ = __abs__ = _refuse("arithmetic")
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __round__ = __divmod__ = _refuse("arithmetic")
    __int__ = __float__ = __complex__ = __index__ = __format__ = _refuse("a conversion")
    __delitem__ = __reversed__ = __enter__ = __exit__ = __reduce_ex__ = _refuse("an operator")

    def _operate(self, do: str, kind: Any, *args: Any) -> Any:
        if not self._checks.objects:
            raise self._checks.refuse(do)
        value = self._checks.ask(do, self._number, list(args), {})
        if kind is not None and not isinstance(value, kind):
            raise TypeError(f"{do} of an object of the attempt is {type(value).__name__}")
        return value


class ForeignIterator:
    """An iterator that lives in the attempt's process: its items come one by one, and one that has ended has ended."""

    def __init__(self, checks: Checks, number: int) -> None:
        self._checks, self._number, self._over = checks, number, False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._over:
            try:
                return self._checks.ask("next", self._number, [], {})
            except StopIteration:
                self._over = True
        raise StopIteration

    def __repr__(self) -> str:
        return "<an iterator of the attempt>"

    def __getattr__(self, name: str) -> Any:
        if name not in ("send", "throw", "close"):
            raise AttributeError(name)
        return self._checks.ask("get", self._number, [name], {})

    def __eq__(self, other: object) -> bool:
        if self is other or other is None:
            return self is other
        raise self._checks.refuse("a comparison")

    __hash__ = object.__hash__


class Checks:
    """The state of one run: the line, the stand-ins, the last call that a test made, the sources of the tests."""

    def __init__(self, link_fds: tuple[int, int], max_bytes: int) -> None:
        self.link = Link(
            *link_fds,
            max_bytes,
            adopt=self._foreign,
            may_hold=callable,
            number_of=lambda value: value._number if isinstance(value, Foreign | ForeignIterator) else None,
            perform=self._perform,
            describe=describe,
            kind_of=lambda value: b"h",
            space=lambda: self.space,
        )
        self.space: dict[str, Any] = {"__name__": "tests"}  # what the tests' statements see
        self.objects = False  # a test has used an object of the attempt as one
        self.refused: NotPlain | None = None
        self.showing = False  # a value is being written into an observation
        self.foreign: dict[int, Foreign | ForeignIterator] = {}
        self.names: dict[int, str] = {}
        self.last_call = ""
        self.last_error: BaseException | None = None  # the last exception of the attempt, as raised in a test
        self.error_line = 0
        self.ready = False  # the attempt has defined its functions
        self.sources: dict[str, str] = {}

    def _foreign(self, link: Link, kind: bytes, number: int) -> Foreign | ForeignIterator:
        if number not in self.foreign:
            iterator = kind == b"g"
            self.foreign[number] = (
                ForeignIterator(self, number) if iterator else Foreign(self, number, library=kind == b"m")
            )
        return self.foreign[number]

    def refuse(self, operator: str) -> NotPlain:
        """The error for an operator on what is no plain data; the test fails even if it catches it."""
        self.refused = self.refused or NotPlain(f"{operator} with an object that is no plain data")
        return self.refused

    def _perform(self, link: Link, do: str, number: int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if do != "call" or not isinstance(number, int) or not 0 <= number < len(link.held):
            raise TypeError("only functions that a test passed can be called")
        return link.held[number](*args, **kwargs)

    def ask(self, do: str, number: int, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if do == "call":
            name = self.names.get(number, "an object of the attempt")
            shown = [self._shown(a) for a in args] + [f"{k}={self._shown(v)}" for k, v in kwargs.items()]
            self.last_call = f"call: {name}({', '.join(shown)[: 2 * SHOWN]})"
        answer = self.link.ask(do, number, args, kwargs)
        if answer[0] == "return":
            if do == "call":
                self.last_call += f"\nreturned: {self._shown(answer[1])}"
            return answer[1]
        _, names, message, line = answer
        if do == "next" and names[:1] == ["StopIteration"]:
            raise StopIteration
        self.last_call += f"\nraised: {names[0] if names else 'an exception'}: {message[:SHOWN]}"
        self.last_call += f" (line {line} of the attempt)" if line else ""
        self.last_error, self.error_line = builtin_error(names, message), line
        raise self.last_error

    def _shown(self, value: Any) -> str:
        self.showing = True
        try:
            return shortened(value)
        finally:
            self.showing = False

    def run(self, job: dict[str, Any], report: Any) -> dict[str, Any]:
        """The first failure, or `{"kind": "passed"}`; `report(n)` after each passed test."""
        self.link.deadline = time.monotonic() + job["test_s"]
        try:
            first = self.link.receive()
            if first[:1] != ("ready",) or len(first) != 2 or not _numbers(first[1], len(job["entry_points"])):
                return _load_failure(first)
            self.ready = True
            for name, number in zip(job["entry_points"], first[1], strict=True):
                self.names[number] = name
                self.space[name] = self._foreign(self.link, b"m", number)
            stand_ins = dict(self.space)
            start_test(job["cpu_s"])
            self._execute(job["setup"], "<set-up>")
            self.space |= stand_ins  # a set-up that defines a function under test must not replace the attempt's
            for i, source in enumerate(job["tests"]):
                self.link.deadline = time.monotonic() + job["test_s"]
                self.last_call, self.last_error = "", None
                if i:
                    start_test(job["cpu_s"])
                    self.link.send(("test",))
                self._execute(source, f"<test {i + 1}>")
                report(i + 1)
        except Broken as broken:
            return {"kind": broken.kind, "before": not self.ready, "observation": self._observation("")}
        except Unsendable as error:
            return {"kind": "unsendable", "observation": self._observation(str(error))}
        except BaseException as error:
            return self._failure(error)
        return {"kind": "passed"}

    def _execute(self, source: str, name: str) -> None:
        self.sources[name] = source
        try:
            exec(compile(source, name, "exec", dont_inherit=True), self.space)
        finally:
            if self.link.failure or self.refused:
                raise self.link.failure or self.refused  # type: ignore[misc]  # whatever the test made of it

    def _failure(self, error: BaseException) -> dict[str, Any]:
        names, message, _ = describe(error)
        if error is self.last_error:
            return {
                "kind": "raised",
                "name": names[0],
                "line": self.error_line,
                "observation": self._observation("", error),
            }
        kind = "not plain" if error is self.refused else "wrong" if isinstance(error, AssertionError) else "tests"
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
    """A value's text, cut; never raises."""
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
