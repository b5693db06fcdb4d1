"""Fourteen small networks whose bounds by auto_LiRPA 0.7.1 are in bounds.json.

`build(name)` gives a network in float64 with weights that depend on its name alone, `images(name)`
its four images. `bounds.json` holds, for each network,

- `classes` and `logits`: the predicted class of each image and its logits in float32, to check
  that the same network was built;
- `bounds["linf:EPS"][METHOD]`: `margins` holds for each image nine lower bounds of the logit of
  the predicted class less that of a rival, rivals in ascending order; the ball is cut by [0, 1].
  `seconds` is the CPU time an image on one thread of a busy machine, best of three (once for
  alpha-CROWN). `fails` stands where auto_LiRPA has an error of its own;
- `bounds["linf:EPS"]["sampled"]`: the least of each margin over 200 random corners of the ball.
  No sound bound lies above it.

Bounds are in float32; alpha-CROWN took 100 steps at rate 0.1 and optimised hidden bounds too.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner, self.out = (
            nn.Conv2d(1, 6, 3, 1, 1),
            nn.Conv2d(6, 6, 3, 1, 1),
            nn.Linear(384, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.enter(x))
        return self.out(F.relu(h + self.inner(h)).flatten(1))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = (
            nn.Conv2d(1, 4, 3, 1, 1),
            nn.Conv2d(1, 4, 1),
            nn.Linear(512, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([F.relu(self.left(x)), torch.tanh(self.right(x))], 1).flatten(1))


class Product(nn.Module):
    """x times a gate of x: a product of two bounded tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate, self.out = nn.Linear(64, 30), nn.Linear(64, 30), nn.Linear(30, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.out(self.value(x) * torch.sigmoid(self.gate(x)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = x.reshape(-1, 8, 8)
        weights = torch.softmax(self.query(h) @ self.key(h).transpose(1, 2) / 8**0.5, -1)
        return self.out((weights @ self.value(h)).flatten(1))


class ConstantMatmul(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.out = nn.Parameter(torch.zeros(64, 20)), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(x.flatten(1) @ self.weight))


class SumOfSpace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 6, 3, 1, 1), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.conv(x)).sum((2, 3)) / 8)


def _seq(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts)


def _head(features: int) -> tuple[nn.Module, ...]:
    return nn.Flatten(), nn.Linear(features, 24), nn.ReLU(), nn.Linear(24, 10)


NETS = {
    "residual": Residual,
    "branches": Branches,
    "product": Product,
    "attention": Attention,
    "constant-matmul": ConstantMatmul,
    "sum": SumOfSpace,
    "maxpool": lambda: _seq(nn.Conv2d(1, 6, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), *_head(96)),
    "avgpool": lambda: _seq(nn.Conv2d(1, 6, 3, 1, 1), nn.ReLU(), nn.AvgPool2d(3, 2, 1), *_head(96)),
    "leaky": lambda: _seq(nn.Conv2d(1, 6, 3, 1, 1), nn.LeakyReLU(0.1), *_head(384)),
    "sigmoid": lambda: _seq(
        nn.Conv2d(1, 6, 3, 2, 1),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(96, 24),
        nn.Tanh(),
        nn.Linear(24, 10),
    ),
    "transposed": lambda: _seq(
        nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(6, 3, 2, 2), nn.ReLU(), *_head(192)
    ),
    "grouped": lambda: _seq(
        nn.Conv2d(1, 6, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, 1, 2, dilation=2, groups=3),
        nn.ReLU(),
        *_head(384),
    ),
    "deep": lambda: _seq(
        nn.Flatten(),
        nn.Linear(64, 40),
        *[m for _ in range(5) for m in (nn.ReLU(), nn.Linear(40, 40))],
        nn.ReLU(),
        nn.Linear(40, 10),
    ),
    "strided-28": lambda: _seq(
        nn.Conv2d(1, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1568, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    ),
}


def _draws(name: str, what: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{name}/{what}".encode()))


def build(name: str) -> nn.Module:
    """The network in float64; weights normal with variance 2 / fan-in, biases with 0.01."""
    model, draws = NETS[name]().double().eval(), _draws(name, "weights")
    with torch.no_grad():
        for key, value in model.named_parameters():
            fan = (
                value.shape[0] if key == "weight" and value.ndim == 2 else max(1, value[0].numel())
            )
            scale = 0.1 if value.ndim == 1 else (2.0 / fan) ** 0.5
            value.copy_(torch.from_numpy(draws.normal(0.0, scale, tuple(value.shape))))
    return model


def images(name: str) -> Tensor:
    """Four images in [0, 1], float64, shape (4, 1, 8, 8), or 28 x 28 for `strided-28`."""
    side = 28 if name.endswith("28") else 8
    return torch.from_numpy(_draws(name, "images").uniform(0.0, 1.0, (4, 1, side, side)))
