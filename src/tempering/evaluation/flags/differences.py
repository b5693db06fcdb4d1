"""Gradients that say something else than the model does."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.core.backward import adaptive_stages, true_gradient
from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice

BESIDE = 1 / 30
"""How far from an image the comparison is made at most, as a share of eps."""
REACH = (1 / 300, 1 / 30)
"""Lengths of the steps that are compared, as shares of eps."""
APART = 0.5
"""How far the change that is seen may be from the one that is said, as a share of the largest of
both and of what the gradient says of a random direction on average."""
RESOLUTION = 64
"""Units of rounding that a step has to promise or show to be told from noise."""
SHARE = 0.25
"""Share of samples, of those that can be decided, above which the flag is raised."""

LIES = Kind(
    "gradients disagree with differences",
    "the model does not change as its gradient says when images are moved a little: a stage "
    "passes another gradient than its own, by a trick such as detach(); attacks may be led "
    "astray, and that they fail shows nothing",
    "attack without gradients, and give the stage a backward that approximates what it does",
    masks=True,
)


def lying_gradients(part: Slice) -> Flag | None:
    """Compare gradients with differences, along the steepest and a random direction.

    A sample disagrees if, in one of both directions, no step length shows the change that
    the gradient says. All is compared at a random point close to the image, since images have
    large parts of one value, where the inputs of max pooling are tied, and a gradient says
    the truth for one of all sides alone. Steps stay in the box. Samples whose gradient is zero
    are left to `unavailable gradients`. Stages that declare an adaptive backward are asked for
    their true gradient. Costs a forward and backward pass a sample, and 4 forward passes.

    Args:
        part: Samples that a deterministic model gets right; its threat's eps is above 0.

    Returns:
        `gradients disagree with differences`, or None.

    Raises:
        NoGradientError: If logits do not depend on the images.
    """
    truly: AbstractContextManager[None] = nullcontext()
    if adaptive_stages(part.model):
        truly = true_gradient()
    with truly:
        beside = part.nearby("differences", part.threat.with_eps(BESIDE * part.threat.eps))
        logits, odds, slope = part.gradient(beside)
        rounding = torch.finfo(logits.dtype).eps * logits.abs().amax(1).clamp_min(1e-30)
        told = [
            _compare(part, _Tangent(beside, odds, slope), direction, rounding)
            for direction in (part.threat.ascent(slope), _random(part, slope))
        ]
    agree = torch.stack([one for one, _ in told])
    decided = torch.stack([one for _, one in told])
    there = (slope != 0).flatten(1).any(1)
    lies = (decided & ~agree).any(0) & there
    known = decided.any(0) & there
    if not bool(known.any()) or int(lies.sum()) <= SHARE * int(known.sum()):
        return None
    return LIES.raised(
        f"on {int(lies.sum())} of {int(known.sum())} samples that could be decided the change "
        f"over steps of {part.threat.eps * REACH[0]:.2g} and {part.threat.eps * REACH[1]:.2g} "
        f"differs from the gradient's word by more than {100 * APART:g} %",
        part.keys[lies],
    )


def _random(part: Slice, slope: Tensor) -> Tensor:
    """A random direction of unit norm, turned so that the gradient rises along it."""
    noise = part.streams.derive("way").normal(part.x.shape[1:]).to(part.x.dtype)
    way = part.threat.ascent(noise)
    rising = (way * slope).flatten(1).sum(1)
    return torch.where(rising[:, None, None, None] < 0, -way, way)


@dataclass(frozen=True, eq=False)
class _Tangent:
    """Points, log odds of a wrong class there, and their gradients."""

    x: Tensor
    odds: Tensor
    slope: Tensor


def _compare(
    part: Slice, at: _Tangent, direction: Tensor, rounding: Tensor
) -> tuple[Tensor, Tensor]:
    """Whether some step shows the change that was said, and whether any could be decided."""
    agree = torch.zeros(len(part), dtype=torch.bool, device=part.x.device)
    decided = torch.zeros_like(agree)
    for share in REACH:
        moved = (at.x + share * part.threat.eps * direction).clamp(0.0, 1.0)
        step = (moved - at.x).flatten(1)
        slope = at.slope.flatten(1)
        said = (slope * step).sum(1)
        seen = part.odds(moved) - at.odds
        typical = slope.norm(dim=1) * step.norm(dim=1) / math.sqrt(step.shape[1])
        larger = torch.maximum(torch.maximum(said.abs(), seen.abs()), typical)
        clear = larger > RESOLUTION * rounding
        agree |= clear & ((said - seen).abs() <= APART * larger)
        decided |= clear
    return agree, decided
