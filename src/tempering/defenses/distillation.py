"""A small differentiable network that imitates scores which have no gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tempering.defenses.features import BATCH_SIZE
from tempering.models.seeded import seeded

_STEPS = 600
_BATCH = 128
_CLIP = 0.02


def surrogate_network(width: int, hidden: int = 64) -> nn.Sequential:
    """From features to one log odds each; weights from torch's global generator."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def distil(
    network: nn.Sequential, probability: Callable[[Tensor], Tensor], features: Tensor, seed: int
) -> None:
    """Train a network to give the log odds of probabilities, in place.

    It learns the samples and as many points between two of them, where an attack passes.

    Args:
        network: As `surrogate_network` returns it.
        probability: What it imitates: features to probabilities, shape (n,).
        features: Of clean and adversarial samples, shape (n, width).
        seed: Of batches and weights.
    """
    with seeded(seed), torch.enable_grad():
        for layer in network:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        others = features[torch.randperm(len(features))]
        between = features + torch.rand(len(features), 1) * (others - features)
        points = torch.cat([features, between])
        with torch.no_grad():
            batches = torch.split(points, BATCH_SIZE)
            wanted = torch.cat([probability(part) for part in batches]).clamp(_CLIP, 1 - _CLIP)
        adam = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(_STEPS):
            rows = torch.randint(len(points), (_BATCH,))
            adam.zero_grad()
            odds = network(points[rows])[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(odds, wanted[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    for parameter in network.parameters():
        parameter.grad = None
