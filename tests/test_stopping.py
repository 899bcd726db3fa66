"""A stop that a signal asks for takes effect, also where what its handler raises is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# A run in which the signal comes while a destructor works, or while a library catches all there is.
RUN = """
import signal, sys
from rl2f_hub.runtime import stopping
from rl2f_hub.runtime.progress import bar

class Cleaning:
    def __del__(self):
        signal.raise_signal({number})

stopping.listen()
try:
    with bar("work", 2, "steps") as advance:
        if {swallowed}:
            try:
                signal.raise_signal({number})
            except BaseException:
                pass
        else:
            Cleaning()
        advance()
        print("went on")
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("swallowed", [False, True], ids=["destructor", "caught"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_lost_signal_stops_at_the_next_step(number: signal.Signals, code: int, swallowed: bool) -> None:
    program = RUN.format(number=int(number), swallowed=swallowed)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, timeout=900)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup, and in the background of a shell."""
    program = f"""
import signal
from rl2f_hub.runtime import stopping
for number in (signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
stopping.listen()
signal.raise_signal({int(signal.SIGHUP)})
signal.raise_signal({int(signal.SIGINT)})
stopping.check()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
