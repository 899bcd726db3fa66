"""The first-turn KL's reference: the policy that training started from, as a frozen copy of its adapter.

TRL makes such a copy itself when `beta` is not 0; the one here is the same, under the same name, for runs without.
"""

from __future__ import annotations

from typing import Any

import torch

from rl2f_hub.errors import UsageError

REFERENCE = "ref"  # TRL's own name for the frozen copy of the adapter that training starts from


def keep_reference(model: Any) -> None:
    """Freezes a copy of the adapter `default` of a PEFT model as `ref`, unless there is one.

    Raises:
        UsageError: a model without an adapter.
    """
    if not hasattr(model, "peft_config"):
        raise UsageError("first_turn_kl: needs an adapter to compare with its start; pass peft_config or set it to 0")
    if REFERENCE in model.peft_config:
        return
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    state = get_peft_model_state_dict(model, adapter_name="default")
    model.add_adapter(REFERENCE, model.peft_config["default"])
    set_peft_model_state_dict(model, {k: v.clone() for k, v in state.items()}, adapter_name=REFERENCE)
    model.set_adapter("default")
    for name, parameter in model.named_parameters():
        if f".{REFERENCE}." in name:
            parameter.requires_grad_(False)


def first_turn_kl(logps: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL to the reference, summed over the tokens of `mask`: Schulman's k3, as TRL's own KL. All of shape (B, C)."""
    gap = (reference - logps) * mask
    return ((gap.exp() - gap - 1) * mask).sum()
