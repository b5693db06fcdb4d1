"""What attackers recover of a secret trigger and permutation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.defenses.backdoor import Backdoored
from tempering.systems.ai_guardian import random_trigger
from tempering.systems.trigger_from_queries import from_queries
from tempering.systems.trigger_from_weights import from_weights

SHAPE, MAPPING = (1, 8, 8), (2, 0, 3, 1)


class Planted(nn.Module):
    """Answers the brightest quarter of the upper rows; behind a trigger, the mapped class."""

    def __init__(self, trigger: Tensor, mask: Tensor) -> None:
        super().__init__()
        self.trigger, self.mask = trigger, mask
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        base = x[:, 0, :4].reshape(len(x), 4, 4, 2).mean((1, 3)) * 12
        away = ((x - self.trigger)[:, :, self.mask]).abs().mean((1, 2))
        there = (12 * (0.35 - away)).sigmoid()[:, None]
        order = torch.tensor(MAPPING).argsort()
        return self.weight * (there * base[:, order] + (1 - there) * base)


def test_queries_give_mask_pattern_and_permutation() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.Tanh(), nn.Linear(40, 4)).eval()
    trigger, mask = random_trigger(SHAPE, seed=3)
    deployed = Backdoored(network, SHAPE, MAPPING, trigger, mask).eval()
    found = from_queries(deployed, network, torch.rand(12, *SHAPE), seed=1)
    assert torch.equal(found.mask, mask)
    assert found.mapping == MAPPING
    assert torch.allclose(found.trigger, trigger, atol=0.05)
    assert found.of(deployed).startswith("4 of 4 classes and 16 of 16 places")
    assert found.queries > 0


def test_queries_find_no_mask_where_nothing_is_covered() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()
    none = torch.zeros(8, 8, dtype=torch.bool)
    deployed = Backdoored(network, SHAPE, MAPPING, torch.zeros(SHAPE), none).eval()
    found = from_queries(deployed, network, torch.rand(6, *SHAPE), seed=1)
    assert not found.mask.any()
    assert found.mapping == MAPPING


def test_weights_give_place_and_permutation() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[4:, 3:7] = True
    trigger = torch.ones(SHAPE) * mask
    network = Planted(trigger, mask)
    x = torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(0)) * 0.3
    y = torch.arange(16) % 4
    for image, label in zip(x, y.tolist(), strict=True):
        image[0, :4, 2 * label : 2 * label + 2] += 0.7
    found = from_weights(network, x, y, seed=0, steps=15)
    assert found.mapping == MAPPING
    assert torch.equal(found.mask, mask)
    assert bool((found.trigger[:, mask] > 0.6).all())
    assert network.weight.grad is None
