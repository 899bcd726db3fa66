"""Drawing the next id: greedy, or by inverting the cumulative distribution at a given uniform number.

The uniform number decides alone; there is no random state, so a dialogue's text does not depend on its batch mates.
"""

from __future__ import annotations

import torch

from rl2f_hub.engines import Sampling

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
    if probs.shape[1] < 4 * BLOCK:
        return _first_above(probs.double().cumsum(-1), noise)[0]
    if probs.shape[1] % BLOCK:
        probs = torch.nn.functional.pad(probs, (0, BLOCK - probs.shape[1] % BLOCK))
    blocks = probs.view(len(probs), -1, BLOCK)
    block, into = _first_above(blocks.sum(-1, dtype=torch.float64).cumsum(-1), noise)
    rows = torch.arange(len(probs), device=probs.device)
    inner, _ = _first_above(blocks[rows, block].double().cumsum(-1), into)
    return block * BLOCK + inner


def _first_above(cumulative: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where `cumulative` (B, N) first exceeds `share` of its end, and which share of that step lies below the point."""
    end = cumulative[:, -1]
    # Strictly below the end, whatever rounding does: the place found then has a probability above 0.
    target = torch.minimum(share * end, torch.nextafter(end, torch.zeros_like(end)))[:, None]
    place = torch.searchsorted(cumulative, target, right=True)
    top = cumulative.gather(1, place)
    low = cumulative.gather(1, (place - 1).clamp(min=0)).masked_fill(place == 0, 0.0)
    return place[:, 0], ((target - low) / (top - low))[:, 0]
