"""A model without its adapters for the length of a block, and afterwards everything as it was.

A quantised base is kept in the form that the student trains on. Left out: merged adapters and adapters without a PEFT
model around them, which cannot be switched off.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rl2f_hub.errors import UsageError


@contextmanager
def base_alone(model: Any) -> Iterator[None]:
    """The model without its adapters, and afterwards everything as it was.

    Put back: the training flag of every module, `requires_grad` of every parameter (PEFT changes both when it switches
    an adapter), the random state of the CPU and all GPUs. The settings for caching and checkpointing are not touched.

    Raises:
        UsageError: adapters that cannot be switched off.
    """
    import torch

    _check_adapters(model)
    modes = [(module, module.training) for module in model.modules()]
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        try:
            if any(wanted for _, wanted in trainable):
                # Says to the engine that a backward pass may follow, also when a trainer generates in eval mode: a
                # 4-bit base must then not be repacked for inference.
                model.training = True
            with model.disable_adapter() if _is_peft(model) else nullcontext():
                yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, wanted in trainable:
                parameter.requires_grad_(wanted)


def _is_peft(model: Any) -> bool:
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel | peft.PeftMixedModel)


def _check_adapters(model: Any) -> None:
    peft = sys.modules.get("peft")
    if peft is None:
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if layers and not _is_peft(model):
        raise UsageError("teacher.kind: 'self': the adapter sits inside a plain model; pass the PEFT model")
    if any(layer.merged for layer in layers):
        raise UsageError("teacher.kind: 'self': the adapter is merged into the base; unmerge it first")
