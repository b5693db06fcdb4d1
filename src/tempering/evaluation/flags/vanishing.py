"""Gradients that are there and too small to be followed."""

from __future__ import annotations

import torch

from tempering.attacks.slopes import steepness
from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice

PROMISE = 0.01
"""What the steepest step to the edge of the ball promises, as a share of what one random
point of the ball changes, below which a gradient has vanished. Where a model is about linear
the promise is the larger one by far."""
RESOLUTION = 16
"""Units of rounding that the promise has to exceed."""
SHARE = 0.01
"""Share of samples, a fraction, from which on the flag is raised."""

VANISHING = Kind(
    "vanishing gradients",
    "gradients are not zero, and so small that a step along them over the whole ball would "
    "change the model's answer less than rounding does, or far less than a random step: a "
    "saturated stage hides the slope, and that samples stand shows nothing",
    "attack what lies before the saturated stage, with BPDA, or scale logits down; attack "
    "without gradients as well",
    masks=True,
)


def vanishing_gradients(part: Slice) -> Flag | None:
    """Compare what gradients promise with rounding, and with a random step of the same ball.

    Costs a forward and backward pass a sample, and a forward pass more. Samples whose
    gradient is exactly zero are left to `unavailable gradients`.

    Args:
        part: Samples that the model gets right; its threat's eps is above 0.

    Returns:
        `vanishing gradients`, or None.

    Raises:
        NoGradientError: If logits do not depend on the images.
    """
    logits, odds, slope = part.gradient(part.x)
    promise = part.threat.eps * steepness(part.threat, slope).double()
    change = (part.odds(part.nearby("vanishing")) - odds).abs().double()
    rounding = torch.finfo(logits.dtype).eps * logits.abs().amax(1).double()
    there = (slope != 0).flatten(1).any(1)
    lost = there & (promise <= RESOLUTION * rounding)
    hidden = there & (promise <= PROMISE * change) & ~lost
    vanished = lost | hidden
    if float(vanished.double().mean()) < SHARE:
        return None
    return VANISHING.raised(
        f"{int(vanished.sum())} of {len(part)} samples: on {int(lost.sum())} a step of "
        f"{part.threat} along the gradient is lost in rounding, on {int(hidden.sum())} more it "
        f"promises less than {100 * PROMISE:g} % of what a random step changes",
        part.keys[vanished],
    )
