"""A key-value cache with a slot for each dialogue, in which every id lies at its own position.

The library's dynamic cache grows by copying itself at every token and keeps padding between the turns of unequal rows.
Here a slot is filled in place: the id at position p of a dialogue is entry p of its slot, whatever the others do.
Dialogues can therefore join, leave and change places at any time, and "may attend to" is "lies at or before".
The last entry of every slot is waste: padding is written there and never read.

Left out: pages smaller than a slot, linear attention, windows that forget (a window only hides; nothing is freed).
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, (slots, heads, entries, head size) each; `SlotCache` says where to read and write."""

    is_sliding = False
    is_croppable = False

    def __init__(self, owner: SlotCache) -> None:
        super().__init__()
        self._owner = weakref.ref(owner)  # no circle: the memory of a cache is free as soon as its session is gone

    @property
    def owner(self) -> SlotCache:
        owner = self._owner()
        assert owner is not None, "a layer is used without its cache"
        return owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        size = (self.owner.rows, key_states.shape[1], self.owner.entries)
        # Zeros, not empty memory: a masked entry is multiplied by 0, and 0 * nan is nan.
        self.keys = key_states.new_zeros(*size, key_states.shape[-1])
        self.values = value_states.new_zeros(*size, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        owner, places = self.owner, self.owner.places_for(key_states.shape[1])
        for store, new in ((self.keys, key_states), (self.values, value_states)):
            size = new.shape[-1]
            store.view(-1, size).index_copy_(0, places, new.transpose(1, 2).reshape(-1, size).to(store.dtype))
        if owner.picked is None:
            return self.keys[: owner.batch, :, : owner.reach], self.values[: owner.batch, :, : owner.reach]
        return self.keys[owner.picked, :, : owner.reach], self.values[owner.picked, :, : owner.reach]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.reach, 0

    def get_seq_length(self) -> int:
        return self.owner.reach

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """`rows` slots of `entries` entries in every layer, allocated at the first forward pass.

    Before each forward pass `aim` says which slots its rows are and where their ids lie.
    """

    def __init__(self, layers: int, device: torch.device) -> None:
        self.stores = [SlotLayer(self) for _ in range(layers)]
        super().__init__(layers=[*self.stores])
        self.device = device
        self.rows = self.entries = 0
        self.batch = self.reach = 0
        self.picked: torch.Tensor | None = None
        self._places: dict[int, torch.Tensor] = {}

    def aim(self, slots: list[int], positions: torch.Tensor, reach: int) -> None:
        """The next pass feeds `slots` at `positions` (B, W), -1 for padding, and reads the first `reach` entries."""
        self.batch, self.reach = len(slots), reach
        in_order = slots == list(range(len(slots)))
        self.picked = None if in_order else torch.tensor(slots, device=self.device)
        self._slots = torch.arange(len(slots), device=self.device) if self.picked is None else self.picked
        self._positions = positions.where(positions >= 0, self.entries - 1)
        self._places = {}

    def step(self, reach: int) -> None:
        """As the last pass, one position further on: `aim` without its price."""
        self.reach = reach
        self._positions = self._positions + 1
        for places in self._places.values():
            places += 1

    def places_for(self, heads: int) -> torch.Tensor:
        """Flat indices (B * W * heads) of the entries that the pass writes, the same for all layers of so many heads."""
        if heads not in self._places:
            head = torch.arange(heads, device=self.device)
            line = self._slots[:, None, None] * heads + head
            self._places[heads] = (line * self.entries + self._positions[:, :, None]).reshape(-1)
        return self._places[heads]

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` slots of `length` ids; what is in the cache stays where it is."""
        entries = length + 1
        if rows <= self.rows and entries <= self.entries:
            return
        self.rows, self.entries = max(rows, self.rows), max(entries, self.entries)
        for layer in self._filled():  # layer by layer: at no time are there two whole caches
            for name in ("keys", "values"):
                old = getattr(layer, name)
                new = old.new_empty(self.rows, old.shape[1], self.entries, old.shape[3])
                new[: old.shape[0], :, : old.shape[2] - 1] = old[:, :, :-1]
                new[: old.shape[0], :, old.shape[2] - 1 :] = 0
                new[old.shape[0] :] = 0
                setattr(layer, name, new)
                del old

    def release(self) -> None:
        """Free the memory; every slot is empty again."""
        self.rows = self.entries = 0
        for layer in self.stores:
            layer.keys = layer.values = None
            layer.is_initialized = False

    def copy(self, source: list[int], target: list[int], length: int) -> None:
        """Slots `target` become what slots `source` are, in the first `length` entries; the lists may overlap."""
        if source:
            a, b = (torch.tensor(slots, device=self.device) for slots in (source, target))
            for layer in self._filled():
                layer.keys[b, :, :length] = layer.keys[a, :, :length]  # the right side is a copy already
                layer.values[b, :, :length] = layer.values[a, :, :length]

    def _filled(self) -> list[Any]:  # SlotLayers; that their tensors are there is not in the type
        return [layer for layer in self.stores if layer.is_initialized]
