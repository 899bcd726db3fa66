"""Model-written code in isolation. `shared()` is the sandbox of this process, `Sandbox` and `Limits` make another.

How it holds (a module each): bubblewrap gives every interpreter its own user, process, network, IPC, host name and
control group namespace, nothing but the standard library and the libraries that it loads, read-only, an empty
environment and a small private /tmp (`bubblewrap`). The interpreter starts once and is forked for every attempt
(`inside/zygote`); a fork gets
limits of CPU time, memory, file size and open files and a system call filter that allows what has no effect beyond the
process and its own files (`inside/lockdown`); after it, all that
is left in the namespace is killed, /tmp emptied, and an interpreter that does not answer as it should is replaced
(`cell`). An attempt and its tests run in two such sandboxes; plain data passes between them and real builtins are
compared on the tests' side (`inside/link`, `inside/checks`), so nothing that an attempt prints, patches, raises or exits
with can make it pass.

What it does not cover:
- a fault of the Linux kernel, of bubblewrap or of the interpreter: there is no virtual machine around it;
- side channels (timing, caches, counters of the kernel that the next attempt can read, such as process numbers), and what
  an attempt can learn of the machine: processor, kernel version, libraries;
- use of the processor, memory bandwidth and kernel memory (many small files) within the limits, by all workers at once;
- who the code is for the kernel: started by root, it is root's user id without any capability, in a user namespace;
- wrong tests: a set of tests that accepts everything accepts everything. Tests can run code too, in their own sandbox;
- `--unsafe-code-execution` where bubblewrap is missing: limits and the filter still hold, but attempts can read and
  write the user's files, the tests and tokens among them. There is no protection worth that name.

What it costs right code: no new processes and no sockets (threads are possible), no packages beyond the standard
library (numpy is not there), at most `Limits`. Results must be plain data: see `inside/plain` and `inside/checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rl2f_hub.sandbox.jobs import CodeJob, CodeResult, CodeTests, Limits

if TYPE_CHECKING:
    from rl2f_hub.sandbox.pool import Sandbox

__all__ = ["CodeJob", "CodeResult", "CodeTests", "Limits", "Sandbox", "shared"]


def shared() -> Sandbox:
    """The one sandbox of this process, closed at its exit.

    Raises:
        RL2FError: no working bubblewrap here, and no permit to run code without it.
    """
    from rl2f_hub.sandbox import pool

    return pool.shared()


def __getattr__(name: str) -> Any:
    if name == "Sandbox":
        from rl2f_hub.sandbox.pool import Sandbox

        return Sandbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
