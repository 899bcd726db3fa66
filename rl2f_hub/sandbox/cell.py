"""One zygote and the ways to use it: start it, fork a job, sweep up after the job, replace it when it looks wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rl2f_hub.errors import RL2FError
from rl2f_hub.sandbox import bubblewrap
from rl2f_hub.sandbox.jobs import Limits

START_S = 60.0  # on a busy machine
SWEEP_S = 30.0  # killing and reaping takes a millisecond; so much means that something is wrong
SLOW_S = 5.0  # no busy machine explains that either: what took so long to end is not kept


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job's process ended: its exit status (a negative number is a signal, None: unknown) and its CPU seconds."""

    status: int | None
    cpu_s: float


class Cell:
    """A sandbox with a warm interpreter, for one job at a time. Not thread-safe."""

    def __init__(self, limits: Limits, isolated: bool) -> None:
        self.limits, self.isolated = limits, isolated
        self.starts = 0  # of its interpreter; more than one: it was replaced
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._jobs: socket.socket | None = None
        self._zygote = 0
        self._folder: str | None = None

    def fork(self, role: str, fds: Sequence[int]) -> None:
        """Give a job to the process that waits for one: these files become its own, the caller closes its copies.

        Raises:
            RL2FError: no process can be started.
        """
        for attempt in range(2):
            if self._control is None:
                self._start()
            assert self._jobs is not None
            try:
                socket.send_fds(self._jobs, [role.encode()], list(fds))
                return
            except OSError:
                self.close()
                if attempt:
                    raise RL2FError("the sandbox's interpreter dies as soon as it is started") from None

    def sweep(self) -> None:
        """Ask for the end of the job; `swept` waits for it. Two steps, so that two cells can sweep at once."""
        if self._control is not None:
            try:
                self._control.send(b"sweep")
            except OSError:
                self.close()

    def swept(self) -> Ended:
        """How the job ended. A cell that does not answer, or is not clean, is thrown away."""
        if self._control is None:
            return Ended(None, 0.0)
        try:
            self._control.settimeout(SWEEP_S)
            answer = json.loads(self._control.recv(4096))
            ended = Ended(answer["exit"], float(answer["cpu"]))
        except (OSError, ValueError, KeyError, TypeError):
            self.close()
            return Ended(None, 0.0)
        if not answer["clean"] or answer["swept"] > SLOW_S:
            self.close()
        return ended

    def close(self) -> None:
        """End the zygote and, with its namespace, everything in it."""
        control, self._control = self._control, None
        process, self._process = self._process, None
        jobs, self._jobs = self._jobs, None
        if jobs is not None:
            jobs.close()
        if control is not None:
            control.close()  # it ends by itself when it reads the end
        if process is not None:
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                if self._zygote:  # the first process of its namespace: all the others end with it
                    os.kill(self._zygote, signal.SIGKILL)
                process.kill()
                process.wait()
        self._zygote = 0
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        if not self.isolated:
            self._folder = tempfile.mkdtemp(prefix="rl2f-code-")
        settings = {
            "limits": asdict(self.limits),
            "folder": self._folder or "/tmp",
            "isolated": self.isolated,
        }
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        jobs, their_jobs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                bubblewrap.command(settings, self.isolated),
                env=bubblewrap.ENVIRONMENT,
                stdin=theirs.fileno(),
                stdout=their_jobs.fileno(),
                stderr=errors,
                cwd="/",
                start_new_session=True,  # Ctrl-C is the caller's to handle
            )
            theirs.close()
            their_jobs.close()
            self._control, self._jobs = ours, jobs
            ours.settimeout(START_S)
            try:
                message, extra, _, _ = ours.recvmsg(32, socket.CMSG_SPACE(12))
            except OSError:
                message, extra = b"", []
            if message != b"ready":
                self.close()
                errors.seek(0)
                said = errors.read()[-2000:].decode(errors="replace").strip().splitlines()
                raise RL2FError(f"the sandbox's interpreter did not start: {said[-1] if said else 'it says nothing'}")
        # the kernel says which process spoke, as this namespace numbers it
        self._zygote = next((struct.unpack("iii", data[:12])[0] for _, kind, data in extra if kind == 2), 0)
        self.starts += 1


def pipes(count: int) -> list[tuple[int, int]]:
    """`count` pipes as (reading end, writing end)."""
    made: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            made.append(os.pipe())
    except OSError:
        close_all(fd for pipe in made for fd in pipe)
        raise
    return made


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
