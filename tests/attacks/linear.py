"""Linear two-class models, on which the smallest perturbation that fools is known exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.random import RandomStreams


class Linear(nn.Module):
    """Logits (0, w x + b); weights of very unequal size, so that norms differ."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.bias = nn.Parameter(torch.tensor(bias, dtype=weights.dtype))

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weights).flatten(1).sum(1) + self.bias
        return torch.stack([torch.zeros_like(score), score], 1)


@dataclass(frozen=True)
class Case:
    """A linear model, images, their labels, and how far they are from the other class."""

    model: Linear
    x: Tensor
    y: Tensor
    gap: Tensor
    push: Tensor
    """Direction in which each pixel helps the attacker: weight, signed by the label."""

    def broken(self, x_adv: Tensor) -> Tensor:
        with torch.no_grad():
            return self.model(x_adv).argmax(1) != self.y

    def room(self) -> Tensor:
        """How far each pixel can move in the attacker's direction before it leaves the box."""
        return torch.where(self.push > 0, 1 - self.x, self.x).flatten(1)

    def needed(self, norm: str) -> Tensor:
        """The exact distance to the other class within the box, shape (n,); inf if none."""
        weights, room = self.push.flatten(1).abs(), self.room()
        if norm in ("l1", "l0"):
            return self._needed_one_by_one(weights, room, norm)

        def gain(size: Tensor) -> Tensor:
            """What the best perturbation of a parameter's size adds to the score."""
            # l2: proportional to the weights, cut where the box ends (Karush-Kuhn-Tucker)
            shape = torch.ones_like(weights) if norm == "linf" else weights
            return (weights * torch.minimum(size[:, None] * shape, room)).sum(1)

        low, high = torch.zeros_like(self.gap), torch.full_like(self.gap, 1e6)
        reachable = gain(high) > self.gap
        for _ in range(200):
            middle = (low + high) / 2
            enough = gain(middle) >= self.gap
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        if norm == "l2":
            high = torch.minimum(high[:, None] * weights, room).square().sum(1).sqrt()
        return high.where(reachable, torch.full_like(high, torch.inf))

    def _needed_one_by_one(self, weights: Tensor, room: Tensor, norm: str) -> Tensor:
        """Pixel after pixel: the heaviest first in L1, the most useful first in L0."""
        order = (weights if norm == "l1" else weights * room).argsort(1, descending=True)
        weights, room = weights.gather(1, order), room.gather(1, order)
        distance = torch.full_like(self.gap, torch.inf)
        for row, gap in enumerate(self.gap.tolist()):
            spent = 0.0
            for weight, space in zip(weights[row].tolist(), room[row].tolist(), strict=True):
                if weight * space > gap:
                    distance[row] = spent + (gap / weight if norm == "l1" else 1)
                    break
                gap -= weight * space
                spent += space if norm == "l1" else 1
        return distance


def linear_case(n: int, size: int, saturated: float, dtype: torch.dtype = torch.float64) -> Case:
    """Random images, of which a share of the pixels lies at exactly 0 and 1."""
    streams = RandomStreams.of(11, n)
    weights = RandomStreams.of(5, 1).normal((1, size, size)).to(dtype)[0] ** 3
    x = streams.derive("x").uniform((1, size, size), 0.35, 0.65).to(dtype)
    extreme = streams.derive("where").uniform((1, size, size)) < saturated
    x = torch.where(extreme, streams.derive("end").uniform((1, size, size)).round().to(dtype), x)
    scores = (x * weights).flatten(1).sum(1)
    model = Linear(weights, -float(scores.median() + 1e-3))
    scores = scores + model.bias.detach()
    y = (scores > 0).long()
    sign = torch.where(y == 1, -1.0, 1.0).to(dtype)
    return Case(model, x, y, scores.abs(), weights * sign[:, None, None, None])
