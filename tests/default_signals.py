"""Signals as a program finds them that a person starts at a terminal.

A process inherits which signals are ignored: SIGINT in the background of a shell, SIGHUP under nohup, SIGTERM under some
services that run tests. rl2f leaves ignored what it finds ignored, so a test of a stop must not inherit that.
"""

from __future__ import annotations

import signal


def restore() -> None:
    """For this process and those it will start."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
