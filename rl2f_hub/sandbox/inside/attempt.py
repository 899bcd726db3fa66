"""The attempt's end: runs the code, then does what the tests ask; or runs it as a program (`program`).

Nothing here is trusted by anyone: the code shares this process and may change all of it. What it sends is plain data,
which the tests judge. The tests' source never enters this process.
"""

from __future__ import annotations

import builtins
import json
import operator
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Sized
from typing import Any

from .link import Broken, Link
from .lockdown import allow_cpu

NAME = "solution.py"
MESSAGE_CHARS = 300

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda target, *args, **kwargs: target(*args, **kwargs),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "put": operator.setitem,
    "in": operator.contains,
    "len": len,
    "truth": bool,
    "iter": iter,
    "next": next,
    "str": str,
    "repr": repr,
}


class Callback:
    """A function of the tests that was passed as an argument: it can be called and nothing else."""

    def __init__(self, link: Link, number: int) -> None:
        self._link, self._number = link, number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._link.ask("call", self._number, list(args), kwargs)
        if answer[0] == "return":
            return answer[1]
        raise builtin_error(answer[1], answer[2])


def builtin_error(names: list[str], message: str) -> Exception:
    """The exception of the first of `names` that is a builtin Exception.

    Never one that ends a loop in silence: a StopIteration out of a test's `all(map(f, ...))` would make it pass.
    """
    for name in names:
        kind = getattr(builtins, name, None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)) or kind.__name__ != name:
            continue
        if issubclass(kind, StopIteration | StopAsyncIteration):
            break
        try:
            return kind(message)
        except TypeError:  # UnicodeDecodeError and its like want more than a message
            continue
    return RuntimeError(message)


def describe(error: BaseException) -> tuple[list[str], str, int]:
    """An exception as class names (the most special first), message and line in the attempt (0: unknown)."""
    try:
        message = str(error)[:MESSAGE_CHARS]
    except BaseException:
        message = ""
    line = 0
    try:
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == NAME:
                line = number
    except BaseException:
        line = 0
    return [kind.__name__ for kind in type(error).__mro__], message, line


def _perform(link: Link, do: str, number: int, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return _OPERATIONS[do](link.held[number], *args, **kwargs)


def kind_of(value: Any) -> bytes:
    """How a value that is no plain data is handed over: an iterator, another object of the library, one of the attempt."""
    kind = type(value)
    if issubclass(kind, Iterator):
        return b"g"
    if kind.__module__.partition(".")[0] in sys.stdlib_module_names and not issubclass(kind, Sized):
        return b"m"
    return b"h"


def functions(fds: list[int], max_bytes: int) -> None:
    """Role of a fork: (job, requests in, answers out). Defines what the code defines, then serves."""
    job_fd, incoming, outgoing = fds
    job = json.loads(all_of(job_fd))
    serve(job, incoming, outgoing, max_bytes)


def serve(job: dict[str, Any], incoming: int, outgoing: int, max_bytes: int) -> None:
    """Run the job's code in this process and answer requests until their pipe ends."""
    link = Link(
        incoming,
        outgoing,
        max_bytes,
        adopt=lambda link, tag, number: Callback(link, number),
        may_hold=lambda value: True,
        number_of=lambda value: value._number if isinstance(value, Callback) else None,
        perform=_perform,
        describe=describe,
        kind_of=kind_of,
        space=lambda: vars(sys.modules["solution"]),
    )
    try:
        module, problem = _load(job["code"], job["context"], job["entry_points"])
        if module is None:
            link.send(problem)
            return
        start_test(job["cpu_s"])
        link.send(("ready", [link.hold(module.__dict__[name]) for name in job["entry_points"]]))
        while True:
            message = link.receive()
            if message == ("test",):
                start_test(job["cpu_s"])
            else:
                link.serve(message)
    except Broken:
        return  # the tests are done


def start_test(cpu_s: float) -> None:
    """CPU time is counted anew for every test. Code that interferes has its tests' time by the clock, and a bound on all."""
    if cpu_s:  # the rehearsal has no limit
        allow_cpu(cpu_s)


def _load(code: str, context: str, wanted: list[str]) -> tuple[types.ModuleType | None, tuple[Any, ...]]:
    """The module that the code makes, or why there is none."""
    module = types.ModuleType("solution")  # not __main__: what stands under that guard is no part of a function
    sys.modules["solution"] = module
    compiled, told = _compiled(code)
    if compiled is None:
        return None, ("syntax", *told["syntax"])
    try:
        exec(compile(context, "context.py", "exec", dont_inherit=True), module.__dict__)
        exec(compiled, module.__dict__)
    except SystemExit:
        return None, ("exit",)
    except BaseException as error:
        return None, ("raised", *describe(error))
    missing = [n for n in wanted if n not in module.__dict__]
    return (None, ("missing", missing[0])) if missing else (module, ())


def _compiled(code: str) -> tuple[types.CodeType | None, dict[str, Any]]:
    """The code, or why there is none: `syntax` (line, message)."""
    try:
        return compile(code, NAME, "exec", dont_inherit=True), {}
    except SyntaxError as error:
        return None, {"syntax": (error.lineno or 0, str(error.msg)[:MESSAGE_CHARS])}
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return None, {"syntax": (0, f"{type(error).__name__}: {error}"[:MESSAGE_CHARS])}


def program(fds: list[int], max_bytes: int) -> None:
    """Role of a fork: (job, standard input, output, errors). Runs the code as a program; the exit status tells how.

    The first line of the errors is written before any of the code runs, so it is the only one that can be believed.
    """
    job_fd, *standard = fds
    job = json.loads(all_of(job_fd))
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = [NAME]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    status = 0
    compiled, told = _compiled(job["code"])
    os.write(2, json.dumps(told).encode() + b"\n")
    if compiled is None:
        os._exit(1)
    try:
        exec(compile(job["context"], "context.py", "exec", dont_inherit=True), module.__dict__)
        exec(compiled, module.__dict__)
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException as error:
        status = 1
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(error, limit=-4, file=sys.stderr)
    try:
        import threading  # not at the top: see `zygote.main`

        threading._shutdown()  # type: ignore[attr-defined]  # programs may leave their work to a thread
        if not sys.stdout.closed:
            sys.stdout.flush()
    except BaseException:
        status = status or 1
    os._exit(status & 0xFF)


def all_of(fd: int) -> bytes:
    """What a pipe holds until its end; closes it."""
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    os.close(fd)
    return b"".join(parts)
