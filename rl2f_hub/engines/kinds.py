"""What kind of model the engine was given: how far its layers look back, how its attention takes masks, 4-bit weights.

Kinds that would be computed wrongly are refused.
"""

from __future__ import annotations

import sys
from typing import Any

from rl2f_hub.errors import RL2FError


def context_of(config: Any) -> int:
    """The most ids that a model reads at once."""
    return int(getattr(config, "max_position_embeddings", 1 << 20))


def windows_of(config: Any) -> dict[str, int | None]:
    """The kinds of attention layers of a model and how far each looks back; None: to the start."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    for kind in kinds:
        if kind not in ("full_attention", "sliding_attention"):
            raise RL2FError(
                f"model type {config.model_type!r}: the engine does not know layers of type {kind!r}; take another model"
            )
    return {kind: window if kind == "sliding_attention" else None for kind in dict.fromkeys(kinds)}


def attention_of(config: Any) -> str:
    """`sdpa` or `eager`."""
    name = getattr(config, "_attn_implementation", None) or "eager"
    if name not in ("sdpa", "eager"):
        raise RL2FError(
            f"attn_implementation: {name!r} takes no mask of a dialogue's own; load the model with 'sdpa' or 'eager'"
        )
    return name


def keep_trainable(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights while a training run generates.

    On CPUs with AVX512-BF16 a `Linear4bit` in eval mode repacks its weights for inference, for good; the packed product
    has no gradient, so a later backward pass would silently lose what flows through it. The flag changes nothing else.
    """
    bitsandbytes = sys.modules.get("bitsandbytes")
    if bitsandbytes is not None:
        for module in model.modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                module.train()
