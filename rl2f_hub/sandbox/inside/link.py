"""The line between an attempt and its tests: requests and answers as plain data over two pipes.

Each side can ask the other to do something with an object that the other holds; while it waits for the answer it does
what it is asked. What either side may ask is decided by the other's `perform`: the attempt's side does anything to its
own objects, the tests' side only calls functions that a test passed as an argument.

A mutable argument that the callee changed in place comes back with the answer, and the caller's own object is brought
to the same content. The line can fail (`failure`): from then on every request raises `Broken`, so that a test that
catches exceptions cannot pass on a dead line.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections import deque, namedtuple
from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from .plain import Malformed, Unsendable, decode, encode

MAX_HELD = 10_000  # objects that one side may hold for the other
_MUTABLE = (list, dict, set, bytearray, tuple, deque)


class Broken(BaseException):
    """The line is of no more use. Not an Exception, so that `except Exception` in a test lets it pass."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


class Link:
    """One end of the line. `failure` holds what broke it, `deadline` (monotonic) when waiting gives up."""

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        max_bytes: int,
        adopt: Callable[[Link, bytes, int], Any],
        may_hold: Callable[[Any], bool],
        number_of: Callable[[Any], int | None],
        perform: Callable[[Link, str, int, list[Any], dict[str, Any]], Any],
        describe: Callable[[BaseException], tuple[list[str], str, int]],
        kind_of: Callable[[Any], bytes],
        space: Callable[[], dict[str, Any]],
    ) -> None:
        self.incoming, self.outgoing, self.max_bytes = incoming, outgoing, max_bytes
        self.adopt, self.may_hold, self.number_of = adopt, may_hold, number_of
        self.perform, self.describe = perform, describe
        self.kind_of, self.space = kind_of, space
        self.held: list[Any] = []
        self._numbers: dict[int, int] = {}  # id of a held object -> its number; held objects live, so ids stay theirs
        self.failure: Broken | None = None
        self.deadline: float | None = None
        self._buffer = bytearray()
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(incoming, select.POLLIN)
        self._writable.register(outgoing, select.POLLOUT)
        os.set_blocking(outgoing, False)

    def hold(self, value: Any) -> int:
        """The number under which the other side can name an object of this side."""
        if id(value) not in self._numbers:
            if len(self.held) >= MAX_HELD:
                raise Unsendable("too many objects")
            self._numbers[id(value)] = len(self.held)
            self.held.append(value)
        return self._numbers[id(value)]

    def fail(self, kind: str, detail: str = "") -> Broken:
        self.failure = self.failure or Broken(kind, detail)
        return self.failure

    def ask(self, do: str, number: int, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """What the other side answers: `("return", value)` or `("raise", names, message, line)`.

        Raises:
            Unsendable: an argument has no plain form.
            Broken: the other side is gone, too late, or talks nonsense.
        """
        if self.failure:
            raise self.failure
        sent = self._encode([args, kwargs])
        self.send(("do", do, number, sent))
        while True:
            message = self.receive()
            if message[:1] == ("do",) and len(message) == 4:
                self.serve(message)
            elif message[:1] == ("return",) and len(message) == 3 and isinstance(message[1], bytes):
                self._restore([args, kwargs], message[2])
                return ("return", self._decode(message[1]))
            elif message[:1] == ("raise",) and len(message) == 5:
                names, text, line, changed = message[1:]
                if isinstance(names, list) and isinstance(text, str) and isinstance(line, int):
                    self._restore([args, kwargs], changed)
                    return ("raise", [str(n) for n in names[:20]], text, line)
                raise self.fail("malformed", "an exception without a name")
            elif message[:1] == ("exit",):
                raise self.fail("exit")
            else:
                raise self.fail("malformed", "an answer of no known form")

    def serve(self, message: tuple[Any, ...]) -> None:
        """Do what a `("do", what, number, arguments)` asks for and answer."""
        _, do, number, sent = message
        changed: bytes | None = None
        try:
            args, kwargs = self._decode(sent)
            try:
                value = self.perform(self, do, number, args, kwargs)
                answer: tuple[Any, ...] = ("return", self._encode(value))
            except SystemExit:
                answer = ("exit",)
            except Broken:
                raise
            except BaseException as error:
                answer = ("raise", *self.describe(error))
            if any(isinstance(a, _MUTABLE) or is_dataclass(a) for a in (*args, *kwargs.values())):
                after = self._encode([args, kwargs])
                changed = after if after != sent else None
        except Unsendable as error:
            answer = ("raise", ["TypeError"], str(error), 0)
        self.send(answer if answer == ("exit",) else (*answer, changed))

    def send(self, message: tuple[Any, ...]) -> None:
        body = encode(message)
        if len(body) > self.max_bytes:
            raise self.fail("too large")
        data = memoryview(struct.pack(">I", len(body)) + body)
        while data:
            try:
                data = data[os.write(self.outgoing, data) :]
            except BlockingIOError:
                self._wait(self._writable)
            except OSError:
                raise self.fail("gone") from None

    def receive(self) -> tuple[Any, ...]:
        """The next message.

        Raises:
            Broken: none comes in time, or what comes is no message.
        """
        size = struct.unpack(">I", self._read(4))[0]
        if size > self.max_bytes:
            raise self.fail("too large")
        try:
            message = decode(self._read(size))
        except (Malformed, RecursionError) as error:
            raise self.fail("malformed", str(error)) from None
        if not isinstance(message, tuple):
            raise self.fail("malformed", "no message")
        return message

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._wait(self._readable)
            try:
                part = os.read(self.incoming, 1 << 16)
            except OSError:
                part = b""
            if not part:
                raise self.fail("gone")
            self._buffer += part
        got = bytes(self._buffer[:size])
        del self._buffer[:size]
        return got

    def _wait(self, poll: select.poll) -> None:
        if self.deadline is None:
            poll.poll()
            return
        left = (self.deadline - time.monotonic()) * 1000
        # a flood of messages must not outrun the deadline, so it counts even when there is something to read
        if left <= 0 or not poll.poll(left):
            raise self.fail("time")

    def _encode(self, value: Any) -> bytes:
        def refer(item: Any) -> tuple[bytes, int]:
            theirs = self.number_of(item)
            if theirs is not None:
                return b"y", theirs
            if not self.may_hold(item):
                raise Unsendable(f"a value of type {type(item).__name__} cannot cross the sandbox")
            return self.kind_of(item), self.hold(item)

        return encode(value, refer)

    def _decode(self, data: Any) -> Any:
        def resolve(tag: bytes, number: int) -> Any:
            return self.held[number] if tag == b"y" else self.adopt(self, tag, number)

        try:
            return decode(data, resolve, self._record)
        except (Malformed, RecursionError) as error:
            raise self.fail("malformed", str(error)) from None

    def _record(self, tag: bytes, name: str, fields: dict[str, Any], number: int | None) -> Any:
        """A named tuple or an instance of a dataclass: of this side's class of that name where it has these fields."""
        kind: Any = self.space().get(name)
        known = isinstance(kind, type)
        if tag == b"n":
            if not (known and issubclass(kind, tuple) and vars(kind).get("_fields") == tuple(fields)):
                kind = _named_tuple(name, tuple(fields))
            return tuple.__new__(kind, fields.values())
        if known and is_dataclass(kind) and [field.name for field in dataclass_fields(kind)] == list(fields):
            made: Any = object.__new__(kind)  # type: ignore[arg-type]  # a class, as `known` says
            for field, value in fields.items():
                object.__setattr__(made, field, value)
            return made
        return SimpleNamespace(**fields) if number is None else self.adopt(self, b"h", number)

    def _restore(self, args: list[Any], changed: Any) -> None:
        if changed is not None:
            _bring(args, self._decode(changed))


@lru_cache(maxsize=100)
def _named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields)  # raises ValueError for what is no name


def _bring(old: Any, new: Any) -> Any:
    """`old` with the content of `new`, changed in place as far as the types allow; what stands in its place."""
    if type(old) is not type(new):
        return new
    if isinstance(old, list):
        old[:] = [_bring(a, b) for a, b in zip(old, new, strict=False)] + new[len(old) :]
    elif isinstance(old, dict):
        content = {k: _bring(old[k], v) if k in old else v for k, v in new.items()}
        if list(content) != list(old):
            old.clear()
        old.update(content)
    elif isinstance(old, set):
        if old != new:  # sets may arrive in another order: one that a test walks through must not be touched for that
            old.clear()
            old.update(new)
    elif isinstance(old, bytearray):
        old[:] = new
    elif isinstance(old, deque):
        items = [_bring(a, b) for a, b in zip(old, new, strict=False)] + list(new)[len(old) :]
        old.clear()
        old.extend(items)
    elif is_dataclass(old):
        for field in dataclass_fields(old):
            object.__setattr__(old, field.name, _bring(getattr(old, field.name), getattr(new, field.name)))
    elif isinstance(old, tuple) and len(old) == len(new):
        parts = [_bring(a, b) for a, b in zip(old, new, strict=True)]
        return old if all(a is b for a, b in zip(parts, old, strict=True)) else tuple(parts)
    else:
        return new
    return old
