"""Models that were made for other units than [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.records import Count, Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's channels, by which many models want images normalised."""

UNITS = Kind(
    "inputs in the wrong units",
    "the model is right far more often when images are scaled otherwise: it is not the model "
    "that its makers measured, and the eps is not in its units either",
    "scale images inside the model, so that it takes [0, 1]",
)


def wrong_units(part: Slice) -> Flag | None:
    """Show the images in other units, and compare accuracies; about 5 forward passes a sample.

    Flagged where both 95 % intervals lie apart. Units that fit equally well are all named.

    Args:
        part: Samples, whether the model gets them right or not.

    Returns:
        `inputs in the wrong units`, with the units that fit best, or None.
    """
    given = _right(part, part.x)
    best, fitting = given, list[str]()
    for name, x in _otherwise(part.x):
        try:
            here = _right(part, x)
        except ModelError:
            continue
        if here.hits > best.hits:
            best, fitting = here, []
        fitting += [name] if here.hits == best.hits else []
    if best.interval[0] <= given.interval[1]:
        return None
    how = ", or ".join(fitting)
    return UNITS.raised(
        f"right on {given.hits} of {given.n} images in [0, 1], and on {best.hits} of them as {how}",
        remedy=f"scale images inside the model, so that it takes [0, 1]: {how}",
    )


def _right(part: Slice, x: Tensor) -> Count:
    return Count(hits=int((~part.fooled(x)).sum()), n=len(part))


def _otherwise(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Images in the units that models are usually made for."""
    yield "x * 255", x * 255
    yield "x * 2 - 1", x * 2 - 1
    dims = (0, 2, 3)
    mean, deviation = x.mean(dims, keepdim=True), x.std(dims, keepdim=True).clamp_min(1e-6)
    said = f"(x - {_listed(mean)}) / {_listed(deviation)} by their own mean and deviation"
    yield said, (x - mean) / deviation
    if x.shape[1] == 3:
        mean, deviation = (torch.tensor(one).to(x).reshape(1, 3, 1, 1) for one in IMAGENET)
        said = f"(x - {_listed(mean)}) / {_listed(deviation)} by ImageNet's mean and deviation"
        yield said, (x - mean) / deviation


def _listed(values: Tensor) -> str:
    numbers = [f"{value:.3g}" for value in values.flatten().tolist()]
    return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"
