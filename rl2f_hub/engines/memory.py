"""How many positions a key-value cache may have, from the memory that is free, and what is told when it was too many.

Free memory is the device's on CUDA and the machine's elsewhere; limits that a container sets are not seen: state
`cache_tokens` there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from rl2f_hub.engines import OnToken

SHARE = 0.5  # of the free memory; activations, logits and everyone else get the rest
UNKNOWN = 4 << 30  # bytes, where the system does not say how much is free


def cache_budget(config: Any, dtype: torch.dtype, device: torch.device) -> int:
    """Positions that fit into the share of the free memory, for a model of this (text) config; at least 2."""
    return max(2, int(SHARE * _free_bytes(device)) // bytes_per_position(config, dtype))


def bytes_per_position(config: Any, dtype: torch.dtype) -> int:
    """Bytes that one id takes in the cache, over all layers."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * size * dtype.itemsize


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return UNKNOWN


class Told:
    """An `on_token` that passes each id of a row on once, also where the row is drawn again from its start."""

    def __init__(self, tell: OnToken) -> None:
        self.tell = tell
        self.told: Counter[int] = Counter()
        self.at: Counter[int] = Counter()

    def __call__(self, row: int, drawn: int) -> None:
        self.at[row] += 1
        if self.at[row] > self.told[row]:
            self.told[row] += 1
            self.tell(row, drawn)

    def again(self, rows: Sequence[int]) -> None:
        """What `rows` draw next is their first id."""
        for row in rows:
            self.at[row] = 0
