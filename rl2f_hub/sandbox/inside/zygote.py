"""The process that every job is forked from: a warm interpreter that never sees a job itself.

A fork always waits, locked down already, at the second of two sockets (standard output): there it is given a role and
that role's pipes, and reads the job from one of them. So this process holds nothing of any job that a later fork could
find in its memory. At the first socket (standard input) this process itself is told after each job to sweep: everything
else in its process namespace is killed and reaped, the private folder emptied, and it says how the fork ended. Then it
forks the next one. When the other end of the socket closes, it ends, and the namespace with it.
"""

from __future__ import annotations

import builtins
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any

from .attempt import functions, program, serve
from .checks import Checks, checks
from .link import Link
from .lockdown import Lockdown, close_all_but
from .plain import encode

ROLES = {b"functions": functions, b"program": program, b"checks": checks}
PRELOADED = (  # what solutions import most; the rest of the standard library can be imported too, a little later
    "abc array bisect calendar cmath collections collections.abc contextlib copy dataclasses datetime decimal enum "
    "fractions functools hashlib heapq inspect io itertools math numbers operator queue random re statistics string "
    "struct textwrap threading time typing unicodedata"
)
MAX_ENTRIES = 500  # in the private folder; with more it is quicker to start anew


def main(settings: dict[str, Any]) -> None:
    """Serve until the socket closes.

    Args:
        settings: `limits` (the fields of `Limits`), `folder` (private and writable), `isolated` (this process is the
            first of its own process namespace).
    """
    control, jobs = socket.socket(fileno=os.dup(0)), socket.socket(fileno=os.dup(1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(HOME=settings["folder"], LANG="C.UTF-8", PATH="/usr/bin:/bin", TMPDIR=settings["folder"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # `random` and `threading`, imported from here on only, would tidy up in every fork, at a third of its cost; but the
    # only thread forks, and the random state is to be the same in every fork, so that equal attempts get equal verdicts
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    for name in PRELOADED.split():
        importlib.import_module(name)
    sys.modules["random"].seed(0)
    os.register_at_fork = register
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # `site`, which defines them, is not loaded
    rehearse()
    lockdown = Lockdown(settings["limits"], settings["folder"])
    gc.collect()
    gc.freeze()
    isolated, max_bytes = bool(settings["isolated"]), settings["limits"]["value_mib"] << 20
    status: dict[str, Any] = {}
    while True:
        child = os.fork()
        if child == 0:
            try:
                control.close()
                _wait_for_job(jobs, lockdown, max_bytes)
            except BaseException:
                os._exit(70)
            os._exit(0)
        try:
            control.send(json.dumps(status).encode() if status else b"ready")
            told = control.recv(32)
        except OSError:
            told = b""
        if told != b"sweep":
            _kill(child, isolated)
            return
        status = _sweep(child, isolated) | {"clean": empty(settings["folder"])}
        _forget_unread(jobs)


def _wait_for_job(jobs: socket.socket, lockdown: Lockdown, max_bytes: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)  # an open file of its own: flags set on a shared one would stay
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)
    lockdown.enter()
    role, fds, _, _ = socket.recv_fds(jobs, 32, 8)
    if role:
        close_all_but(fds)  # the sockets above all: foreign code must not read the next job's message
        ROLES[role](fds, max_bytes)


def _forget_unread(jobs: socket.socket) -> None:
    """A job whose fork was killed before it took its message must not become the next fork's job."""
    jobs.setblocking(False)  # `recv_fds` ignores its flags in some releases of Python
    while True:
        try:
            message, fds, _, _ = socket.recv_fds(jobs, 32, 8)
        except OSError:
            break
        for fd in fds:
            os.close(fd)
        if not message:
            break
    jobs.setblocking(True)


def rehearse() -> None:
    """Both ends of a job, once, on code of our own, in this process.

    What an interpreter does for the first time it does in memory; a fork would have to do it in pages that it copies.
    """
    code = "import math\nfrom typing import List\ndef f(xs: List[int], g=None):\n    return [g(x) for x in xs] if g else xs"
    test = "def check(f):\n    assert f([1, 2]) == [1, 2]\n    assert all(f([x]) for x in range(3))\n"
    job = {"setup": test, "tests": ["check(f)"], "entry_points": ["f"], "test_s": 10.0, "cpu_s": 0}
    for _ in range(3):
        calls, answers, empty_end = os.pipe(), os.pipe(), os.pipe()
        link = Link(empty_end[0], calls[1], 1 << 20, **_NOBODY)
        for _ in range(20):
            link.send(("do", "call", 0, encode([[[1, 2]], {}])))
        os.close(calls[1])
        serve({"code": code, "context": "", "entry_points": ["f"], "cpu_s": 0}, calls[0], answers[1], 1 << 20)
        told = Checks((answers[0], empty_end[1]), 1 << 20).run(job, json.dumps)
        if told != {"kind": "passed"}:
            raise RuntimeError(f"the rehearsal failed: {told}")
        for fd in (calls[0], *answers, *empty_end):
            os.close(fd)
    sys.modules.pop("solution", None)


_NOBODY: dict[str, Any] = dict.fromkeys(("adopt", "may_hold", "number_of", "perform", "describe", "kind_of", "space"))


def _kill(child: int, isolated: bool) -> None:
    try:
        if isolated and os.getpid() == 1:
            os.kill(-1, signal.SIGKILL)  # all but this process: the namespace has no other
        elif child:
            os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _sweep(child: int, isolated: bool) -> dict[str, Any]:
    """Kill and reap; how the fork ended: `exit` (a negative number is a signal) and `cpu` seconds."""
    out: dict[str, Any] = {"exit": None, "cpu": 0.0}
    started = time.monotonic()
    _kill(child, isolated)
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return out | {"swept": time.monotonic() - started}
        if pid == child:
            out = {"exit": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime}


def empty(folder: str) -> bool:
    """Empty the private folder; False when that did not work or would take long: then this process is replaced."""
    budget = [MAX_ENTRIES]
    try:
        os.chmod(folder, 0o700)
        _empty(folder, budget, 0)
        os.utime(folder, (0, 0))  # when it was last written to is what an attempt can leave to the next one
        return not os.listdir(folder)
    except OSError:
        return False


def _empty(folder: str, budget: list[int], depth: int) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            budget[0] -= 1
            if budget[0] < 0 or depth > 20:
                return
            if entry.is_dir(follow_symlinks=False):
                _empty(entry.path, budget, depth + 1)
                os.rmdir(entry.path)
            else:
                os.unlink(entry.path)
