"""PGD in the box that transforms make of the threat's ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.core.errors import ModelError, ThreatError
from tempering.core.pixel_boxes import pixel_box
from tempering.core.protocols import Transform
from tempering.core.threats import Linf, Threat
from tempering.defenses.pipeline import Pipeline
from tempering.training.cost import Cost
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Losses,
    Warmup,
    require_count,
    soft_cross_entropy,
)


@dataclass(frozen=True)
class BoxPGD(Warmup):
    """Cross-entropy on images attacked behind the transforms, within the box that they make.

    Behind a monotone transform an L-inf ball is a box, exactly: behind a hard threshold, pixels
    that eps can carry across it are free in [0, 1], and all others are decided. The attack moves
    the transformed images within this box by the network's own gradient, so no gradient of the
    transform has to be guessed. It allows values between those that a threshold makes, which is
    more than an attacker has. Madry et al., 'Towards deep learning models resistant to adversarial
    attacks', 2018, section 2.1, in another box.

    Attributes:
        steps: Steps of sign gradients, each 2.5 / steps of half of a pixel's width.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense.
    """

    name: ClassVar[str] = "box-pgd"
    source: ClassVar[str] = "Madry et al., 2018"
    inner_maximization: ClassVar[InnerMaximization] = "own"

    steps: int = 3
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self.name, "steps", self.steps, 1)

    def require(self, threat: Threat, steps: int) -> None:
        """The threat is L-inf, whose ball is a box."""
        if type(threat) is not Linf:
            raise ThreatError(f"{self.name} does not train against {threat}: it knows linf")
        super().require(threat, steps)

    def require_model(self, model: nn.Module) -> None:
        """The network lies behind monotone transforms."""
        _stages(self.name, model)

    def inner_passes(self) -> Cost:
        """A pass in both directions for each step."""
        return Cost(self.steps, self.steps)

    def perturb(self, batch: Batch) -> Batch:
        """The images behind the transforms, from a random point of the box."""
        batch.require_one_process(self.name)
        transforms, network = _stages(self.name, batch.model)
        low, high = pixel_box(batch.threat, batch.x)
        for transform in transforms:
            low, high = transform.box_after(low, high)
        width = high - low
        start = batch.streams.derive("box").on(low.device).uniform(low.shape[1:])
        z = low + start.to(low.dtype) * width
        for _ in range(self.steps):
            z = (z + 1.25 / self.steps * width * _ascent(network, z, batch.y)).clamp(low, high)
        return batch.with_x_adv(z)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy of each attacked image, behind the transforms."""
        _, network = _stages(self.name, bare_module(model))
        logits = network(batch.perturbed).float()
        return Losses(soft_cross_entropy(logits, batch.targets), logits.detach())


def _stages(name: str, model: nn.Module) -> tuple[list[Transform], nn.Module]:
    """The transforms of a pipeline and its network.

    Raises:
        ModelError: If it is none, or a transform is not monotone.
    """
    model = bare_module(model)
    if not isinstance(model, Pipeline) or not len(model.transforms) or model.detector is not None:
        raise ModelError(
            f"{name} trains a network behind monotone transforms and without a detector: "
            "give one, such as --defense threshold, or the objective pgd"
        )
    transforms = [cast(Transform, transform) for transform in model.transforms]
    for transform in transforms:
        if not transform.monotone:
            raise ModelError(
                f"{name} does not train behind {type(transform).__name__}, which is not "
                "monotone: give threshold or squeeze, or the objective pgd"
            )
    return transforms, model.classifier


def _ascent(network: nn.Module, z: Tensor, y: Tensor) -> Tensor:
    """Signs of the gradient of cross-entropy, shape of z."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        loss = nn.functional.cross_entropy(network(z).float(), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, z)
    return gradient.sign()
