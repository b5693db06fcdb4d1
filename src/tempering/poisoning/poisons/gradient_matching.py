"""Clean-label poison that trains a network as if a victim had the wrong label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.module_copies import copied_module
from tempering.core.progress import track
from tempering.core.user_code import device_of, set_evaluation_mode
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.poisons.victims import draw_victims

BATCH = 128


@dataclass(frozen=True)
class GradientMatching(Poison):
    """Perturb samples of the target class so that their gradient is that of a mislabelled victim.

    Geiping, Fowl, Huang, Czaja, Taylor, Moeller and Goldstein, 'Witches' brew: industrial scale
    data poisoning via gradient matching', 2021, equation 3 and algorithm 1: signed Adam on the
    cosine distance of the two gradients; the best of some restarts is kept. Labels stay right.

    Attributes:
        target: The class that the victim is to be taken for, a number or name.
        victims: Test images to aim at, together.
        eps: Largest change of a pixel, above 0 and at most 1.
        steps: Steps of the optimisation, at least 1.
        restarts: Random starts, at least 1.
    """

    name: ClassVar[str] = "gradient-matching"
    source: ClassVar[str] = "Geiping et al., 2021"
    changes: ClassVar[str] = "images"
    needs_network: ClassVar[bool] = True

    target: int | str = 0
    victims: int = 1
    eps: float = 0.1
    steps: int = 100
    restarts: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.eps <= 1:
            raise UsageError(f"eps {self.eps}: give one above 0 and at most 1, such as 0.1")
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: give at least 1")

    def craft(self, task: Task) -> Crafted:
        """Match gradients by all chosen samples together."""
        target = task.class_index(self.target, "target")
        rows = task.choose_of(target)
        victims = draw_victims(task, self.victims, target)
        network = set_evaluation_mode(copied_module(task.network()))
        network.requires_grad_(True)
        device = device_of(network)
        y = torch.full((len(victims),), target, device=device)
        wanted = _gradient(network, victims.x.to(device), y)
        x, labels = task.images(rows).to(device), task.data.y[rows].to(device)
        best, closest = x, torch.inf
        with track("matching gradients", self.steps * self.restarts) as advance:
            for restart in range(self.restarts):
                streams = task.streams[rows].derive("restart", restart).on(device)
                start = streams.uniform(x.shape[1:], -self.eps, self.eps)
                matcher = _Matcher(network, x, labels, wanted, self.eps)
                for step in range(self.steps):
                    start, distance = matcher.step(start, step, self.steps)
                    advance(restart * self.steps + step + 1, f"distance {distance:.3f}")
                if distance < closest:
                    best, closest = (x + start).clamp(0.0, 1.0), distance
        return Crafted(rows, best.cpu(), target=target, victims=victims)


class _Matcher:
    """Signed Adam on the cosine distance between two gradients."""

    def __init__(
        self, network: nn.Module, x: Tensor, y: Tensor, wanted: Sequence[Tensor], eps: float
    ) -> None:
        self.network, self.x, self.y, self.wanted, self.eps = network, x, y, wanted, eps
        self.mean, self.square = torch.zeros_like(x), torch.zeros_like(x)

    def step(self, delta: Tensor, number: int, steps: int) -> tuple[Tensor, float]:
        """The next change of the images, shape of x, and the distance before it."""
        slope, distance = torch.zeros_like(delta), 0.0
        for at in torch.split(torch.arange(len(delta), device=delta.device), BATCH):
            part = delta[at].detach().requires_grad_()
            x = (self.x[at] + part).clamp(0.0, 1.0)
            given = _gradient(self.network, x, self.y[at], create_graph=True)
            loss = _cosine_distance(given, self.wanted)
            slope[at] = torch.autograd.grad(loss, part)[0]
            distance += loss.item() * len(at) / len(delta)
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope.square()
        mean = self.mean / (1 - 0.9 ** (number + 1))
        square = self.square / (1 - 0.999 ** (number + 1))
        rate = 0.1 * self.eps * (1 - number / steps)
        moved = delta - rate * (mean / (square.sqrt() + 1e-12)).sign()
        return moved.clamp(-self.eps, self.eps), distance


def _gradient(
    network: nn.Module, x: Tensor, y: Tensor, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradient of the mean loss with respect to the weights."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    with torch.enable_grad():
        loss = F.cross_entropy(network(x), y)
        return torch.autograd.grad(loss, weights, create_graph=create_graph)


def _cosine_distance(given: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    pairs = list(zip(given, wanted, strict=True))
    product = torch.stack([(a * b).sum() for a, b in pairs]).sum()
    lengths = [
        torch.stack([part.square().sum() for part in parts]).sum().sqrt()
        for parts in (given, wanted)
    ]
    return 1 - product / (lengths[0] * lengths[1]).clamp_min(1e-12)
