"""What an error must be, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from rl2f_hub.errors import UsageError


def refused(call: Callable[[], Any], words: str, kind: type[Exception] = UsageError) -> str:
    """The message of the error that `call` raises, which holds `words` and fits on one line."""
    with pytest.raises(kind) as caught:
        call()
    said = str(caught.value)
    assert words in said, said
    assert "\n" not in said or kind is ValidationError
    return said
