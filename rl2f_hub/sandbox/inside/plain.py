"""Plain data as bytes: the only thing that passes between an attempt and its tests.

None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset and range, nested. An instance of a
subclass (Counter, a named tuple, an IntEnum) travels as its builtin content, so nothing that the sender overrode
arrives. Everything else is the caller's business: `refer` may give it a number, which arrives as whatever `resolve`
makes of it. Neither pickle nor marshal: reading builds nothing but these builtins. Left out: shared identity (one list
in two places arrives as two) and cycles (refused).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100


class Unsendable(Exception):
    """The value has no plain form."""


class Malformed(Exception):
    """The bytes are not what `encode` writes."""


Refer = Callable[[Any], tuple[bytes, int]]
Resolve = Callable[[bytes, int], Any]


def _no_reference(value: Any) -> tuple[bytes, int]:
    raise Unsendable(f"a value of type {type(value).__name__} has no plain form")


def _no_handle(tag: bytes, number: int) -> Any:
    raise Malformed("a reference where none may be")


def encode(value: Any, refer: Refer = _no_reference) -> bytes:
    """The bytes of a value.

    Raises:
        Unsendable: nested too deep, or of a type that `refer` refuses.
    """
    out: list[bytes] = []
    _write(value, out.append, refer, 0)
    return b"".join(out)


def _write(value: Any, put: Callable[[bytes], None], refer: Refer, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unsendable("nested too deep, or a value that contains itself")
    if value is None or value is True or value is False:
        put(b"N" if value is None else b"T" if value else b"F")
    elif isinstance(value, int):
        size = int.bit_length(value) // 8 + 1
        put(b"i" + struct.pack(">I", size) + int.to_bytes(value, size, "big", signed=True))
    elif isinstance(value, float):
        put(b"f" + struct.pack(">d", float.__float__(value)))
    elif isinstance(value, str):
        body = str.encode(value, "utf-8", "surrogatepass")
        put(b"s" + struct.pack(">I", len(body)) + body)
    elif isinstance(value, list | tuple):
        kind: Any = list if isinstance(value, list) else tuple  # its methods, not those of a subclass
        put((b"l" if kind is list else b"t") + struct.pack(">I", kind.__len__(value)))
        for item in kind.__iter__(value):
            _write(item, put, refer, depth + 1)
    elif isinstance(value, dict):
        put(b"d" + struct.pack(">I", dict.__len__(value)))
        for key, item in dict.items(value):
            _write(key, put, refer, depth + 1)
            _write(item, put, refer, depth + 1)
    elif isinstance(value, set | frozenset):
        kind_of_set: Any = set if isinstance(value, set) else frozenset
        put((b"e" if kind_of_set is set else b"z") + struct.pack(">I", kind_of_set.__len__(value)))
        for item in kind_of_set.__iter__(value):
            _write(item, put, refer, depth + 1)
    elif isinstance(value, bytes | bytearray):
        body = bytes(memoryview(value))
        put((b"b" if isinstance(value, bytes) else b"a") + struct.pack(">I", len(body)) + body)
    elif isinstance(value, complex):
        put(b"c" + struct.pack(">dd", value.real, value.imag))
    elif isinstance(value, range):
        put(b"r")
        for part in (value.start, value.stop, value.step):
            _write(part, put, refer, depth + 1)
    else:
        tag, number = refer(value)
        put(tag + struct.pack(">I", number))


def decode(data: bytes, resolve: Resolve = _no_handle) -> Any:
    """The value of bytes that may come from anyone.

    Raises:
        Malformed: they are not what `encode` writes.
    """
    try:
        value, end = _read(data, 0, resolve, 0)
    except Malformed:
        raise
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, UnicodeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None
    if end != len(data):
        raise Malformed(f"{len(data) - end} bytes too many")
    return value


def _read(data: bytes, at: int, resolve: Resolve, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH + 1:
        raise Malformed("nested too deep")
    tag = data[at : at + 1]
    at += 1
    if tag in b"NTF" and tag:
        return {b"N": None, b"T": True, b"F": False}[tag], at
    if tag == b"f":
        return struct.unpack_from(">d", data, at)[0], at + 8
    if tag == b"c":
        return complex(*struct.unpack_from(">dd", data, at)), at + 16
    if tag == b"r":
        parts = []
        for _ in range(3):
            part, at = _read(data, at, resolve, depth + 1)
            parts.append(part)
        return range(*parts), at
    size: int = struct.unpack_from(">I", data, at)[0]
    at += 4
    if tag in (b"h", b"y"):
        return resolve(tag, size), at
    if size > len(data) - at:  # every item takes a byte at least: a false length costs no memory
        raise Malformed("a length beyond the end")
    body = data[at : at + size] if tag in (b"i", b"s", b"b", b"a") else b""
    if tag == b"i":
        return int.from_bytes(body, "big", signed=True), at + size
    if tag == b"s":
        return body.decode("utf-8", "surrogatepass"), at + size
    if tag in (b"b", b"a"):
        return body if tag == b"b" else bytearray(body), at + size
    if tag not in (b"l", b"t", b"d", b"e", b"z"):
        raise Malformed(f"unknown tag {tag!r}")
    items: list[Any] = []
    for _ in range(size * 2 if tag == b"d" else size):
        item, at = _read(data, at, resolve, depth + 1)
        items.append(item)
    if tag == b"d":
        return dict(zip(items[::2], items[1::2], strict=True)), at
    kinds: dict[bytes, Callable[[list[Any]], Any]] = {b"l": list, b"t": tuple, b"e": set, b"z": frozenset}
    return kinds[tag](items), at
