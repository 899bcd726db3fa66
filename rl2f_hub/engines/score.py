"""Log-probabilities of given ids after given contexts, for a local `transformers` or PEFT model.

What an evaluation asks of a model beside its attempts: how likely is the right answer now, how sure is the student that
its attempt is right. Whole contexts are read again for every question; nothing is cached. Engines without weights of
their own (an endpoint) cannot be asked, see `can_score`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rl2f_hub.engines import Engine

BATCH_TOKENS = 16_384  # padded ids in one forward pass


def can_score(engine: Engine) -> bool:
    """Whether an engine has a model here that can be asked."""
    return engine.model is not None


def log_likelihoods(engine: Engine, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """For each (context, target): log p(target | context) in nats, at temperature 1, in the order given.

    An empty target has log-probability 0. Pairs longer than the model's context are nan.
    """
    out = [0.0] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    batch: list[int] = []
    for i in order:
        context, target = pairs[i]
        if not context:
            raise ValueError("a context needs at least one id")
        length = len(context) + len(target)
        if length > engine.context_length:
            out[i] = float("nan")
            continue
        if not target:
            continue
        if batch and (len(batch) + 1) * length > BATCH_TOKENS:
            _score(engine, pairs, batch, out)
            batch = []
        batch.append(i)
    if batch:
        _score(engine, pairs, batch, out)
    return out


def _score(engine: Engine, pairs: Sequence[tuple[list[int], list[int]]], batch: list[int], out: list[float]) -> None:
    """One forward pass over `batch`, padded on the left so that all targets end in the same column."""
    import torch

    model = engine.model
    device = next(model.parameters()).device
    rows = [pairs[i][0] + pairs[i][1] for i in batch]
    width, longest = max(map(len, rows)), max(len(pairs[i][1]) for i in batch)
    ids = torch.tensor([[engine.pad_id] * (width - len(r)) + r for r in rows], device=device)
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                use_cache=False,
                logits_to_keep=longest + 1,
            ).logits
    finally:
        model.train(was_training)
    logps = logits[:, :-1].float().log_softmax(-1)  # (B, longest, V): what comes at each of the last places
    picked = logps.gather(2, ids[:, -longest:, None])[:, :, 0]
    for row, i in enumerate(batch):
        out[i] = float(picked[row, longest - len(pairs[i][1]) :].sum())
