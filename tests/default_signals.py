"""Signals as a program finds them that a person starts at a terminal.

A process inherits which signals are ignored or blocked: SIGINT in the background of a shell, SIGHUP under nohup, SIGTERM
under some services that run tests. rl2f leaves that as it finds it, so a test of a stop must not inherit it.
"""

from __future__ import annotations

import signal


def restore() -> None:
    """For this process and those it will start."""
    stops = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    for number in stops:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
