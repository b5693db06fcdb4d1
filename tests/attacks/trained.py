"""A small network that knows digits, and digits that it knows: for attacks that must succeed."""

from functools import cache

import torch
from torch import Tensor, nn

from tempering.core.random import RandomStreams
from tempering.data.loading import load


def fresh(seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(784, 10),
        )


@cache
def digits() -> tuple[Tensor, Tensor]:
    train = load("mnist").train
    return train.x[:4000], train.y[:4000]


@cache
def trained(seed: int = 0) -> nn.Sequential:
    """A network trained for a second or two; do not change it."""
    net, (x, y) = fresh(seed), digits()
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(150):
        rows = RandomStreams.of(seed, 64).derive(step).uniform((1,))[:, 0].mul(len(x)).long()
        adam.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        adam.step()
    return net.eval().requires_grad_(False)


@cache
def known(n: int = 50) -> tuple[Tensor, Tensor]:
    """Test digits that the networks of seeds 0 and 1 get right."""
    test = load("mnist").test.first(400)
    right = torch.stack([accurate(trained(seed), test.x, test.y) for seed in (0, 1)]).all(0)
    rows = right.nonzero()[:n, 0]
    return test.x[rows], test.y[rows]


def accurate(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return net(x).argmax(1) == y


def standing(net: nn.Module, x_adv: Tensor, y: Tensor) -> float:
    """Share of images that a network still gets right."""
    return float(accurate(net, x_adv, y).double().mean())
