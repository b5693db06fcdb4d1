"""Answers that change much where images change little."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.goals import Untargeted, margin
from tempering.core.records import Flag
from tempering.core.threats import Linf
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice

RADIUS = 4 / 255
"""How far pixels are moved: half of the eps for which the indicator was made."""
LOOKS = 20
"""Random points a sample."""
CHANGE = 0.1
"""Mean relative change, a fraction, above which the flag is raised."""

UNSTABLE = Kind(
    "unstable predictions",
    "the loss changes so much over tiny random changes of an image that its gradient is noise; "
    "attacks that follow it lose their way",
    "attack a smoothed loss: with EOT over small random changes, or without gradients",
    masks=True,
)


def unstable_predictions(part: Slice) -> Flag | None:
    """Compare the margin with that at random points nearby; 21 forward passes a sample.

    The second indicator of Pintor et al., 'Indicators of attack failure', 2022: the mean
    over points and samples of the relative change, each at most 1. The loss is the margin.

    Args:
        part: Samples that the model gets right.

    Returns:
        `unstable predictions`, or None.
    """
    ball = Linf(RADIUS)
    reference = _gap(part, part.x)
    total = torch.zeros_like(reference)
    for look in range(LOOKS):
        moved = _gap(part, part.nearby(look, ball))
        change = (moved - reference).abs() / reference.abs().clamp_min(1e-30)
        total += change.clamp_max(1.0)
    mean = total / LOOKS
    share = float(mean.mean())
    if share <= CHANGE:
        return None
    high = mean > CHANGE
    return UNSTABLE.raised(
        f"the margin changes by {100 * share:.3g} % on average over {LOOKS} random points within "
        f"{ball}; by more than {100 * CHANGE:g} % on {int(high.sum())} of {len(part)} samples",
        part.keys[high],
    )


def _gap(part: Slice, x: Tensor) -> Tensor:
    logits = part.logits(x).double()
    return margin(logits, Untargeted().protected(part.y, logits.shape[1]))
