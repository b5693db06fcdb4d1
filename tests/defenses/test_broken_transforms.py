"""Declared backward passes against an attacker who does not know of the transform.

On a network that learnt digits without any defense: an oblivious attack on the network alone,
and an adaptive one on the pipeline.
"""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import EOT, PGD
from tempering.attacks.base import Attack
from tempering.core.backward import random_stages, with_declared_backward
from tempering.core.protocols import Transform
from tempering.core.threats import Linf, Threat
from tempering.defenses import (
    BitDepth,
    GaussianBlur,
    GaussianNoise,
    Jpeg,
    MedianFilter,
    NonLocalMeans,
    Pipeline,
    ResizePad,
    Thermometer,
    TotalVariation,
)
from tests.attacks.trained import digits, known, standing, trained

CASES = [
    (MedianFilter(3), 0.12, 30, 0.2),
    (Jpeg(25), 0.12, 30, 0.3),
    (BitDepth(2), 0.2, 30, 0.3),
    (TotalVariation(1.0, 0.1, 20), 0.12, 20, 0.3),
    (NonLocalMeans(5, 3, 0.1), 0.12, 20, 0.3),
    (GaussianBlur(0.7), 0.12, 30, 0.0),
    (TotalVariation(0.7, 0.03, 15), 0.15, 15, 0.2),
    (GaussianNoise(0.1), 0.12, 30, 0.2),
    (ResizePad(0.9), 0.12, 30, 0.1),
]
"""Transform, eps, digits, and by how much the adaptive attack is to be better."""


class Replaced(nn.Module):
    """A transform with another backward pass than it declares."""

    def __init__(self, stage: Transform, input_gradient: str) -> None:
        super().__init__()
        self.stage, self.input_gradient, self.random = stage, input_gradient, stage.random

    applies_declared_backward = True

    def forward(self, x: Tensor) -> Tensor:
        return with_declared_backward(self, self.stage.transform, x)


def mean_standing(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Over draws, if the model is random."""
    draws = 10 if random_stages(model) else 1
    return sum(standing(model, x, y) for _ in range(draws)) / draws


def against(model: nn.Module, n: int, threat: Threat) -> float:
    """What stands after an adaptive attack."""
    ascent: Attack = PGD(steps=20)
    if random_stages(model):
        ascent = EOT(PGD(steps=20, until_fooled=False), 5)
    x, y = known(n)
    return mean_standing(model, ascent(model, x, y, threat), y)


@pytest.mark.parametrize(("stage", "eps", "n", "margin"), CASES, ids=lambda value: str(value))
def test_the_adaptive_attack_breaks_what_the_oblivious_one_leaves(
    stage: Transform, eps: float, n: int, margin: float
) -> None:
    (x, y), threat = known(n), Linf(eps)
    model = Pipeline(trained(), [stage], classes=10).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert mean_standing(model, x, y) >= 0.75
        oblivious = mean_standing(model, PGD(steps=20)(trained(), x, y, threat), y)
        adaptive = against(model, n, threat)
    assert adaptive <= oblivious - margin, (oblivious, adaptive)


@pytest.mark.parametrize(
    ("stage", "eps", "n", "other", "margin"),
    [
        (MedianFilter(3), 0.08, 40, "straight-through", 0.0),
        (MedianFilter(5), 0.08, 40, "straight-through", 0.0),
        (NonLocalMeans(5, 3, 0.3), 0.1, 20, "straight-through", 0.0),
        (TotalVariation(1.0, 0.2, 30), 0.1, 20, "straight-through", 0.1),
        (Jpeg(10), 0.08, 40, "straight-through", 0.1),
        (BitDepth(2), 0.2, 20, "true", 0.5),
    ],
    ids=lambda value: str(value),
)
def test_the_declared_backward_is_no_worse_than_another(
    stage: Transform, eps: float, n: int, other: str, margin: float
) -> None:
    declared = against(nn.Sequential(stage, trained()).eval(), n, Linf(eps))
    replaced = against(nn.Sequential(Replaced(stage, other), trained()).eval(), n, Linf(eps))
    assert declared <= replaced - margin, (declared, replaced)


@cache
def behind_thermometer() -> Pipeline:
    """A network trained on thermometer codes."""
    x, y = digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(8, 8, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(784, 10),
        )
        model = Pipeline(net, [Thermometer(8)], classes=10)
        adam = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(100):
            rows = torch.randint(len(x), (64,))
            adam.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            adam.step()
    return model.eval().requires_grad_(False)


def test_the_approximation_of_thermometer_codes_breaks_what_transfer_leaves() -> None:
    (x, y), threat = known(30), Linf(0.15)
    model = behind_thermometer()
    assert standing(model, x, y) >= 0.9
    oblivious = standing(model, PGD(steps=20)(trained(), x, y, threat), y)
    assert against(model, 30, threat) <= oblivious - 0.2
