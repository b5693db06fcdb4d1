"""Clean-label poison whose features collide with those of a victim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.frozen import frozen
from tempering.core.progress import track
from tempering.core.user_code import device_of
from tempering.defenses.features import features
from tempering.poisoning.poisons.base import Crafted, Poison
from tempering.poisoning.poisons.blended import require_opacity
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.poisons.victims import draw_victims

BATCH = 64


@dataclass(frozen=True)
class FeatureCollision(Poison):
    """Move samples of the target class onto a victim in feature space; labels stay right.

    Shafahi, Huang, Najibi, Suciu, Studer, Dumitras and Goldstein, 'Poison frogs! Targeted
    clean-label poisoning attacks on neural networks', 2018, equation 1 by forward-backward
    splitting, with a watermark of the victim (section 4.2). Victims are test images of other
    classes. It is made for a network whose features are kept (transfer learning): a network that
    is trained from scratch mostly resists.

    Attributes:
        target: The class that victims are to be taken for, a number or name.
        victims: Test images to aim at, dealt out evenly.
        steps: Steps of the optimisation, at least 1.
        closeness: Weight of the squared distance to the clean image, at least 0: at 1 the victim
            itself would cost as much as the clean image.
        watermark: Opacity of the victim in the sample at the start, above 0 and at most 1.
    """

    name: ClassVar[str] = "feature-collision"
    source: ClassVar[str] = "Shafahi et al., 2018"
    changes: ClassVar[str] = "images"
    needs_network: ClassVar[bool] = True

    target: int | str = 0
    victims: int = 1
    steps: int = 100
    closeness: float = 0.2
    watermark: float = 0.2

    def __post_init__(self) -> None:
        require_opacity("watermark", self.watermark)
        if self.steps < 1:
            raise UsageError(f"steps {self.steps}: give at least 1")
        if not self.closeness >= 0:
            raise UsageError(f"closeness {self.closeness}: give at least 0")

    def craft(self, task: Task) -> Crafted:
        """Collide samples of the target class with the victims."""
        target = task.class_index(self.target, "target")
        rows = task.choose_of(target)
        victims = draw_victims(task, self.victims, target)
        aims = task.spread(len(rows), len(victims), "aims")
        network, parts = task.network(), []
        batches = torch.split(torch.arange(len(rows)), BATCH)
        with frozen(network) as view, track("colliding features", len(rows)) as advance:
            for at in batches:
                base, aim = task.images(rows[at]), victims.images(aims[at])
                parts.append(self._collide(view, base, aim))
                advance(int(at[-1]) + 1, "")
        return Crafted(
            rows, torch.cat(parts), target=target, victims=victims, detail={"victim": aims}
        )

    def _collide(self, network: nn.Module, base: Tensor, aim: Tensor) -> Tensor:
        """Forward-backward splitting; the step size of a sample is halved where it did not help."""
        device = device_of(network)
        base, aim = base.to(device), aim.to(device)
        with torch.no_grad():
            wanted = features(network, aim)
        x = (1 - self.watermark) * base + self.watermark * aim
        distance, slope = _distance(network, x, wanted)
        pull = self._pull(network, base, aim, wanted)
        loss = distance + pull * _squares(x - base)
        size = 0.5 / slope.flatten(1).norm(dim=1).clamp_min(1e-9)
        for _ in range(self.steps):
            step, weight = _per_image(size), _per_image(size * pull)
            tried = ((x - step * slope + weight * base) / (1 + weight)).clamp(0.0, 1.0)
            distance, its_slope = _distance(network, tried, wanted)
            after = distance + pull * _squares(tried - base)
            better = after <= loss
            x = torch.where(_per_image(better), tried, x)
            slope = torch.where(_per_image(better), its_slope, slope)
            loss = torch.where(better, after, loss)
            size = torch.where(better, 1.1 * size, 0.5 * size)
        return x.cpu()

    def _pull(self, network: nn.Module, base: Tensor, aim: Tensor, wanted: Tensor) -> Tensor:
        """Weight of the squared distance to the clean image (the paper's beta), shape (k,)."""
        with torch.no_grad():
            apart = (features(network, base) - wanted).square().sum(1)
        return self.closeness * apart / _squares(aim - base).clamp_min(1e-9)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _squares(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(1)


def _distance(network: nn.Module, x: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance of features, shape (k,), and its gradient, shape of x."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        loss = (features(network, x) - wanted).square().sum(1)
        (slope,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach(), slope
