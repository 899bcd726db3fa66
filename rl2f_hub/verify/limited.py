"""Verifiers with a time limit: a child process judges, and is killed and replaced when it takes too long.

The child (`child.py`) is started at the first use and kept: importing sympy takes longer than most verdicts. It has
memory and CPU limits, an empty environment and no standard output that a library could spoil. Left out: isolation;
model-written code goes to the sandbox, never here.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError
from rl2f_hub.records import Task, Verdict
from rl2f_hub.runtime import permits

TIME_LIMIT = 10.0  # seconds a verdict
START_LIMIT = 120.0  # seconds until the child has imported what it needs, on a busy machine
HASH_SEED = "0"  # the child's PYTHONHASHSEED: what depends on the order of sets is the same in every run
MAX_REPLY = 1 << 20


class TooSlow(ValueError):
    """A reference that was not read within the time limit."""


class LimitedChild:
    """A judge in a process of its own; thread-safe, one verdict at a time."""

    def __init__(self, time_limit: float = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def judge(self, task: Task, attempt: str, earlier: Sequence[str] = ()) -> Verdict:
        """The verdict, or a wrong one that says that the time limit was reached.

        Raises:
            ValueError: the task itself is at fault (its reference cannot be read), or the verifier failed.
        """
        with self._lock:
            reply = self._ask({"do": "judge", "task": task.to_row(), "attempt": attempt, "earlier": list(earlier)})
        if reply is None:
            reason = f"no verdict within {self.time_limit:g} s: the answer is too hard to compare"
            return Verdict(False, 0.0, None, reason)
        if "error" in reply:
            raise ValueError(reply["error"])
        return Verdict(**reply["verdict"])

    def check(self, task: Task) -> None:
        """Raises ValueError when the verifier cannot use the task's reference."""
        with self._lock:
            reply = self._ask({"do": "check", "task": task.to_row()})
        if reply is None:
            raise TooSlow(f"the reference cannot be read within {self.time_limit:g} s")
        if "error" in reply:
            raise ValueError(reply["error"])

    def call(self, function: str, **arguments: Any) -> Any:
        """What one of our functions (`module:name`) returns for these plain JSON values, as plain JSON values.

        For what no two interpreters would make alike: the child's hash seed is fixed.

        Raises:
            ValueError: it took longer than the time limit, or it raised.
        """
        with self._lock:
            reply = self._ask({"do": "call", "function": function, "arguments": arguments})
        if reply is None:
            raise ValueError(f"not made within {self.time_limit:g} s")
        if "error" in reply:
            raise ValueError(reply["error"])
        return reply["value"]

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The child's reply; None when it gave none in time (or died of its limits) and had to be replaced."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps(request | {"local_code": permits.allowed("local_code")}).encode() + b"\n")
            process.stdin.flush()
            line = self._line(time.monotonic() + self.time_limit)
        except BrokenPipeError:
            line = None
        if line is None:
            self.close()
            return None
        return json.loads(line)

    def _start(self) -> None:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)]),
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": HASH_SEED,
            "LANG": "C.UTF-8",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rl2f_hub.verify.child", str(int(self.time_limit) + 1)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        if self._line(time.monotonic() + START_LIMIT) != b"ready":
            self.close()
            raise RL2FError("the verifier's process did not start; run `python -m rl2f_hub.verify.child` to see why")

    def _line(self, deadline: float) -> bytes | None:
        assert self._process is not None and self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        got = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while not got.endswith(b"\n"):
                if len(got) > MAX_REPLY or not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                part = os.read(pipe, 65536)
                if not part:
                    return None
                got += part
        return got.strip()


class Judges:
    """Several judges, each started at its first use: one that is kept busy does not hold up everybody."""

    def __init__(self, count: int = 2) -> None:
        self._all = [LimitedChild() for _ in range(count)]
        self._free: queue.LifoQueue[LimitedChild] = queue.LifoQueue()  # the one that was used last is warm
        for child in self._all:
            self._free.put(child)

    @contextmanager
    def _one(self) -> Iterator[LimitedChild]:
        child = self._free.get()
        try:
            yield child
        finally:
            self._free.put(child)

    def judge(self, task: Task, attempt: str, earlier: Sequence[str] = ()) -> Verdict:
        """As `LimitedChild.judge`."""
        with self._one() as child:
            return child.judge(task, attempt, earlier)

    def check(self, task: Task) -> None:
        """As `LimitedChild.check`."""
        with self._one() as child:
            child.check(task)

    def call(self, function: str, **arguments: Any) -> Any:
        """As `LimitedChild.call`."""
        with self._one() as child:
            return child.call(function, **arguments)

    def close(self) -> None:
        for child in self._all:
            child.close()


_shared: Judges | None = None


def shared() -> Judges:
    """The judges of this process."""
    global _shared
    if _shared is None:
        _shared = Judges()
        atexit.register(_shared.close)
    return _shared
