"""Fast interval training: weights that keep boxes small at first, and a warm-up regulariser."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams, derive
from tempering.training.boxes import BoxObjective
from tempering.training.cost import Cost
from tempering.training.interval_bounds import Box, boxes_seen
from tempering.training.objective import Batch, Losses, Objective, require_between
from tempering.training.objectives.interval import Interval
from tempering.training.wrapper import Wrapper

TOLERANCE = 0.5
"""Ratio below which tightness and balance are regularised (Shi et al., 2021, section 4.3)."""
_INTERVAL = Interval()


@dataclass(frozen=True)
class FastIBP(Wrapper):
    """A certified objective from IBP initialisation, regularised while eps grows.

    Weights are drawn with a standard deviation of sqrt(2 pi) / fan-in, at which boxes grow by no
    factor from layer to layer. On the ramp, lam * (1 - ramp) times two terms is added: boxes
    before an activation that are wider than the input's, and activations that are mostly dead
    or mostly active. Shi et al., 'Fast certified robust training with short warmup', 2021,
    sections 4.1 and 4.3.

    Attributes:
        inner: The objective that is wrapped: interval, crown-ibp, sabr or mtl-ibp.
        lam: Weight of the regulariser before the ramp; 0 for initialisation alone.

    Raises:
        UsageError: If the weight makes no sense, or the objective bounds no boxes.
    """

    name: ClassVar[str] = "fast-ibp"
    source: ClassVar[str] = "Shi et al., 2021"

    inner: Objective = _INTERVAL
    lam: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "lam", self.lam, 0.0, math.inf)
        if not isinstance(self.chain[-1], BoxObjective):
            raise UsageError(
                f"{self.name} does not wrap {self.chain[-1].name}, which bounds no boxes: "
                "wrap interval, crown-ibp, sabr or mtl-ibp"
            )

    def initialise(self, model: nn.Module, seed: int) -> None:
        """Draw the weights of linear and convolutional layers; biases become 0."""
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                stream = RandomStreams.of(derive(seed, "ibp initialisation", name), 1)
                spread = math.sqrt(2 * math.pi) / layer.weight[0].numel()
                with torch.no_grad():
                    drawn = stream.on(layer.weight.device).normal(layer.weight.shape)[0]
                    layer.weight.copy_(spread * drawn)
                    if layer.bias is not None:
                        layer.bias.zero_()

    def update_passes(self, outputs: int = 10) -> Cost:
        """Those of the wrapped objective, whose boxes it takes."""
        return self.inner.update_passes(outputs)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The wrapped losses, regularised while eps grows."""
        with boxes_seen() as seen:
            losses = self.inner(model, batch)
        grown, boxes = self.ramp(batch.step, batch.steps), seen.before_activations
        if not self.lam or not 0 < grown < 1 or seen.given is None or not boxes:
            return losses
        term = tightness(seen.given, boxes) + balance(boxes)
        return replace(
            losses,
            per_sample=losses.per_sample + self.lam * (1 - grown) * term,
            scalars={**losses.scalars, "warmup_regulariser": term},
        )


def tightness(given: Box, boxes: list[Box]) -> Tensor:
    """Mean of max(0, t - width of the input / width of a box) / t over the boxes, a scalar."""
    first = (given[1] - given[0]).mean()
    ratios = [first / (high - low).mean().clamp_min(1e-12) for low, high in boxes]
    return torch.stack([(TOLERANCE - ratio).clamp_min(0) / TOLERANCE for ratio in ratios]).mean()


def balance(boxes: list[Box]) -> Tensor:
    """Mean of max(0, t - min(r, 1/r)) / t over the boxes, a scalar.

    r is the summed center of active numbers over that of inactive ones, in absolute value; a layer
    without one of them counts as 1.
    """
    terms = []
    for low, high in boxes:
        center = (low + high) / 2
        active = (center * (low > 0)).sum()
        dead = -(center * (high < 0)).sum()
        smaller, larger = torch.minimum(active, dead), torch.maximum(active, dead)
        ratio = smaller / larger.clamp_min(1e-12)
        terms.append((TOLERANCE - ratio).clamp_min(0) / TOLERANCE)
    return torch.stack(terms).mean()
