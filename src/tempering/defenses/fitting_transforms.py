"""Fits the transforms that learn from training images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from tempering.core.errors import ModelError
from tempering.core.pixel_boxes import pixel_box
from tempering.core.protocols import Transform
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.defenses.text import NamedDefense
from tempering.defenses.threshold import Threshold

_IMAGES = 2000
"""Training images that are looked at, evenly spaced, at most."""
_NUMBERS = 2**25
"""Pixels of all of them, about: fewer images where these are large."""


def fitted_transforms(
    transforms: Sequence[NamedDefense], data: Dataset, threat: Threat
) -> tuple[NamedDefense, ...]:
    """The same transforms, with options that training images have set.

    Labels are not used. Each stage learns from what the stages before it make of the images and
    of the boxes that the threat makes around them.

    Args:
        transforms: In order.
        data: Training data.
        threat: A ball of a built-in norm, or a patch; not used if nothing is learned.

    Raises:
        ModelError: If one that learns comes behind one that is not monotone.
        ThreatError: If a stage learns and the threat has no box.

    Example:
        `fitted_transforms(read_defenses("threshold:learn=2"), data.train, Linf(0.3))`
    """
    stages = [transform.transform() for transform in transforms]
    if not any(_learns(stage) for stage in stages):
        return tuple(transforms)
    large = max(1, _NUMBERS // math.prod(data.shape))
    rows = torch.linspace(0, len(data) - 1, min(_IMAGES, len(data), large)).long()
    x = data.images(rows)
    low, high = pixel_box(threat, x)
    fitted = list(transforms)
    last = max(number for number, stage in enumerate(stages) if _learns(stage))
    for number, stage in enumerate(stages[: last + 1]):
        if isinstance(stage, Threshold) and stage.learn:
            stage.fit(x, low, high)
            fitted[number] = replace(transforms[number], options=stage.options)
        if not stage.monotone:
            raise ModelError(
                f"{transforms[last].text()} behind {transforms[number].text()}, which is not "
                "monotone: give the threshold first, or at instead of learn"
            )
        x = stage.transform(x)
        low, high = stage.box_after(low, high)
    return tuple(fitted)


def _learns(stage: Transform) -> bool:
    return isinstance(stage, Threshold) and stage.learn > 0
