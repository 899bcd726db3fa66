"""A clock that jumps: with this folder on PYTHONPATH, time.time() is 400 days ahead or behind every other second.

What is written in C (the time stamps of files, datetime.now) keeps the machine's clock, so the two disagree as well.
"""

import time

JUMP_S = 400 * 86400
_real, _real_ns, _steady = time.time, time.time_ns, time.monotonic
_start = _steady()


def _offset() -> int:
    return (0, JUMP_S, 0, -JUMP_S)[int(_steady() - _start) % 4]


time.time = lambda: _real() + _offset()
time.time_ns = lambda: _real_ns() + _offset() * 10**9
