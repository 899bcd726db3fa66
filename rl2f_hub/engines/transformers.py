"""The transformers engine: any causal model of the library, on any device, with its key-value cache kept over turns.

Only new tokens are ever prefilled. Rows of unequal length share one cache through holes: a row that waits feeds
padding that its attention mask hides, and position ids count real tokens only, so the numbers are those of a fresh
forward pass over the row alone. Finished dialogues leave the batch at the next turn.

A token is drawn by inverting the cumulative distribution at a uniform number that depends on the dialogue's seed,
turn and position: the text of a dialogue does not depend on its batch mates.

Left out: paged memory, continuous batching and tensor parallelism; other engines have those.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from rl2f_hub.engines import Sampled, Sampling, uniforms


class TransformersEngine:
    """Generates with a `transformers` (or PEFT) causal model that stays where it is.

    Args:
        model: the model; its train/eval mode is restored after each call.
        pad_id: any valid id; it fills holes and is never attended to.
    """

    def __init__(self, model: Any, pad_id: int) -> None:
        self.model = model
        self.pad_id = pad_id
        config = model.config.get_text_config()
        self.context_length: int = int(getattr(config, "max_position_embeddings", 1 << 20))

    def open(self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int]) -> TransformersSession:
        return TransformersSession(self, seeds, sampling, stop_ids)


class TransformersSession:
    """One batch of dialogues on one growing cache."""

    def __init__(
        self, engine: TransformersEngine, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int]
    ) -> None:
        self.engine, self.seeds, self.sampling = engine, seeds, sampling
        self.device = next(engine.model.parameters()).device
        self.stop = torch.tensor(sorted(stop_ids), device=self.device)
        self.rows: list[int] | None = None  # rows in the cache, in cache order
        self.cache: Any = None
        self.mask = torch.zeros(0, 0, dtype=torch.long, device=self.device)  # (B, cache length), 1 = real token
        self.unfed: dict[int, int] = {}  # the last sampled id of a row is not in the cache yet

    @torch.no_grad()
    def generate(self, rows: list[int], new_ids: list[list[int]], turn: int) -> list[Sampled]:
        model = self.engine.model
        was_training = model.training
        model.eval()
        if was_training:
            _keep_trainable(model)
        try:
            return self._generate(rows, new_ids, turn)
        finally:
            model.train(was_training)

    def _generate(self, rows: list[int], new_ids: list[list[int]], turn: int) -> list[Sampled]:
        self._select(rows)
        chunks = [([self.unfed.pop(r)] if r in self.unfed else []) + ids for r, ids in zip(rows, new_ids, strict=True)]
        width = max(len(c) for c in chunks)
        ids = torch.tensor([[self.engine.pad_id] * (width - len(c)) + c for c in chunks], device=self.device)
        real = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in chunks], device=self.device)
        logits = self._forward(ids, real)
        limit = self.sampling.turn_tokens
        noise = torch.from_numpy(uniforms([self.seeds[r] for r in rows], turn, limit)).to(self.device)
        alive = torch.ones(len(rows), dtype=torch.bool, device=self.device)
        tokens, logps, lived = [], [], []
        for position in range(limit):
            token, logp = self._draw(logits, noise[:, position])
            tokens.append(token)
            logps.append(logp)
            lived.append(alive)
            alive = alive & ~torch.isin(token, self.stop)
            if position + 1 == limit or not bool(alive.any()):
                break
            logits = self._forward(token[:, None], alive[:, None].long())
        lengths = torch.stack(lived).sum(0).tolist()
        table, scores = torch.stack(tokens, 1).tolist(), torch.stack(logps, 1).tolist()
        stopped = (~alive).tolist()
        out = []
        for b, row in enumerate(rows):
            n = lengths[b]
            self.unfed[row] = table[b][n - 1]
            out.append(Sampled(table[b][:n], scores[b][:n], stopped[b]))
        return out

    def _select(self, rows: list[int]) -> None:
        """Keep only `rows` in the cache."""
        if self.rows is None:
            from transformers import DynamicCache

            self.cache = DynamicCache(config=self.engine.model.config)
            self.mask = torch.zeros(len(rows), 0, dtype=torch.long, device=self.device)
        elif rows != self.rows:
            where = {row: i for i, row in enumerate(self.rows)}
            index = torch.tensor([where[r] for r in rows], device=self.device)
            self.cache.batch_select_indices(index)
            self.mask = self.mask[index]
        self.rows = list(rows)

    def _forward(self, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Feed (B, W) ids of which `real` marks the true ones; returns float32 logits (B, V) of the last position."""
        before = self.mask.sum(1, keepdim=True)
        self.mask = torch.cat([self.mask, real], dim=1)
        positions = (before + real.cumsum(1) - 1).clamp(min=0)
        output = self.engine.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _draw(self, logits: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Next ids (B,) and their log-probabilities (B,) under the distribution they are drawn from."""
        temperature, top_p = self.sampling.temperature, self.sampling.top_p
        if temperature == 0:
            logp = logits.log_softmax(-1)
            token = logits.argmax(-1)
            return token, logp.gather(1, token[:, None])[:, 0]
        logp = (logits / temperature).log_softmax(-1)
        cumulative = logp.double().exp().cumsum(-1)
        if top_p < 1:
            order = logp.sort(-1, descending=True)
            sorted_probs = order.values.double().exp()
            drop = sorted_probs.cumsum(-1) - sorted_probs >= top_p
            probs = logp.double().exp().scatter(1, order.indices, sorted_probs.masked_fill(drop, 0.0))
            cumulative = probs.cumsum(-1)
        target = noise[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
        return token, logp.gather(1, token[:, None])[:, 0]


def _keep_trainable(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights while a training run generates.

    On CPUs with AVX512-BF16 a `Linear4bit` in eval mode repacks its weights for inference, for good; the packed product
    has no gradient, so a later backward pass would silently lose what flows through it. The flag changes nothing else.
    """
    bitsandbytes = sys.modules.get("bitsandbytes")
    if bitsandbytes is not None:
        for module in model.modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                module.train()
