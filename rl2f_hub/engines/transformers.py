"""The transformers engine: causal attention models of the library, on any device, their key-value cache kept over turns.

Only new ids are ever fed. Every dialogue has a slot of the cache to itself (`slots.py`), so dialogues of unequal
length share a batch without padding between turns; position ids count real ids only, and the numbers are those of a
fresh forward pass over the dialogue alone. Within a turn, dialogues that have stopped leave the batch; between turns,
finished ones give their place to others. Equal prompts are fed once, so is what unequal ones have in common in front,
and the rest goes in batches of like lengths.

A LoRA adapter on float32 weights is folded into copies of them for the time of a call (`folded.py`).

The cache of a session never holds more than its share of `cache_tokens` positions. Dialogues that do not fit at once
take turns, and what had to be dropped is fed again: slower, with the same text. Where an allocation fails all the same,
half as many dialogues run at once from then on.

A token is drawn by inverting the cumulative distribution at a uniform number that depends on the dialogue's seed,
turn and position: the text of a dialogue does not depend on its batch mates, as far as rounding allows (matrix
products of another size may round differently in the last bit, which can decide a near tie).

Left out: linear attention, paged memory, tensor parallelism and compiled graphs; other engines have those.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from rl2f_hub.engines import Engine, Sampling
from rl2f_hub.engines.folded import Folded
from rl2f_hub.engines.kinds import attention_of, context_of, windows_of
from rl2f_hub.engines.memory import cache_budget
from rl2f_hub.engines.session import TransformersSession
from rl2f_hub.errors import UsageError


class TransformersEngine(Engine):
    """Generates with a `transformers` (or PEFT) causal model that stays where it is.

    Args:
        model: the model; its train/eval mode is restored after each call.
        pad_id: any valid id; it fills rows up and is never attended to.
        cache_tokens: most positions the cache of a session may have; by default half of the memory that is free now.
        fold: whether the model's weights may change for the time of a call (`folded.py`); False where an `on_token`
            lets others use the model between two tokens.
    Raises:
        RL2FError: a model whose layers or attention implementation the engine does not know.
        UsageError: `cache_tokens` too small for a single attempt.
    """

    def __init__(self, model: Any, pad_id: int, cache_tokens: int | None = None, fold: bool = True) -> None:
        self.model = model
        self.pad_id = pad_id
        config = model.config.get_text_config()
        self.layers: int = config.num_hidden_layers
        self.windows = windows_of(config)
        self.folded = Folded(model) if fold else Folded(model, most_bytes=0)
        self.additive = attention_of(config) == "eager"  # eager attention adds its mask, the fused one takes booleans
        # The library is renaming the argument; both names work for a while, the old one with a warning at every call.
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.cache_name = "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"
        self.device: torch.device = next(model.parameters()).device
        self.cache_tokens = cache_budget(config, model.dtype, self.device) if cache_tokens is None else cache_tokens
        if self.cache_tokens < 2:
            raise UsageError(f"cache_tokens: {self.cache_tokens} holds no dialogue; set it to the longest one or more")
        self.context_length = min(context_of(config), self.cache_tokens - 1)

    @property
    def generation_config(self) -> Any:
        return getattr(self.model, "generation_config", None)

    def open(
        self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0
    ) -> TransformersSession:
        return TransformersSession(self, seeds, sampling, stop_ids, int(share * self.cache_tokens))

    def masks(self, positions: torch.Tensor, reach: int) -> Any:
        """What ids at `positions` (B, W) attend to among the first `reach` entries: (B, 1, W, reach), for each kind."""
        key = torch.arange(reach, device=self.device)
        query = positions.clamp(min=0)[:, None, :, None]
        out = {}
        for kind, window in self.windows.items():
            seen = key <= query
            if window is not None:
                seen &= key > query - window
            if self.additive:
                dtype = self.model.dtype
                zero, hidden = torch.zeros((), dtype=dtype), torch.full((), torch.finfo(dtype).min, dtype=dtype)
                seen = torch.where(seen, zero.to(self.device), hidden.to(self.device))
            out[kind] = seen
        return out if len(out) > 1 else next(iter(out.values()))
