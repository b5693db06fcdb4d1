"""Random small networks over every layer that has certified bounds."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPE = (2, 6, 6)
OUTPUTS = 4
_LARGEST = 9
"""Side of an image above which nothing enlarges it."""
Stage = Callable[[int, int], nn.Module]
"""From channels and side to a stage."""


class Applied(nn.Module):
    """A function of what goes in and of a convolution of it."""

    def __init__(self, run: Callable[[Tensor, Tensor], Tensor], channels: int) -> None:
        super().__init__()
        self.conv, self.run = nn.Conv2d(channels, channels, 3, 1, 1), run

    def forward(self, x: Tensor) -> Tensor:
        """The function of both."""
        return self.run(x, self.conv(x))


class Matrices(nn.Module):
    """Constant matrices on either side."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(side, side) / side)
        self.right = nn.Parameter(torch.randn(side, side) / side)

    def forward(self, x: Tensor) -> Tensor:
        """L x R."""
        return torch.matmul(self.left @ x, self.right)


class RowAttention(nn.Module):
    """Attention between the rows of each channel."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.inner = nn.Linear(side, 3 * side)
        self.scale = side**0.5

    def forward(self, x: Tensor) -> Tensor:
        """With a residual connection."""
        query, key, value = self.inner(x).chunk(3, -1)
        return x + (query @ key.transpose(-1, -2) / self.scale).softmax(-1) @ value


def _halved(x: Tensor, h: Tensor) -> Tensor:
    first, second = torch.split(torch.stack([x, h], 1).mean(1), x.shape[1] // 2, 1)
    return torch.cat([second, first.flip(2)], 1)


def _shrunk(x: Tensor, h: Tensor) -> Tensor:
    pooled = torch.maximum(x, h).amax((2, 3), keepdim=True)
    return torch.cat([x + pooled, h * pooled.sigmoid()], 1)[:, : x.shape[1]]


def _of(run: Callable[[Tensor, Tensor], Tensor]) -> Stage:
    return lambda channels, _: Applied(run, channels)


def _module(make: Callable[[], nn.Module]) -> Stage:
    return lambda _channels, _side: make()


STAGES: dict[str, Stage] = {
    "ReLU": _module(nn.ReLU),
    "LeakyReLU": _module(lambda: nn.LeakyReLU(0.1)),
    "LeakyReLU, negative": _module(lambda: nn.LeakyReLU(-0.4)),
    "PReLU": lambda channels, _: nn.PReLU(channels, 1.3),
    "ELU": _module(lambda: nn.ELU(1.4)),
    "SELU": _module(nn.SELU),
    "CELU": _module(lambda: nn.CELU(0.5)),
    "GELU": _module(nn.GELU),
    "GELU, tanh": _module(lambda: nn.GELU("tanh")),
    "SiLU": _module(nn.SiLU),
    "Mish": _module(nn.Mish),
    "Hardswish": _module(nn.Hardswish),
    "Hardsigmoid": _module(nn.Hardsigmoid),
    "Hardtanh": _module(nn.Hardtanh),
    "Sigmoid": _module(nn.Sigmoid),
    "Tanh": _module(nn.Tanh),
    "Softplus": _module(nn.Softplus),
    "abs": _of(lambda x, h: (x + h).abs()),
    "Conv2d": lambda channels, _: nn.Conv2d(channels, 4, 3, 1, 1),
    "Conv2d, grouped": lambda channels, _: nn.Conv2d(channels, 4, 3, 1, 2, 2, 2),
    "Conv2d, strided": lambda channels, _: nn.Conv2d(channels, 6, 3, 2, 1),
    "Conv2d, reflected": lambda c, _: nn.Conv2d(c, 4, 3, 1, 1, padding_mode="reflect"),
    "Conv2d, replicated": lambda c, _: nn.Conv2d(c, 4, 3, 1, 1, padding_mode="replicate"),
    "Conv2d, circular": lambda c, _: nn.Conv2d(c, 4, 3, 1, 1, padding_mode="circular"),
    "ConvTranspose2d": lambda channels, _: nn.ConvTranspose2d(channels, 4, 3, 2, 1),
    "BatchNorm2d": lambda channels, _: nn.BatchNorm2d(channels),
    "LayerNorm": lambda _, side: nn.LayerNorm(side, 0.05),
    "GroupNorm": lambda channels, _: nn.GroupNorm(2, channels, 0.05),
    "InstanceNorm2d": lambda channels, _: nn.InstanceNorm2d(channels, 0.05),
    "AvgPool2d": _module(lambda: nn.AvgPool2d(3, 1, 1)),
    "MaxPool2d": _module(lambda: nn.MaxPool2d(3, 2, 1)),
    "AdaptiveAvgPool2d": _module(lambda: nn.AdaptiveAvgPool2d(3)),
    "Upsample, nearest": _module(lambda: nn.Upsample(scale_factor=1.4)),
    "Upsample, bilinear": _module(lambda: nn.Upsample(size=(5, 5), mode="bilinear")),
    "ConstantPad2d": _module(lambda: nn.ConstantPad2d(1, 0.4)),
    "ReflectionPad2d": _module(lambda: nn.ReflectionPad2d(1)),
    "residual": _of(lambda x, h: x + F.relu(h)),
    "gate": _of(lambda x, h: x * h.sigmoid()),
    "product": _of(lambda x, h: x * h / 4),
    "square": _of(lambda x, h: x.square() / 4 - h),
    "quotient": _of(lambda x, h: x / (h.abs() + 1)),
    "exp": _of(lambda x, h: torch.exp(-h.abs()) + x),
    "maximum": _of(lambda x, h: torch.maximum(x, h)),
    "minimum": _of(lambda x, h: torch.minimum(x, h.clamp(-1, 1))),
    "stack and split": _of(_halved),
    "amax": _of(_shrunk),
    "Softmax": _module(lambda: nn.Softmax(1)),
    "matmul": lambda _, side: Matrices(side),
    "attention": lambda _, side: RowAttention(side),
}
"""Stages by name."""


def random_network(number: int) -> tuple[nn.Module, list[str]]:
    """A network that depends on its number alone, and the names of its stages.

    Networks 0 to `len(STAGES) - 1` have one after another of the stages; two to four others are
    drawn. Weights are large enough that answers change within small balls. Every fourth
    network is in float64.

    Args:
        number: At least 0.
    """
    draws = random.Random(number)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        names = [list(STAGES)[number % len(STAGES)]]
        names += draws.choices(list(STAGES), k=draws.randint(1, 3))
        draws.shuffle(names)
        stages: list[nn.Module] = [nn.Conv2d(SHAPE[0], 4, 3, 1, 1)]
        here = torch.zeros(2, *SHAPE)
        with torch.no_grad():
            here = stages[0](here)
            for name in names:
                stage = STAGES[name](here.shape[1], here.shape[2]).eval()
                if here.shape[2] < 3:
                    stage = nn.Sequential(nn.Upsample(scale_factor=2), stage)
                after = stage(here)
                if after.shape[2] > _LARGEST:
                    shrink = nn.AvgPool2d(2)
                    stage, after = nn.Sequential(stage, shrink), shrink(after)
                stages.append(stage)
                here = after
            hidden = nn.Linear(here[0].numel(), 12)
        net = nn.Sequential(*stages, nn.Flatten(), hidden, nn.ReLU(), nn.Linear(12, OUTPUTS))
        _drawn(net)
    return net.to(torch.float64 if number % 4 == 3 else torch.float32).eval(), names


def _drawn(net: nn.Module) -> None:
    """Weights and statistics that are not those of a fresh network."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.3, 1.0)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(1.6)
        elif len(parameter) > 1:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
