"""The library's own continuous batching as an engine, for greedy evaluation on a GPU.

It batches requests as they come and keeps what it has read in pages by prefix. Two things keep it from more: it draws
from one random state for the whole batch, so a sampled text would depend on its batch mates (refused here, and with it
training), and it builds its cache anew at every call. On a CPU it is several times slower than our own engine.

Left out: sampling; log-probabilities are those of the library, at temperature 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rl2f_hub.engines import Engine, OnToken, Sampled, Sampling
from rl2f_hub.engines.kinds import context_of
from rl2f_hub.engines.memory import cache_budget
from rl2f_hub.errors import RL2FError, UsageError

PAGE = 64  # ids in a page
PASS = 1024  # most ids of one forward pass


class ContinuousEngine(Engine):
    """Generates with `model.generate_batch`.

    Args:
        cache_tokens: most positions of the cache; by default half of the memory that is free now.
    """

    def __init__(self, model: Any, pad_id: int, cache_tokens: int | None = None) -> None:
        self.model, self.pad_id = model, pad_id
        config = model.config.get_text_config()
        device = next(model.parameters()).device
        self.cache_tokens = cache_budget(config, model.dtype, device) if cache_tokens is None else cache_tokens
        self.context_length = min(context_of(config), self.cache_tokens - PAGE)

    def open(
        self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0
    ) -> ContinuousSession:
        if sampling.temperature != 0:
            raise UsageError(
                "engine.kind: 'continuous' is greedy only (it has no seed for each dialogue); set temperature 0 or "
                "engine.kind transformers"
            )
        return ContinuousSession(self, sampling, stop_ids, int(share * self.cache_tokens))


class ContinuousSession:
    """Histories, asked for whole at every turn."""

    def __init__(self, engine: ContinuousEngine, sampling: Sampling, stop_ids: frozenset[int], budget: int) -> None:
        self.engine, self.sampling, self.stops, self.budget = engine, sampling, sorted(stop_ids), budget
        self.history: dict[int, list[int]] = {}

    def restart(self, row: int) -> None:
        """See `engines.Session`."""
        self.history.pop(row, None)

    def generate(
        self,
        rows: list[int],
        new_ids: list[list[int]],
        turn: int | Sequence[int],
        on_token: OnToken | None = None,
    ) -> list[Sampled]:
        """See `engines.Session`; `on_token` hears an attempt's ids when it is whole."""
        from transformers import ContinuousBatchingConfig, GenerationConfig

        for row, new in zip(rows, new_ids, strict=True):
            self.history.setdefault(row, []).extend(new)
        prompts = [list(self.history[row]) for row in rows]
        pages = 8 + sum(-(-(len(ids) + self.sampling.turn_tokens) // PAGE) for ids in prompts)
        sizes = ContinuousBatchingConfig(
            page_size=PAGE,
            num_blocks=min(pages, max(8, self.budget // PAGE)),  # stated: left alone it takes most of the memory
            max_batch_tokens=PASS,
            return_logprobs=True,
        )
        config = GenerationConfig(
            max_new_tokens=self.sampling.turn_tokens,
            do_sample=False,
            eos_token_id=self.stops or -1,
            pad_token_id=self.engine.pad_id,
        )
        model = self.engine.model
        attention, was_training = model.config._attn_implementation, model.training
        model.eval()
        try:
            done = model.generate_batch(
                prompts, generation_config=config, continuous_batching_config=sizes, progress_bar=False
            )
        finally:
            model.set_attn_implementation(attention)
            model.train(was_training)
        if len(done) != len(rows):
            raise RL2FError(
                f"engine.kind: 'continuous': {len(done)} of {len(rows)} attempts came back; use transformers"
            )
        replies = sorted(done.values(), key=lambda reply: int(reply.request_id.rsplit("_", 1)[1]))
        out = []
        for row, reply in zip(rows, replies, strict=True):
            ids = list(reply.generated_tokens)
            out.append(Sampled(ids, list(reply.logprobs), ids[-1] in self.stops))
            self.history[row] += ids
            if on_token is not None:
                for token in ids:
                    on_token(row, token)
        return out
