"""The critique term: the student learns to predict what its teacher says, without what the teacher knows.

The teacher's tokens are in the student's context anyway, so their log-probabilities come from the forward pass that
the policy gradient needs; no second pass is made. After training, the same model can criticise its own attempt, and
say when one is right: the closing "Correct." is among the teacher's words.

A policy is trained at its sampling temperature, a critic at 1. Where the two differ, the teacher's tokens alone go
through the language-model head once more, from the hidden states of the same pass, a chunk at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from rl2f_hub.errors import RL2FError

CHUNK = 256  # tokens whose logits exist at once: a few per cent of what the policy's own pass holds


def critique_loss(logps: torch.Tensor, teacher_mask: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy over the teacher's tokens, in nats a token; 0 where there are none.

    Args:
        logps: (B, C) log-probabilities of the completion's ids at temperature 1.
        teacher_mask: (B, C), 1 on the teacher's words and the token that ends them.
        tokens: what the sum is divided by, a scalar of at least 1 before it is shared out: by default the tokens of the
            mask. A batch that is worked through in parts passes the whole's share, so that the parts add up to its mean.
    """
    return -(logps * teacher_mask).sum() / (teacher_mask.sum().clamp(min=1) if tokens is None else tokens)


class PlainLogps:
    """Log-probabilities at temperature 1 from a forward pass whose own are at another.

    Args:
        model: the `transformers` causal model (unwrapped, an adapter's base) whose passes are listened to.
        temperature: that of the log-probabilities which come out of the pass.
    """

    def __init__(self, model: Any, temperature: float) -> None:
        self.model, self.temperature = model, temperature
        self.listening = False
        self._hidden: torch.Tensor | None = None
        self._checked = False
        getattr(model, model.base_model_prefix).register_forward_hook(self._keep)

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        if self.listening:
            self._hidden = output.last_hidden_state

    def score(self, ids: torch.Tensor, mask: torch.Tensor, scaled: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (B, C) of the last C ids of the pass where `mask` is 1, else 0.

        Args:
            ids, mask: (B, C).
            scaled: (B, C), what the pass gave at its temperature; the first call is checked against it.
        Raises:
            RL2FError: the model changes its logits in a way that this does not know.
        """
        hidden, self._hidden = self._hidden, None
        assert hidden is not None, "no pass was listened to"
        chosen = mask.bool()
        states, labels = hidden[:, -ids.shape[1] - 1 : -1][chosen], ids[chosen]
        if not self._checked and len(labels):
            self._check(states[:CHUNK], labels[:CHUNK], scaled[chosen][:CHUNK])
        parts = [
            checkpoint(self._logps, states[i : i + CHUNK], labels[i : i + CHUNK], 1.0, use_reentrant=False)
            for i in range(0, len(labels), CHUNK)
        ]
        flat = torch.cat(parts) if parts else states.sum(-1)  # no token: a zero that still has a gradient
        return torch.zeros(ids.shape, device=flat.device, dtype=flat.dtype).masked_scatter(chosen, flat)

    def _logps(self, states: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
        config = self.model.config.get_text_config()
        logits = self.model.get_output_embeddings()(states).float()
        for name, inverse in (("logit_scale", False), ("logits_scaling", True)):  # Cohere; Granite
            factor = getattr(config, name, None)
            if factor is not None:
                logits = logits / factor if inverse else logits * factor
        cap = getattr(config, "final_logit_softcapping", None)
        if cap is not None:
            logits = cap * torch.tanh(logits / cap)
        return (logits / temperature).log_softmax(-1).gather(1, labels[:, None])[:, 0]

    @torch.no_grad()
    def _check(self, states: torch.Tensor, labels: torch.Tensor, scaled: torch.Tensor) -> None:
        gap = (self._logps(states, labels, self.temperature) - scaled).abs()
        # A wrong scale is wrong nearly everywhere, by much; half precision is off by little, and rarely.
        if gap.median() > 0.05:
            raise RL2FError(
                f"critique_coef: the logits of {type(self.model).__name__} cannot be read at temperature 1 (they differ by "
                f"{gap.median():.2g} from its own); set temperature to 1 or critique_coef to 0"
            )
        self._checked = True
