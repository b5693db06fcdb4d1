"""The exact stages at a model's input: the box that they make of a ball, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.declared_stages import false_declaration
from tempering.core.passes import uncounted
from tempering.core.probe import Probe
from tempering.core.protocols import Transform

_HALVINGS = 20
"""How often the interval of a pixel is halved in the search for an output of the stages."""
_RANGES = ((0.0, 1.0), (0.0, 0.4), (0.3, 0.4), (0.6, 0.4))
"""Least value and width of the range of each random image on which a model is tried."""


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
        """Find them by a pass of a few random images.

        A stage counts if it declares that it is monotone, draws nothing at random, and works
        pixel by pixel on random images. The model without them must answer their outputs as it
        answers the images; a model with a detector that sees the image itself does not.

        Args:
            probe: The model.
            x: Images, shape (n, c, h, w): only their shape and device are used.
        """
        with uncounted(), torch.no_grad():
            images = _tried(x).to(x.device, probe.dtype)
            stages, logits = _called_first(probe, images)
            shape = (x.shape[1], x.shape[2], x.shape[3])
            two_valued = any(stage.thresholds(shape) is not None for stage in stages)
            found = cls(stages, probe.dtype, two_valued)
            if not stages:
                return found
            with found.skipped():
                same = torch.allclose(probe.logits(found(images)), logits, rtol=1e-4, atol=1e-5)
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


def _called_first(probe: Probe, images: Tensor) -> tuple[tuple[Transform, ...], Tensor]:
    """The transforms that images pass before anything else, and their logits."""
    calls: list[tuple[Transform, Tensor, Tensor]] = []

    def note(module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        if isinstance(module, Transform) and given and isinstance(given[0], Tensor):
            calls.append((module, given[0].clone(), out.clone()))

    with ExitStack() as hooks:
        for module in probe.model.modules():
            if isinstance(module, Transform):
                hooks.callback(module.register_forward_hook(note).remove)
        logits = probe.logits(images)
    stages: list[Transform] = []
    seen = images
    for stage, given, out in calls:
        again = sum(other is stage for other, _, _ in calls) > 1
        if again or not torch.equal(given, seen) or not _exact(stage, seen[0]):
            break
        stages.append(stage)
        seen = out
    return tuple(stages), logits


def _exact(stage: Transform, image: Tensor) -> bool:
    """Whether a stage is monotone and mixes no pixels, as far as trying shows."""
    return stage.monotone and not stage.random and false_declaration(stage, image) is None


def _tried(x: Tensor) -> Tensor:
    """Random images, from dark to bright, shape (4, c, h, w).

    Images of the data would not do. A binary one is the same behind a threshold, so it does not
    show that the model also sees the image itself; and what is found would depend on the batch.
    """
    noise = torch.rand(len(_RANGES), *x.shape[1:], generator=torch.Generator().manual_seed(0))
    low, width = torch.tensor(_RANGES).T[..., None, None, None]
    images: Tensor = low + width * noise
    return images
