"""Drawing the next id: greedy, or by inverting the cumulative distribution at a given uniform number.

The uniform number decides alone; there is no random state, so a dialogue's text does not depend on its batch mates.
"""

from __future__ import annotations

import torch

from rl2f_hub.engines import Sampling

BELOW_ONE = 1 - 2.0**-52  # times any end, in double precision, stays below that end: the id found has p > 0
BLOCK = 256  # a large vocabulary is searched in two steps: which block, then where in it


def draw(logits: torch.Tensor, noise: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Next ids (B,) and their log-probabilities (B,), both under the distribution at the sampling temperature.

    Args:
        logits: (B, V), float32.
        noise: (B,), float64 in [0, 1).
    """
    if sampling.temperature == 0:
        token = logits.argmax(-1)
        return token, logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1)
    logp = (logits / sampling.temperature if sampling.temperature != 1 else logits).log_softmax(-1)
    probs = logp.exp()
    if sampling.top_p < 1:
        probs = _nucleus(probs, sampling.top_p)
    token = _invert(probs, noise)
    return token, logp.gather(1, token[:, None])[:, 0]


def _nucleus(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """`probs` with 0 outside the smallest set of likeliest ids that holds `top_p`; unnormalised."""
    ordered, ids = probs.sort(-1, descending=True)
    exact = ordered.double()
    return torch.zeros_like(probs).scatter(1, ids, ordered.masked_fill(exact.cumsum(-1) - exact >= top_p, 0.0))


def _invert(probs: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The first id (B,) at which the running sum of `probs` (B, V) exceeds `noise` times the whole sum."""
    share = (noise * BELOW_ONE)[:, None]
    if probs.shape[1] < 4 * BLOCK:
        cumulative = probs.double().cumsum(-1)
        return torch.searchsorted(cumulative, share * cumulative[:, -1:], right=True)[:, 0]
    if probs.shape[1] % BLOCK:
        probs = torch.nn.functional.pad(probs, (0, BLOCK - probs.shape[1] % BLOCK))
    blocks = probs.view(len(probs), -1, BLOCK)
    steps = blocks.sum(-1, dtype=torch.float64)
    ends = steps.cumsum(-1)
    target = share * ends[:, -1:]
    block = torch.searchsorted(ends, target, right=True)
    size = steps.gather(1, block)
    share = ((target - ends.gather(1, block) + size) / size).clamp(0, BELOW_ONE)
    inner = blocks[torch.arange(len(probs), device=probs.device), block[:, 0]].double().cumsum(-1)
    return block[:, 0] * BLOCK + torch.searchsorted(inner, share * inner[:, -1:], right=True)[:, 0]
