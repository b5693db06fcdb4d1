"""CutMix: a box of every image comes from another one, and the labels are mixed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams, derive
from tempering.training.cost import Cost
from tempering.training.objective import Batch, Losses, require_between
from tempering.training.wrapper import Wrapper


@dataclass(frozen=True)
class CutMix(Wrapper):
    """The wrapped objective on images with a box of another image, and with both labels.

    Yun et al., 'CutMix: Regularization strategy to train strong classifiers with localizable
    features', 2019; against poisoned data: Borgnia et al., 'Strong data augmentation sanitizes
    poisoning and backdoor attacks without an accuracy tradeoff', 2021. The box covers at most
    half of the image, so that the image's own label has the larger weight: attacks of the
    wrapped objective work on it.

    Attributes:
        inner: The objective that is wrapped.
        probability: Share of the batches that are mixed; these cost a second pass.

    Raises:
        UsageError: If the probability is none, or the wrapped objective keeps values of samples.

    Example:
        >>> CutMix().spec()
        'cutmix:probability=0.5+standard:label_smoothing=0'
    """

    name: ClassVar[str] = "cutmix"
    source: ClassVar[str] = "Yun et al., 2019"

    probability: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "probability", self.probability, 0.0, 1.0)
        if self.inner.memory():
            raise UsageError(
                f"{self.name} does not wrap {self.inner.name}, which remembers single samples: "
                f"write {self.inner.name}+{self.name}+..."
            )

    def update_passes(self, outputs: int = 10) -> Cost:
        """Those of the wrapped objective, twice for a mixed batch."""
        return self.inner.update_passes(outputs).times(1 + self.probability)

    def perturb(self, batch: Batch) -> Batch:
        """Mix the images, then what the wrapped objective makes of them."""
        if not self.mixes(batch):
            return self.inner.perturb(batch)
        partner, box, _ = draw(batch)
        return self.inner.perturb(replace(batch, x=torch.where(box, batch.x[partner], batch.x)))

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Lam * loss(x, y) + (1 - lam) * loss(x, y of the partner), lam the image's own area."""
        losses = self.inner(model, batch)
        if not self.mixes(batch):
            return losses
        partner, _, own = draw(batch)
        relabelled = replace(
            batch,
            y=batch.y[partner],
            targets=exchanged(batch.targets, batch.y, batch.y[partner]),
        )
        other = self.inner(model, relabelled).per_sample
        own = own.to(other.dtype)
        return replace(losses, per_sample=own * losses.per_sample + (1 - own) * other)

    def mixes(self, batch: Batch) -> bool:
        """Whether a batch is mixed, the same in all processes."""
        stream = RandomStreams.of(derive(batch.streams.key, "cutmix", batch.step), 1)
        return len(batch.y) > 1 and float(stream.uniform(())) < self.probability


def draw(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Which image each one gets a box of, and where.

    Returns:
        Row of the partner, shape (n,), int64; whether a pixel is the partner's, shape
        (n, 1, h, w), bool; and the share of pixels that are the image's own, shape (n,), float32.
    """
    streams = batch.streams.derive("cutmix")
    order = streams.derive("partner").order()
    partner = torch.empty_like(order).index_copy(0, order, order.roll(1))
    height, width = batch.x.shape[2:]
    area, row, column = streams.uniform((3,)).unbind(1)
    side = (area / 2).sqrt()
    rows = _within(row * height, side * height, height)
    columns = _within(column * width, side * width, width)
    box = rows[:, None, :, None] & columns[:, None, None, :]
    return partner, box, 1 - box.float().mean((1, 2, 3))


def exchanged(targets: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """Soft labels in which two classes have changed places, shape (n, outputs).

    Args:
        targets: Soft labels, shape (n, outputs).
        y: A class for each sample, shape (n,).
        other: Another class for each sample, shape (n,).
    """
    first, second = y[:, None], other[:, None]
    swapped = targets.scatter(1, first, targets.gather(1, second))
    return swapped.scatter(1, second, targets.gather(1, first))


def _within(center: Tensor, length: Tensor, size: int) -> Tensor:
    """Which of `size` pixels lie in an interval, cut off at the border, shape (n, size), bool."""
    pixels = torch.arange(size, device=center.device) + 0.5
    return (pixels - center[:, None]).abs() < length[:, None] / 2
