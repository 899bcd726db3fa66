"""Training with weights that are sharded over the processes of a job: PyTorch's FSDP2 or DeepSpeed's ZeRO-3, by accelerate.

An attempt takes as many passes as it has tokens, and every process plays dialogues of its own length, so weights cannot
be gathered pass by pass: the processes would wait for each other for ever. They are gathered once before the dialogues of
an update, all processes together, stay whole while these are played and are dropped again before the update itself. So
a process must have room for the whole weights beside the cache, but not for them beside the update's activations.

Left out: FSDP's version 1, and quantised weights, which neither of them shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rl2f_hub.errors import UsageError


def check_sharding(accelerator: Any, model: Any, plain: bool) -> None:
    """Refuses what cannot be played with or learnt from; nothing where weights are not sharded.

    Args:
        accelerator: accelerate's.
        model: the model before it is sharded.
        plain: whether the critique term needs logits of its own (`critique.PlainLogps`).
    Raises:
        UsageError: version 1 of FSDP, its shards kept on the CPU, weights in 4 or 8 bits, `plain` with ZeRO-3.
    """
    fsdp, zero3 = _fsdp(accelerator), _is_zero3(accelerator)
    if fsdp is None and not zero3:
        return
    if fsdp is not None and fsdp.fsdp_version != 2:
        raise UsageError(
            f"fsdp_version: {fsdp.fsdp_version} cannot keep weights whole while dialogues are played; set it to 2, as in "
            "recipes/accelerate/fsdp.yaml"
        )
    if fsdp is not None and type(fsdp.cpu_offload).__name__ == "CPUOffloadPolicy":
        raise UsageError(
            "fsdp_offload_params: true moves the weights for each pass, and an attempt has one per token; set it to false"
        )
    if getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False):
        raise UsageError(
            "model.quantization: quantised weights are not sharded; launch with recipes/accelerate/ddp.yaml, or set it to "
            "none"
        )
    if zero3 and plain:
        raise UsageError(
            "temperature: other than 1 with a critique term goes through the head a second time, which ZeRO-3 has taken "
            "apart by then; launch with recipes/accelerate/fsdp.yaml, or set temperature to 1 or critique_coef to 0"
        )


@contextmanager
def whole_weights(model: Any, accelerator: Any, pad_id: int) -> Iterator[None]:
    """All of a model's weights whole in every process in the block, as far as they have been sharded.

    All processes enter together; what they do within needs none of the others. Does nothing for other models.

    Args:
        model: the model as accelerate has prepared it.
        pad_id: any valid id.
    """
    if _is_zero3(accelerator):
        from trl.models.utils import unwrap_model_for_generation

        with unwrap_model_for_generation(model, accelerator):
            yield
        return
    units = _units(model)
    if not units:
        yield
        return
    kept = _ends(model)
    inner = [unit for unit in units if id(unit) not in kept]
    for unit in inner:
        unit.set_reshard_after_forward(False, recurse=False)
    _pass(model, pad_id)  # gathers everything, and nothing is dropped after it
    try:
        yield
    finally:
        for unit in inner:
            unit.set_reshard_after_forward(bool(_fsdp(accelerator).reshard_after_forward), recurse=False)
        for unit in units:
            unit.reshard()


@torch.no_grad()
def _pass(model: Any, pad_id: int) -> None:
    """One token through the model, without dropout, which would draw random numbers."""
    training = model.training
    model.eval()
    model(input_ids=torch.tensor([[pad_id]], device=next(model.parameters()).device))
    model.train(training)


def adapter_state(model: Any, adapter: str) -> dict[str, torch.Tensor]:
    """The weights of an adapter by their full names, gathered to the CPU: all processes take part."""
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        import deepspeed

        named = {name: value for name, value in model.named_parameters() if f".{adapter}." in name}
        with deepspeed.zero.GatheredParameters(list(named.values())):
            return {name: value.detach().cpu().clone() for name, value in named.items()}
    found = {name: value for name, value in model.state_dict().items() if f".{adapter}." in name}
    return {name: _full(value).detach().cpu() for name, value in found.items()}


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor; looking at it needs none of the others."""
    part: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def _fsdp(accelerator: Any) -> Any:
    return getattr(accelerator.state, "fsdp_plugin", None)


def _is_zero3(accelerator: Any) -> bool:
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    return plugin is not None and plugin.zero_stage == 3


def _full(tensor: torch.Tensor) -> torch.Tensor:
    whole: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def _units(model: Any) -> list[Any]:
    from torch.distributed.fsdp import FSDPModule

    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _ends(model: Any) -> set[int]:
    """The units at the model's ends, which accelerate never drops between the forward and the backward pass."""
    head = model.get_output_embeddings()
    state = head._get_fsdp_state() if hasattr(head, "_get_fsdp_state") else None
    tail = [unit for unit in _units(model) if state is not None and unit._get_fsdp_state() is state]
    return {id(unit) for unit in [model, *tail]}
