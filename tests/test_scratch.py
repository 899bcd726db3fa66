"""The optimizer that pre-trains a student from scratch, beside torch's own Muon."""

from typing import Any

import pytest
import torch

from rl2f_hub.training.pretraining.scratch import Muon

SETTINGS: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.01, "momentum": 0.95}


def trained(kind: type[torch.optim.Muon], shape: tuple[int, int], steps: int, rank: int = 48) -> torch.Tensor:
    """A matrix after `steps` on gradients of a rank that are the same for every kind."""
    draw = torch.Generator().manual_seed(3)
    matrix = torch.nn.Parameter(torch.randn(shape, generator=draw))
    optimizer = kind([matrix], **SETTINGS)
    for _ in range(steps):
        left, right = torch.randn(shape[0], rank, generator=draw), torch.randn(rank, shape[1], generator=draw)
        matrix.grad = left @ right
        optimizer.step()
    return matrix.detach()


@pytest.mark.parametrize("rank", [3, 48])  # with few directions rounding makes a good part of an update
@pytest.mark.parametrize("shape", [(48, 48), (128, 48), (48, 128)])
def test_muon_moves_as_torch_s(shape: tuple[int, int], rank: int) -> None:
    start = trained(Muon, shape, 0)
    ours, torchs = (trained(kind, shape, 4, rank) - start for kind in (Muon, torch.optim.Muon))
    assert torch.dist(ours, torchs) < 0.02 * torchs.norm()


def test_an_update_is_nearly_orthogonal() -> None:
    shape = (128, 48)
    start = trained(Muon, shape, 0)
    step = trained(Muon, shape, 1) - (1 - SETTINGS["lr"] * SETTINGS["weight_decay"]) * start
    scale = SETTINGS["lr"] * (shape[0] / shape[1]) ** 0.5
    values = torch.linalg.svdvals(step) / scale
    assert values.min() > 0.5 and values.max() < 1.5  # what the authors' coefficients promise


def test_what_has_no_gradient_stays() -> None:
    matrix = torch.nn.Parameter(torch.ones(4, 4))
    Muon([matrix], **SETTINGS).step()
    assert torch.equal(matrix, torch.ones(4, 4))
