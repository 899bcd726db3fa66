"""A JSON body whose fields are of the type the handler says, or the request is refused with the field's name."""

from __future__ import annotations

import json
import math
from typing import Any

from .refusal import Refusal


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not a number JSON can hold")
    return value


def parse(data: bytes) -> Any:
    """JSON that can be stored and sent again: no infinities, no escapes that write halves of surrogate pairs."""
    try:
        value = json.loads(data, parse_float=_finite, parse_constant=_finite)
        if b"\\ud" in data.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"Not JSON: {ascii(str(error))[1:200]}") from None


class Payload(dict[str, Any]):
    @classmethod
    def of(cls, body: bytes) -> Payload:
        value = parse(body or b"{}")
        if not isinstance(value, dict):
            raise Refusal(400, "Body is not a JSON object")
        return cls(value)

    def _bad(self, name: str, wanted: str) -> Refusal:
        return Refusal(400, f"{name}={ascii(self.get(name))[:80]}: use {wanted}")

    def text(self, name: str, default: str = "") -> str:
        value = self.get(name)
        if not isinstance(value, (str, type(None))):
            raise self._bad(name, "a string")
        return default if value is None else value

    def integer(self, name: str) -> int | None:
        value = self.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < -1):
            raise self._bad(name, "a whole number")
        return value

    def rows(self, name: str) -> list[Payload]:
        value = self.get(name) or []
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self._bad(name, "a list of objects")
        return [Payload(row) for row in value]

    def texts(self, name: str) -> list[str]:
        """A list of strings, or one string for a list of one."""
        value = self.get(name) or []
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self._bad(name, "a list of strings")
        return value

    def table(self, name: str) -> dict[str, str]:
        value = self.get(name) or {}
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise self._bad(name, "an object of strings")
        return value
