"""How prompts are cut into forward passes: like lengths together, and what they have in common apart."""

from __future__ import annotations

PREFILL_TOKENS = 8192  # most ids, padding included, of one forward pass over prompts: bounds its activations
PADDING = 1 / 4  # most of a pass over prompts that may be padding, once it has more than
SMALL_PASS = 512  # ids: a pass is not worth splitting below this, it costs its overhead anyway


def alike(slots: list[int], lengths: list[int]) -> list[list[int]]:
    """`slots` in batches of like `lengths`, in an order that a batch of all keeps: the cache then needs no picking."""
    if len(slots) * max(lengths[s] for s in slots) <= SMALL_PASS:
        return [slots]
    batches: list[list[int]] = []
    real = 0
    for slot in sorted(slots, key=lambda s: lengths[s]):
        padded = (len(batches[-1]) + 1) * lengths[slot] if batches else 0
        wasteful = padded > SMALL_PASS and padded - real - lengths[slot] > PADDING * padded
        if not batches or padded > PREFILL_TOKENS or wasteful:
            batches.append([])
            real = 0
        batches[-1].append(slot)
        real += lengths[slot]
    return [sorted(batch) for batch in batches]


def common_start(lists: list[list[int]]) -> list[int]:
    """What all of `lists` begin with."""
    count = 0
    for column in zip(*lists, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return lists[0][:count]
