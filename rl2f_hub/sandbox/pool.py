"""`Sandbox`: two pairs of cells a core, each with its thread while there are jobs.

Two, because an attempt and its tests wait for each other, and a core would idle whenever both do.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from rl2f_hub.errors import RL2FError
from rl2f_hub.runtime import permits
from rl2f_hub.sandbox import bubblewrap
from rl2f_hub.sandbox.jobs import CodeJob, CodeResult, Limits
from rl2f_hub.sandbox.run import Pair

_DEFAULT = Limits()


class Sandbox:
    """Runs jobs in isolation, in parallel. Thread-safe. Interpreters start at the first job and stay warm.

    Args:
        workers: jobs at a time; by default two a usable core.
        limits: what each job may use.
    Raises:
        RL2FError: the system has no working bubblewrap, and running without isolation is not permitted.
    """

    def __init__(self, workers: int | None = None, limits: Limits = _DEFAULT) -> None:
        if sys.platform != "linux":
            raise RL2FError("model-written code runs on Linux only; use a Linux machine or a container")
        missing = bubblewrap.why_not()
        if missing is not None and not permits.allowed("unsafe_code"):
            raise RL2FError(
                f"model-written code needs a sandbox: {missing}; "
                "or run it unprotected, which is dangerous, with --unsafe-code-execution"
            )
        self.isolated = missing is None
        self.workers = workers or 2 * len(os.sched_getaffinity(0))
        self._idle: queue.LifoQueue[Pair] = queue.LifoQueue()
        for _ in range(self.workers):
            self._idle.put(Pair(limits, self.isolated))
        self._closed = False

    def run(self, jobs: Sequence[CodeJob]) -> list[CodeResult]:
        """The result of each of `jobs`, in order. No code makes this raise.

        Raises:
            RL2FError: the sandbox is closed or can no longer be started.
        """
        if self._closed:
            raise RL2FError("the sandbox is closed")
        if len(jobs) < 2 or self.workers == 1:
            return [self._one(job) for job in jobs]
        with ThreadPoolExecutor(min(self.workers, len(jobs)), "rl2f-sandbox") as threads:
            return list(threads.map(self._one, jobs))

    def close(self) -> None:
        """End all interpreters; waits for jobs that are still running."""
        if not self._closed:
            self._closed = True
            for _ in range(self.workers):
                self._idle.get().close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _one(self, job: CodeJob) -> CodeResult:
        pair = self._idle.get()
        try:
            return pair.run(job)
        except BaseException:
            pair.close()  # an interrupt in the middle of a job: the next one gets fresh interpreters
            raise
        finally:
            self._idle.put(pair)


_lock = threading.Lock()
_shared: Sandbox | None = None
_owner = 0


def shared() -> Sandbox:
    """The one sandbox of this process, closed at its exit. A forked process gets its own.

    Raises:
        RL2FError: as `Sandbox`.
    """
    global _shared, _owner
    with _lock:
        if (
            _shared is None
            or _owner != os.getpid()
            or (_shared.isolated is False and not permits.allowed("unsafe_code"))
        ):
            _shared, _owner = Sandbox(), os.getpid()
            atexit.register(_close_if_own, _shared, _owner)
        return _shared


def _close_if_own(sandbox: Sandbox, owner: int) -> None:
    if owner == os.getpid():
        sandbox.close()
