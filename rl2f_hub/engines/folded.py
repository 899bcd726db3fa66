"""LoRA folded into copies of the weights while a model generates, and everything as it was afterwards.

An adapter beside its base costs two more matrix products and a dozen Python calls for every linear layer and token;
in a small model that is most of a step. Generation changes no weight, so the sum can be made once: for the time of a
call the layers point at folded copies and then at their own tensors again. Nothing is added to the base and taken off
again, so the base is the same to the last bit. Numbers move in the last bits only: float32 weights alone are folded.

Left as they are: layers in 4 bits or half precision, DoRA and other variants, adapters with a bias, sharded weights,
adapters that are off or merged already, and everything if the copies would take more than `MOST_BYTES`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

MOST_BYTES = 2 << 30


class Folded:
    """Folded copies for one model, made again when an adapter or a base weight has changed.

    Args:
        most_bytes: nothing is folded where the copies would take more; 0 never folds.
    """

    def __init__(self, model: Any, most_bytes: int = MOST_BYTES) -> None:
        self.model, self.most_bytes = model, most_bytes
        self._made: tuple[Any, list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]] | None = None

    @contextmanager
    def within(self) -> Iterator[None]:
        """Generate with the folded copies in the block, which must not change a weight."""
        layers = _layers(self.model, self.most_bytes)
        if not layers:
            yield
            return
        weights = [layer.get_base_layer().weight for layer in layers]
        own = [weight.data for weight in weights]
        copies = self._copies(layers, own)
        try:
            for layer, weight, copy in zip(layers, weights, copies, strict=True):
                weight.data = copy
                layer.merged_adapters = list(layer.active_adapters)  # says to PEFT: the base layer alone
            yield
        finally:
            for layer, weight, tensor in zip(layers, weights, own, strict=True):
                weight.data = tensor
                layer.merged_adapters = []

    @torch.no_grad()
    def _copies(self, layers: list[Any], own: list[torch.Tensor]) -> list[torch.Tensor]:
        pairs = [(layer, name) for layer in layers for name in layer.active_adapters]
        adapters = [part[name].weight.detach() for layer, name in pairs for part in (layer.lora_A, layer.lora_B)]
        bases = [layer.get_base_layer().weight for layer in layers]  # `own` have version counters of their own
        state = [(tensor.data_ptr(), tensor._version) for tensor in bases], [float(a.scaling[n]) for a, n in pairs]
        if not self._current(state, adapters):
            self._made = None  # never two sets of copies at once
            copies = []
            for layer, weight in zip(layers, own, strict=True):
                copy = weight.clone()
                for name in layer.active_adapters:
                    copy += layer.get_delta_weight(name)
                copies.append(copy)
            # The base's tensors are held, so that no other tensor can come to lie where one of them was. Adapters are
            # kept by value: fused optimizers write past the version counters of tensors.
            self._made = state, copies, [tensor.detach() for tensor in bases], [a.clone() for a in adapters]
        assert self._made is not None
        return self._made[1]

    def _current(self, state: Any, adapters: list[torch.Tensor]) -> bool:
        if self._made is None or self._made[0] != state:
            return False
        kept = self._made[3]
        return len(kept) == len(adapters) and all(map(torch.equal, kept, adapters))


def _layers(model: Any, most_bytes: int) -> list[Any]:
    """The layers whose adapter can be folded; none where there would be too much to copy."""
    if "peft" not in sys.modules:
        return []
    from peft.tuners.lora import Linear

    found: list[Any] = [module for module in model.modules() if isinstance(module, Linear) and _foldable(module)]
    size = sum(layer.get_base_layer().weight.nbytes for layer in found)
    return found if size <= most_bytes else []


def _foldable(layer: Any) -> bool:
    base, names = layer.get_base_layer(), layer.active_adapters
    return (
        type(base) is torch.nn.Linear
        and type(base.weight.data) is torch.Tensor
        and base.weight.dtype is torch.float32
        and base.weight.numel() > 0
        and not layer.disable_adapters
        and not layer.merged
        and len(names) > 0
        and all(name in layer.lora_A and name not in layer.lora_variant for name in names)
        and not any(bool(layer.lora_bias.get(name)) for name in names)
    )
