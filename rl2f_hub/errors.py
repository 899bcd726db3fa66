"""The two errors a user sees: one line that names the field or file, the value, and the fix.

Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class RL2FError(Exception):
    """Something failed while running. The command line prints the message and exits with `exit_code`.

    A `message` quotes names and texts from outside: line ends, control characters and halves of characters become
    spaces.
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__("".join(c if c.isprintable() else " " for c in str(message)))


class UsageError(RL2FError):
    """The request itself is wrong: bad arguments or a bad recipe. Nothing was started."""

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` or the list of what is known."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known and len(known) <= 30 else ""


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, here or on a GPU, however the library that met it says so."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's, without loading it
    return named or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))


EXTRAS = {  # module -> the extra of this package that brings it
    "reasoning_gym": "tasks",
    "math_verify": "tasks",
    "textarena": "games",
    "starlette": "localhub",
    "uvicorn": "localhub",
    "lz4": "localhub",
    "markdown_it": "localhub",
    "torch": "train",
    "transformers": "train",
    "trl": "train",
    "peft": "train",
    "accelerate": "train",
    "matplotlib": "train",
    "bitsandbytes": "qlora",
    "gguf": "qlora",
    "gradio": "demo",
    "trackio": "trackio",
}


def not_installed(error: BaseException | None) -> str | None:
    """In words which of our extras brings the package that an import did not find; None for any other error."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return f'{name} is not installed; run `pip install "rl2f-hub[{EXTRAS[name]}]"`' if name in EXTRAS else None
