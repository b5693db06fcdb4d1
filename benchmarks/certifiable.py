"""Small networks that proofs hold for: trained on intervals, or under noise, and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from journal import CACHE, say
from subjects import CLASSES, SEED, mnist
from tempering.core.files import write_with
from tempering.data.dataset import Dataset
from tempering.models.seeded import seeded
from tempering.models.weights import fit_weights, read_weights, weights_hash

BATCH = 128
VALIDATED = 1000
"""Validation images that settings were chosen by."""


@dataclass(frozen=True)
class Certifiable:
    """Interval training (Gowal et al., 2018, section 4).

    Attributes:
        eps: Of the box in training, at the end; larger than the one that is certified.
        iterations: Steps of `BATCH` images.
        clean: The share of steps before the box begins to grow.
        growing: The share of steps after which box and worst case have their full size.
        kappa: Weight of the clean loss at the end; 1 at the beginning.
        rate: Of Adam; a tenth after 70 % of the steps, a hundredth after 90 %.
    """

    eps: float
    iterations: int
    clean: float = 0.05
    growing: float = 0.5
    kappa: float = 0.5
    rate: float = 1e-3

    def loss(self, net: nn.Sequential, x: Tensor, y: Tensor, step: int) -> Tensor:
        """The clean loss and that of the worst logits in the box, mixed for a step."""
        grown = (step / self.iterations - self.clean) / (self.growing - self.clean)
        grown = min(1.0, max(0.0, grown))
        kappa = 1 - grown * (1 - self.kappa)
        clean = F.cross_entropy(net(x), y)
        if not grown:
            return clean
        return kappa * clean + (1 - kappa) * F.cross_entropy(worst(net, x, y, grown * self.eps), y)


@dataclass(frozen=True)
class Noisy:
    """Training under Gaussian noise (Cohen et al., 2019, section 3.3).

    Attributes:
        sigma: Standard deviation of the noise, in units of [0, 1].
        iterations: Steps of `BATCH` images.
        rate: Of Adam; a tenth after 70 % of the steps, a hundredth after 90 %.
    """

    sigma: float
    iterations: int
    rate: float = 1e-3

    def loss(self, net: nn.Sequential, x: Tensor, y: Tensor, step: int) -> Tensor:  # noqa: ARG002
        """The loss on noisy images, which are not cut to the box; the same at every step."""
        return F.cross_entropy(net(x + self.sigma * torch.randn_like(x)), y)


def network() -> nn.Sequential:
    """Two convolutions and two linear layers, 167,270 weights, for 1 x 28 x 28 images."""
    with seeded(SEED):
        return nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 49, 100),
            nn.ReLU(),
            nn.Linear(100, CLASSES),
        )


def worst(net: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Each output at its largest, less the true one, in the box around images, cut to [0, 1].

    The last layer is merged into the differences (Gowal et al., 2018, section 3).

    Args:
        net: Linear layers and convolutions with ReLU between them; the last one is linear.
        x: Images in [0, 1], shape (n, c, h, w).
        y: Labels, shape (n,).
        eps: Half the side of the box.

    Returns:
        Shape (n, outputs); 0 at the true class.
    """
    low, high = (x - eps).clamp_min(0.0), (x + eps).clamp_max(1.0)
    for layer in net[:-1]:
        low, high = _through(layer, low, high)
    last = net[-1]
    ways = last.weight[None] - last.weight[y][:, None]
    centre, reach = (high + low) / 2, (high - low) / 2
    found = ways @ centre[:, :, None] + ways.abs() @ reach[:, :, None]
    return found[:, :, 0] + last.bias[None] - last.bias[y][:, None]


def _through(layer: nn.Module, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(layer, nn.ReLU | nn.Flatten):
        return layer(low), layer(high)
    centre, reach = (high + low) / 2, (high - low) / 2
    if isinstance(layer, nn.Conv2d):
        middle = layer(centre)
        reach = F.conv2d(reach, layer.weight.abs(), None, layer.stride, layer.padding)
    elif isinstance(layer, nn.Linear):
        middle = layer(centre)
        reach = F.linear(reach, layer.weight.abs())
    else:
        raise TypeError(f"interval training of {type(layer).__name__}: give Conv2d, Linear, ReLU")
    return middle - reach, middle + reach


def trained(plan: Certifiable | Noisy) -> tuple[nn.Sequential, dict[str, Any]]:
    """A network trained on training data alone, or read from the cache.

    Args:
        plan: How.

    Returns:
        The network in evaluation mode, and what rows say of it.
    """
    key = {"kind": type(plan).__name__, **asdict(plan), "batch": BATCH, "seed": SEED}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    path = CACHE / f"{type(plan).__name__.lower()}-{name}.safetensors"
    net = network()
    if not path.exists():
        say(f"training {plan}")
        _train(net, plan, mnist().train)
        content = safetensors.torch.save(net.state_dict())
        write_with(path, lambda temporary: temporary.write_bytes(content))
    fit_weights(net, read_weights(path), path)
    net.eval()
    return net, {"weights": weights_hash(net), "training": str(plan), "batch": BATCH, "seed": SEED}


def _train(net: nn.Sequential, plan: Certifiable | Noisy, data: Dataset) -> None:
    """Adam over the whole training data, in an order drawn anew for each round."""
    optimizer = torch.optim.Adam(net.parameters(), plan.rate)
    ends = [int(0.7 * plan.iterations), int(0.9 * plan.iterations)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, ends)
    waiting: list[Tensor] = []
    with seeded(SEED + 1):
        for step in range(plan.iterations):
            if not waiting:
                order = torch.randperm(len(data))
                waiting = list(order[: len(data) // BATCH * BATCH].split(BATCH))
            rows = waiting.pop()
            optimizer.zero_grad()
            loss = plan.loss(net, data.x[rows], data.y[rows], step)
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 500 == 0:
                say(f"step {step} of {plan.iterations}: loss {loss.item():.4f}")
