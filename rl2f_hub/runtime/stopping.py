"""A stop that is asked for by a signal, and cannot get lost.

The handler raises, so that what is open is closed and half-written files are removed. But Python drops what is raised
while it runs a destructor, and a library may catch it, most of all while it is imported; the work would go on to its
end. So the wish is noted as well, and raised again where work has got a step further (`progress.bar`). Left out: signals
of processes that do not run the command line, which keep their own handlers.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

_asked: list[BaseException] = []


class Stopped(SystemExit):
    """SIGTERM or SIGHUP; the exit code is what a shell says of a process that such a signal has ended."""


def listen() -> None:
    """From now on SIGINT, SIGTERM and SIGHUP are wishes to stop; those that are ignored (nohup) stay ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    others = sys.unraisablehook

    def unraisable(lost: Any) -> None:
        if not any(lost.exc_value is wish for wish in _asked):  # those come again: no traceback for them
            others(lost)

    sys.unraisablehook = unraisable


def check() -> None:
    """Raises again what has been asked for and got lost; nothing in other threads than the main one."""
    if _asked and threading.current_thread() is threading.main_thread():
        raise _asked[-1]


def _stop(number: int, frame: Any) -> None:
    _asked.append(KeyboardInterrupt() if number == signal.SIGINT else Stopped(128 + number))
    raise _asked[-1]
