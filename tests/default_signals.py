"""Signals as a program finds them that a person starts at a terminal.

A process inherits which signals are ignored or blocked: SIGINT in the background of a shell, SIGHUP under nohup, or what a
test before did to them. rl2f leaves that as it finds it, so a test of a stop must not inherit it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def restore() -> None:
    """For this process and those it will start."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    for number in STOPS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextmanager
def kept() -> Iterator[None]:
    """What is done to them within is undone at the end."""
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # not set by Python
                signal.signal(number, handler)
