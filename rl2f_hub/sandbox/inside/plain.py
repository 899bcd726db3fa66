"""Plain data as bytes: the only thing that passes between an attempt and its tests.

None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset and range, nested; and values of the
standard library that are no more than their parts (`LIBRARY`: fractions, decimals, dates, deques, counters, views of a
dictionary). An instance of a subclass (an IntEnum) travels as its builtin content, so nothing that the sender overrode
arrives. A named tuple or an instance of a dataclass travels as the name of its class and its fields, of which
`resolve_record` makes an object of the receiver's own class. Everything else is the caller's business: `refer` may give
it a number, which arrives as whatever `resolve` makes of it. Neither pickle nor marshal: reading builds nothing but
these. Left out: shared identity (one list in two places arrives as two) and cycles (refused). Every NaN that arrives is
the one that was sent last, because a list with a NaN equals itself by identity alone.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_DEPTH = 100


class Unsendable(Exception):
    """The value has no plain form."""


class Malformed(Exception):
    """The bytes are not what `encode` writes."""


Refer = Callable[[Any], tuple[bytes, int]]
Resolve = Callable[[bytes, int], Any]
# (b"n" for a named tuple or b"o", class name, fields, the number that stands for it or None) -> the receiver's object
ResolveRecord = Callable[[bytes, str, dict[str, Any], "int | None"], Any]


def _clock(value: Any) -> tuple[Any, ...]:
    return value.hour, value.minute, value.second, value.microsecond, value.utcoffset(), value.fold


def _zoned(kind: Any, parts: tuple[Any, ...]) -> Any:
    *numbers, offset, fold = parts
    return kind(*numbers, tzinfo=None if offset is None else timezone(offset), fold=fold)


# name -> (class, its parts, the value of the parts)
LIBRARY: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "Fraction": (Fraction, lambda v: (v.numerator, v.denominator), lambda parts: Fraction(*parts)),
    "Decimal": (Decimal, str, Decimal),
    "datetime": (
        datetime,
        lambda v: (v.year, v.month, v.day, *_clock(v)),
        lambda parts: _zoned(datetime, parts),
    ),
    "date": (date, lambda v: (v.year, v.month, v.day), lambda parts: date(*parts)),
    "time": (time, _clock, lambda parts: _zoned(time, parts)),
    "timedelta": (timedelta, lambda v: (v.days, v.seconds, v.microseconds), lambda parts: timedelta(*parts)),
    "deque": (deque, lambda v: (list(v), v.maxlen), lambda parts: deque(*parts)),
    "Counter": (Counter, lambda v: dict(v), Counter),
    "OrderedDict": (OrderedDict, lambda v: list(v.items()), OrderedDict),
    "dict_keys": (type({}.keys()), list, lambda parts: dict.fromkeys(parts).keys()),
    "dict_values": (type({}.values()), list, lambda parts: dict(enumerate(parts)).values()),
    "dict_items": (type({}.items()), list, lambda parts: dict(parts).items()),
}
_NAMES = {kind: name for name, (kind, _, _) in LIBRARY.items()}
_BUILTIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, set, frozenset})  # the usual ones
_last_nan = [float("nan")]
# the receiver's own object; the sender's: an instance of one of its classes, an iterator, another object of the library
REFERENCES = (b"y", b"h", b"g", b"m")


def _no_reference(value: Any) -> tuple[bytes, int]:
    raise Unsendable(f"a value of type {type(value).__name__} has no plain form")


def _no_handle(tag: bytes, number: int) -> Any:
    raise Malformed("a reference where none may be")


def _no_record(tag: bytes, name: str, fields: dict[str, Any], number: int | None) -> Any:
    raise Malformed("a record where none may be")


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
    if type(value) not in _BUILTIN and _write_special(value, put, refer, depth):
        return
    if value is None or value is True or value is False:
        put(b"N" if value is None else b"T" if value else b"F")
    elif isinstance(value, int):
        size = int.bit_length(value) // 8 + 1
        put(b"i" + struct.pack(">I", size) + int.to_bytes(value, size, "big", signed=True))
    elif isinstance(value, float):
        number = float.__float__(value)
        if number != number:
            _last_nan[0] = number
        put(b"f" + struct.pack(">d", number))
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


def _write_special(value: Any, put: Callable[[bytes], None], refer: Refer, depth: int) -> bool:
    """Write a value of the library or a record; False where it is neither."""
    kind: Any = type(value)
    name = next((_NAMES[base] for base in kind.__mro__ if base in _NAMES), None)
    if name is not None:
        parts = LIBRARY[name][1](value)
        put(b"k")
        _write(name, put, refer, depth + 1)
        _write(parts, put, refer, depth + 1)
        return True
    if issubclass(kind, tuple) and "_fields" in vars(kind):
        put(b"n")
        _write(kind.__name__, put, refer, depth + 1)
        _write(dict(zip(kind._fields, tuple.__iter__(value), strict=True)), put, refer, depth + 1)
        _write(None, put, refer, depth + 1)
        return True
    if not dataclasses.is_dataclass(value):
        return False
    out: list[bytes] = []  # nothing is written of what cannot be written whole: then a reference alone
    try:
        _write(kind.__name__, out.append, refer, depth + 1)
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        _write(fields, out.append, refer, depth + 1)
    except (Unsendable, AttributeError):
        return False
    try:
        tag, number = refer(value)
        out.append(tag + struct.pack(">I", number))
    except Unsendable:
        out.append(b"N")
    put(b"o" + b"".join(out))
    return True


def decode(data: bytes, resolve: Resolve = _no_handle, resolve_record: ResolveRecord = _no_record) -> Any:
    """The value of bytes that may come from anyone.

    Raises:
        Malformed: they are not what `encode` writes.
    """
    try:
        value, end = _Reader(data, resolve, resolve_record).read(0, 0)
    except Malformed:
        raise
    except (struct.error, IndexError, KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None
    if end != len(data):
        raise Malformed(f"{len(data) - end} bytes too many")
    return value


class _Reader:
    def __init__(self, data: bytes, resolve: Resolve, resolve_record: ResolveRecord) -> None:
        self.data, self.resolve, self.resolve_record = data, resolve, resolve_record

    def read(self, at: int, depth: int) -> tuple[Any, int]:
        """The value at `at` and where it ends."""
        data = self.data
        if depth > MAX_DEPTH + 1:
            raise Malformed("nested too deep")
        tag = data[at : at + 1]
        at += 1
        if tag in b"NTF" and tag:
            return {b"N": None, b"T": True, b"F": False}[tag], at
        if tag == b"f":
            number = struct.unpack_from(">d", data, at)[0]
            return number if number == number else _last_nan[0], at + 8
        if tag == b"c":
            return complex(*struct.unpack_from(">dd", data, at)), at + 16
        if tag == b"r":
            parts, at = self._several(3, at, depth)
            return range(*parts), at
        if tag == b"k":
            (name, parts), at = self._several(2, at, depth)
            return LIBRARY[name][2](parts), at
        if tag in (b"n", b"o"):
            (name, fields), at = self._several(2, at, depth)
            number = None
            if data[at : at + 1] != b"N":
                number, at = struct.unpack_from(">I", data, at + 1)[0], at + 4
            if type(name) is not str or type(fields) is not dict or not all(type(field) is str for field in fields):
                raise Malformed("a record without names")
            return self.resolve_record(tag, name, fields, number), at + 1
        size: int = struct.unpack_from(">I", data, at)[0]
        at += 4
        if tag in REFERENCES:
            return self.resolve(tag, size), at
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
        items, at = self._several(size * 2 if tag == b"d" else size, at, depth)
        if tag == b"d":
            return dict(zip(items[::2], items[1::2], strict=True)), at
        kinds: dict[bytes, Callable[[list[Any]], Any]] = {b"l": list, b"t": tuple, b"e": set, b"z": frozenset}
        return kinds[tag](items), at

    def _several(self, count: int, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        for _ in range(count):
            item, at = self.read(at, depth + 1)
            items.append(item)
        return items, at
