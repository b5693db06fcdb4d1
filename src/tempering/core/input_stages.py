"""The exact stages at a model's input: the box that they make of a ball, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.passes import uncounted
from tempering.core.probe import Probe
from tempering.core.protocols import Transform

_HALVINGS = 20
"""How often the interval of a pixel is halved in the search for an output of the stages."""
_IMAGES = 16
"""Random images on which a stage is tried."""


@dataclass(frozen=True, eq=False)
class InputStages:
    """The monotone transforms that images pass first, one after the other, and nothing beside.

    Each output pixel depends on the same input pixel alone, so the images of an L-inf ball become
    those of a box, pixel by pixel.

    Attributes:
        stages: Modules of the model in their order; none if the model begins otherwise.
        dtype: In which the model computes.
        two_valued: Whether an output pixel has no more than two values in all.
    """

    stages: tuple[Transform, ...]
    dtype: torch.dtype
    two_valued: bool

    @classmethod
    def of(cls, probe: Probe, x: Tensor) -> InputStages:
        """Find them by a pass of one image.

        A stage counts if it declares that it is monotone, draws nothing at random, and works in
        place on random images. The model without them must answer their output as it answers
        the image; a detector that sees the image itself does not.

        Args:
            probe: The model.
            x: Images in [0, 1], shape (n, c, h, w), at least one; the first is used.
        """
        with uncounted(), torch.no_grad():
            image = x[:1].to(probe.dtype)
            stages, logits = _called_first(probe, image)
            shape = (image.shape[1], image.shape[2], image.shape[3])
            two_valued = any(stage.thresholds(shape) is not None for stage in stages)
            found = cls(stages, probe.dtype, two_valued)
            if not stages:
                return found
            with found.skipped():
                same = torch.allclose(probe.logits(found(image)), logits, rtol=1e-4, atol=1e-5)
        return found if same else cls((), probe.dtype, False)

    def __call__(self, x: Tensor) -> Tensor:
        """What the stages make of images, shape and dtype of x."""
        seen = x.to(self.dtype)
        with torch.no_grad():
            for stage in self.stages:
                seen = stage.transform(seen.clone())
        return seen.to(x.dtype)

    @contextmanager
    def skipped(self) -> Iterator[None]:
        """Within it, the model takes outputs of the stages instead of images."""
        with ExitStack() as hooks:
            for stage in self.stages:
                hooks.callback(stage.register_forward_hook(_as_given).remove)
            yield

    def nearest(self, z: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Of the images of a box, those whose outputs come closest to given ones.

        Args:
            z: Wanted outputs, shape (n, c, h, w), between those of `low` and `high`.
            low: Least values of the images' pixels, shape of z.
            high: Largest values.

        Returns:
            Images between `low` and `high`, shape of z.
        """
        if not self.stages:
            return z.clamp(low, high)
        if not self.two_valued:
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                under = self(middle) <= z
                low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return torch.where(z - self(low) > self(high) - z, high, low)


def _as_given(module: nn.Module, given: tuple[Any, ...], out: Any) -> Any:  # noqa: ARG001
    return given[0]


def _called_first(probe: Probe, image: Tensor) -> tuple[tuple[Transform, ...], Tensor]:
    """The transforms that an image passes before anything else, and its logits."""
    calls: list[tuple[Transform, Tensor, Tensor]] = []

    def note(module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        if isinstance(module, Transform) and given and isinstance(given[0], Tensor):
            calls.append((module, given[0].clone(), out.clone()))

    with ExitStack() as hooks:
        for module in probe.model.modules():
            if isinstance(module, Transform):
                hooks.callback(module.register_forward_hook(note).remove)
        logits = probe.logits(image)
    stages: list[Transform] = []
    seen = image
    for stage, given, out in calls:
        again = sum(other is stage for other, _, _ in calls) > 1
        if again or not torch.equal(given, seen) or not _exact(stage, seen):
            break
        stages.append(stage)
        seen = out
    return tuple(stages), logits


def _exact(stage: Transform, image: Tensor) -> bool:
    """Whether a stage is monotone and mixes no pixels, as far as random images show."""
    if not stage.monotone or stage.random:
        return False
    draw = torch.Generator().manual_seed(0)
    ends = torch.rand(2, _IMAGES, *image.shape[1:], generator=draw).to(image)
    low, high = ends.amin(0), ends.amax(0)
    taken = (torch.rand(low.shape, generator=draw) < 0.5).to(image.device)
    mixed = stage.transform(torch.where(taken, low, high))
    least, most = stage.transform(low), stage.transform(high)
    if least.shape != low.shape or bool((least > most).any()):
        return False
    return torch.equal(mixed, torch.where(taken, least, most))
