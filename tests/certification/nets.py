"""Small networks of every layer that has bounds, and points to try them with."""

from collections.abc import Callable
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tempering.core.random import RandomStreams
from tempering.core.threats import Threat
from tempering.defenses import Squeeze
from tempering.models import Normalize
from tests.certification.more_nets import MORE

SHAPE = (2, 6, 6)


class Net(nn.Module):
    """A trunk of convolutions, a forward of its own, and a head."""

    def __init__(self, run: Callable[["Net", Tensor], Tensor], width: int = 4 * 36) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.overwriting = nn.ReLU(inplace=True)
        self.head = nn.Linear(width, 3)
        self.offset = nn.Parameter(torch.randn(4, 1, 1) / 4)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _residual(net: Net, x: Tensor) -> Tensor:
    h = net.relu(net.norm(net.first(x)))
    return net.head((F.relu(net.second(h) + h)).flatten(1))


def _overwritten(net: Net, x: Tensor) -> Tensor:
    h = net.overwriting(net.norm(net.first(x)))
    g = net.second(h)
    g += h
    return net.head(net.overwriting(g).view(g.size(0), -1))


def _constants(net: Net, x: Tensor) -> Tensor:
    h = F.relu(2 * net.first(1 - x) / 3 - net.offset * 2)
    return net.head(torch.flatten(0.5 - (h - 1) * net.offset, 1))


def _moved(net: Net, x: Tensor) -> Tensor:
    h = F.relu(net.first(x)).permute(0, 2, 3, 1).transpose(1, 2)
    h = h[:, 1:, :, ::2].reshape(x.shape[0], -1)
    return net.head(h)


def _joined(net: Net, x: Tensor) -> Tensor:
    h = F.relu(net.first(x))
    h = torch.cat([h, net.second(h).relu()], 1)
    return net.head(h.mean((2, 3)))


def _functions(net: Net, x: Tensor) -> Tensor:
    h = F.conv2d(x, net.first.weight, net.first.bias, stride=2, padding=1)
    h = F.avg_pool2d(F.max_pool2d(F.hardtanh(h), 3, 1, 1), 2, 1)
    return F.linear(F.dropout(h.tanh(), 0.5, net.training).flatten(1), net.head.weight)


def _after(*stages: nn.Module, size: int = 36 * 4) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), *deepcopy(stages), nn.Flatten(), nn.Linear(size, 3)
        )

    return build


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 3)),
    "relu": _after(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
    "leaky": _after(nn.LeakyReLU(0.2), nn.Conv2d(4, 4, 3, padding=1), nn.LeakyReLU(0.1)),
    "sigmoid": _after(nn.Sigmoid(), nn.Conv2d(4, 4, 3, padding=1), nn.Sigmoid()),
    "tanh": _after(nn.Tanh(), nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()),
    "softplus": _after(nn.Softplus(), nn.Conv2d(4, 4, 3, padding=1), nn.Softplus(2.0, 15.0)),
    "gelu": _after(nn.GELU(), nn.Conv2d(4, 4, 3, padding=1), nn.GELU()),
    "silu": _after(nn.SiLU(), nn.Conv2d(4, 4, 3, padding=1), nn.SiLU()),
    "clamps": _after(nn.Hardtanh(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU6()),
    "max pool": _after(nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2, 1), size=16),
    "max pool, padded": _after(nn.ReLU(), nn.MaxPool2d(3, 2, 1, dilation=2), size=16),
    "average pool": _after(nn.ReLU(), nn.AvgPool2d(3, 2, 1, count_include_pad=False), size=36),
    "adaptive pool": _after(nn.ReLU(), nn.AdaptiveAvgPool2d((4, 3)), size=48),
    "global pool": _after(nn.ReLU(), nn.AdaptiveAvgPool2d(1), size=4),
    "strides": _after(
        nn.ReLU(), nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2), nn.ReLU(), size=72
    ),
    "same": _after(nn.ReLU(), nn.Conv2d(4, 4, 3, padding="same", bias=False), nn.ReLU()),
    "dropout": _after(nn.Dropout2d(0.3), nn.ReLU(), nn.Identity(), nn.Dropout(0.5)),
    "ours": lambda: nn.Sequential(
        Squeeze(0.2, 0.7),
        Normalize([0.4, 0.5], [0.3, 0.2]),
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 3),
    ),
    "weight norm": lambda: nn.Sequential(
        nn.Flatten(),
        nn.utils.parametrizations.weight_norm(nn.Linear(72, 9)),
        nn.ReLU(),
        nn.Linear(9, 3),
    ),
    "residual": lambda: Net(_residual),
    "in place": lambda: Net(_overwritten),
    "constants": lambda: Net(_constants),
    "moved": lambda: Net(_moved, 60),
    "joined": lambda: Net(_joined, 8),
    "functions": lambda: Net(_functions, 16),
    **MORE,
}
IN_ALL_NORMS = ("linear", "relu", "max pool", "ours", "residual")
"""Networks that are tried in every norm: what they do to pixels before and in the first sum."""


def each_beside(threats: list[Threat]) -> list[tuple[str, Threat]]:
    """Every network beside one of the threats, and a few beside all.

    Only sums of pixels know the norm: what later layers do to bounds does not depend on it.
    """
    rotated = [(name, threats[number % len(threats)]) for number, name in enumerate(NETS)]
    whole = [(name, threat) for name in IN_ALL_NORMS for threat in threats]
    return list(dict.fromkeys([*rotated, *whole]))


def build(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network of a name, with weights and statistics that are not those of a fresh one."""
    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        net = NETS[name]()
        for module in net.modules():
            if isinstance(module, _ConvNd | nn.Linear):
                module.reset_parameters()  # stages are made at import, with whatever seed
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.2, 1.0)
                nn.init.uniform_(module.weight, -1.0, 1.5)
                nn.init.normal_(module.bias, std=0.2)
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(2.0)
    return centred(net.to(dtype).eval())


def centred(net: nn.Module) -> nn.Module:
    """The same with a last bias that makes all classes about equally frequent."""
    with torch.no_grad():
        seen = net(images(64).to(next(net.parameters()).dtype))
        last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        if last.bias is not None:
            last.bias.sub_(seen.mean(0))
    return net


def images(n: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Images of which some pixels are exactly 0 or 1."""
    streams = RandomStreams.of(3, n)
    return (streams.uniform(shape) * 1.4 - 0.2).clamp(0.0, 1.0)


def answers(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net(x).argmax(1)


def points(threat: Threat, x: Tensor, count: int) -> Tensor:
    """Points of the threat around each image, corners among them, shape (count, n, c, h, w)."""
    sampled = []
    for number in range(count):
        streams = RandomStreams.of(number, len(x))
        point = threat.sample(x, streams.derive("inside"))
        if number % 2:
            way = streams.derive("way").normal(x.shape[1:]).sign().to(x.dtype)
            point = threat.project(x + threat.eps * way, x)
        sampled.append(point)
    return torch.stack(sampled)
