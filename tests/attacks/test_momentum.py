"""Momentum against algorithm 1 of Dong et al. (2018), written out sample by sample."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.attacks import BIM, MIFGSM, Transfer
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf, Threat

N, STEPS, CLASSES = 6, 5, 4


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """Curved, so that gradients differ between samples and from step to step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, CLASSES)
        ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8.0)
    return model.requires_grad_(False)


def images() -> Tensor:
    return RandomStreams.of(1, N).uniform((1, 3, 4), 0.2, 0.8).double()


def published(net: nn.Module, x: Tensor, y: Tensor, threat: Threat, decay: float) -> Tensor:
    """Equations 6 and 7: g = decay g + gradient / |gradient|_1, a step of eps / steps along g."""
    results = []
    for image, label in zip(x, y, strict=True):
        point, total = image.clone(), torch.zeros_like(image)
        for _ in range(STEPS):
            leaf = point.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf[None]), label[None]), leaf)
            total = decay * total + gradient / gradient.abs().sum()
            way = total.sign() if isinstance(threat, Linf) else total / total.norm()
            change = point + threat.eps / STEPS * way - image
            if isinstance(threat, Linf):
                change = change.clamp(-threat.eps, threat.eps)
            else:
                change = change * min(1.0, threat.eps / float(change.norm()))
            point = (image + change).clamp(0.0, 1.0)
        results.append(point)
    return torch.stack(results)


@pytest.mark.parametrize("decay", [0.5, 1.0])
@pytest.mark.parametrize("threat", [Linf(0.15), L2(0.4)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_momentum_is_the_published_one(
    net: nn.Module, threat: Threat, decay: float, batch_size: int
) -> None:
    x = images()
    y = net(x).argmax(1)
    attack = MIFGSM(steps=STEPS, decay=decay, until_fooled=False)
    x_adv = attack(net, x, y, threat, batch_size=batch_size)
    assert torch.allclose(x_adv, published(net, x, y, threat, decay), rtol=0, atol=1e-9)


def test_gradients_of_the_samples_are_of_different_sizes(net: nn.Module) -> None:
    x = images().requires_grad_()
    loss = F.cross_entropy(net(x), net(x).argmax(1), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    size = gradient.abs().sum((1, 2, 3))
    assert float(size.max() / size.min()) > 2


def test_a_transferred_attack_has_the_same_momentum(net: nn.Module) -> None:
    x, threat = images(), L2(0.4)
    y = net(x).argmax(1)
    attack = Transfer(BIM(steps=STEPS, step_size=threat.eps / STEPS), net, momentum=0.5)
    assert torch.allclose(attack(net, x, y, threat), published(net, x, y, threat, 0.5), atol=1e-9)
