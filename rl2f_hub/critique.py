"""The critique term: the student learns to predict what its teacher says, without what the teacher knows.

The teacher's tokens are in the student's context anyway, so their log-probabilities come from the forward pass that
the policy gradient needs; no second pass is made. After training, the same model can criticise its own attempt.
"""

from __future__ import annotations

import torch


def critique_loss(logps: torch.Tensor, teacher_mask: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy, in nats a token, over the teacher's tokens; 0 where there are none.

    Args:
        logps: (B, C) log-probabilities of the completion's ids at temperature 1.
        teacher_mask: (B, C), 1 on the teacher's words and the token that ends them.
    """
    return -(logps * teacher_mask).sum() / teacher_mask.sum().clamp(min=1)
