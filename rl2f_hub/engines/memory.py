"""How many positions a key-value cache may have, from the memory that is free.

Free memory is the device's on CUDA and the machine's elsewhere; limits that a container sets are not seen: state
`cache_tokens` there.
"""

from __future__ import annotations

from typing import Any

import torch

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
