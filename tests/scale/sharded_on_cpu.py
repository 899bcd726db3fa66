"""`rl2f` in a process of a job over gloo whose weights FSDP2 or ZeRO-3 shards on the CPU.

Both work on CPUs; accelerate only offers them for accelerators. This tells accelerate that the processes of the job are
such, and leaves everything else as it is: `accelerate launch --config_file recipes/accelerate/fsdp.yaml
tests/scale/sharded_on_cpu.py train RECIPE`.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType


def as_accelerators() -> None:
    """Make accelerate take each process of this job for one with an accelerator, which is the CPU."""
    begin = PartialState.__init__

    def initialise(self: Any, cpu: bool = False, **kwargs: Any) -> None:
        begin(self, cpu=False, **kwargs)

    def backend(self: Any, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_GPU

    def set_device(self: Any) -> None:
        self.device = torch.device("cpu")

    PartialState.__init__ = initialise
    PartialState._prepare_backend = backend
    PartialState.set_device = set_device


if __name__ == "__main__":
    from rl2f_hub.cli import main

    as_accelerators()
    main()
