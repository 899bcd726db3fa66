"""A run on several processes, as `accelerate launch` starts them: who writes, who does what, and how rows come together.

Every process runs the same command. Work is split by its number, results are gathered, and only the main process writes
(the run's folder must be one that all of them see). Before the first collective call only the environment is read, so a
command without accelerate never loads torch for this. When a process is lost, the others end with one line that says
where the work goes on.

Left out: a change of the number of processes in the middle of a run, and networks without a shared folder.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from rl2f_hub.errors import RL2FError, UsageError

T = TypeVar("T")
WAIT = timedelta(hours=12)  # the others wait while the main process does a stage of its own
JOB = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_", "GROUP_", "ROLE_", "MASTER_")  # what a launcher says of a job, and
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # of a process in it
LOST = ("Connection closed by peer", "Connection reset", "NCCL", "Gloo", "gloo", "TCPStore", "Broken pipe")


def rank() -> int:
    return int(os.environ.get("RANK", 0))


def world() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    return rank() == 0


def check_hub(endpoint: str) -> None:
    """Refuses the embedded Hub, which answers on loopback alone, for processes on several machines.

    Raises:
        UsageError
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world()))
    if endpoint == "local" and here < world():
        raise UsageError(
            f"hub.endpoint: 'local' answers on one machine only, and this job has {world() // max(here, 1)}; set "
            "hub.endpoint=hf, or the URL of a Hub that all of them reach"
        )


def connect() -> None:
    """Join the process group; nothing with one process."""
    if world() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)


def shared(value: T) -> T:
    """The main process's value, in every process."""
    if world() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def gathered(mine: list[T]) -> list[T]:
    """The lists of all processes, in their order."""
    if world() == 1:
        return mine
    from accelerate.utils import gather_object

    return list(gather_object(mine))


def share(items: Sequence[T]) -> list[T]:
    """This process's part of a list: `gathered` puts the parts together in the list's order."""
    size = -(-len(items) // world())
    return list(items[rank() * size : (rank() + 1) * size])


def part_of(batch: int, key: str) -> int:
    """This process's rows of a batch that all processes share.

    Raises:
        UsageError: it does not divide.
    """
    if batch % world():
        raise UsageError(f"{key}: {batch} does not divide among {world()} processes; choose a multiple of {world()}")
    return batch // world()


def wait() -> None:
    """Until every process is here; nothing with one process."""
    if world() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


@contextmanager
def together(again: str) -> Iterator[None]:
    """Around the work of a job: a lost process, or the launcher's signal after one, becomes one line with the fix.

    Args:
        again: what to do then.
    Raises:
        RL2FError: in every process that survives.
    """
    if world() == 1:
        yield
        return

    def ended(number: int, frame: Any) -> None:
        print(f"error: process {rank()} of {world()} was ended because another one was lost; {again}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # the launcher is waiting, and a collective call may never return

    after = signal.signal(signal.SIGTERM, ended)
    try:
        yield
    except RuntimeError as error:
        if any(word in str(error) for word in LOST):
            after = signal.SIG_IGN  # we end anyway: the launcher's signal must not take the place of what is said
            raise RL2FError(f"process {rank()} of {world()}: another process was lost; {again}") from None
        raise
    finally:
        signal.signal(signal.SIGTERM, after)


def apart(work: Callable[..., None], *args: Any) -> None:
    """Do `work(*args)` in a process that belongs to no job, as one process alone would do it.

    Raises:
        RL2FError: it failed, and has said why.
    """
    import multiprocessing

    import torch

    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_apart, args=(work, args, torch.get_num_threads()))
    process.start()
    try:
        process.join()
    finally:
        process.terminate()
        process.join()
    if process.exitcode:
        raise RL2FError(f"{work.__name__}: its process ended with {process.exitcode}, for the reason above")


def _apart(work: Callable[..., None], args: tuple[Any, ...], threads: int) -> None:
    import torch

    end_with_parent()
    for name in [name for name in os.environ if name in PLACE or name.startswith(JOB)]:
        del os.environ[name]
    torch.set_num_threads(threads)
    try:
        work(*args)
    except RL2FError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def end_with_parent() -> None:
    """In a child process: end as soon as the process that started it has, however that one ended."""
    import multiprocessing

    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    from multiprocessing.connection import wait as wait_for

    wait_for([sentinel])
    os._exit(1)
