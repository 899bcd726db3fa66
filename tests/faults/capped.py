"""`rl2f` in a process whose memory ends at a chosen moment: `python tests/faults/capped.py MOMENT ROOM_MIB ARGUMENTS...`

From that moment on the process may have ROOM_MIB more of address space than it has then (RLIMIT_AS), so the next large
allocations fail as they do on a full machine. Moments: `attempt`, when the first dialogues of the stage `generate` are
to be answered, until they are; `loss`, in the loss of the third step of RL.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path
from typing import Any

STEP = 2  # steps made when `loss` strikes; the shrunken run has a checkpoint then
SMALL = 64 << 10  # bytes; blocks below that are left to the interpreter


def cap(room_mib: int) -> None:
    """The process may have `room_mib` more from here on, and what lies free in its heap is taken."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now, resource.RLIM_INFINITY))
    size = 64 << 20
    while size >= SMALL:
        if libc.malloc(size) is None:
            size //= 2
    resource.setrlimit(resource.RLIMIT_AS, (now + (room_mib << 20), resource.RLIM_INFINITY))


def lift() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def at_attempt(room_mib: int) -> None:
    from rl2f_hub import generate

    real: Any = generate.run_dialogues

    def run_dialogues(*args: Any, **named: Any) -> Any:
        cap(room_mib)
        try:
            return real(*args, **named)
        finally:
            lift()

    generate.run_dialogues = run_dialogues


def at_loss(room_mib: int) -> None:
    from rl2f_hub.training.trainer import RL2FTrainer

    real = RL2FTrainer.compute_loss

    def compute_loss(self: Any, *args: Any, **named: Any) -> Any:
        if self.state.global_step == STEP:
            cap(room_mib)
        try:
            return real(self, *args, **named)
        finally:
            lift()  # what the step had allocated is free again when it has failed

    RL2FTrainer.compute_loss = compute_loss  # type: ignore[method-assign]


def main() -> None:
    moment, room, *arguments = sys.argv[1:]
    from rl2f_hub import cli, pipeline

    real = pipeline.run_stages

    def run_stages(*args: Any) -> None:
        # The Hub's address has to be set before the trainer is imported: strike where the stages begin.
        inner = pipeline._run_stage

        def run_stage(run: Any, stage: str, namespace: str) -> Any:
            if (moment, stage) == ("attempt", "generate"):
                at_attempt(int(room))
            elif (moment, stage) == ("loss", "train"):
                at_loss(int(room))
            return inner(run, stage, namespace)

        pipeline._run_stage = run_stage
        real(*args)

    pipeline.run_stages = run_stages
    sys.argv = ["rl2f", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
