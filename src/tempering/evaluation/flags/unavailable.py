"""Gradients that cannot be had: none at all, or zero in every pixel."""

from __future__ import annotations

from tempering.core.errors import NoGradientError
from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice

UNAVAILABLE = Kind(
    "unavailable gradients",
    "a step of the model has no gradient, or one of zero, so attacks that follow gradients do "
    "not move; that samples stand shows nothing",
    "attack with BPDA, which passes through such steps, and with attacks that need no gradient",
    masks=True,
)


def unavailable_gradients(part: Slice) -> Flag | None:
    """Look for gradients that cannot be computed, or are zero; forward and backward a sample.

    The first indicator of Pintor et al., 'Indicators of attack failure', 2022: raised by a
    single sample.

    Args:
        part: Samples that the model gets right.

    Returns:
        `unavailable gradients`, or None.
    """
    try:
        _, _, slope = part.gradient(part.x)
    except NoGradientError:
        return UNAVAILABLE.raised(
            "logits do not depend on the images, as autograd sees it: detach(), no_grad(), "
            "numpy or a cast to whole numbers cuts the gradient off"
        )
    zero = (slope == 0).flatten(1).all(1)
    if not bool(zero.any()):
        return None
    return UNAVAILABLE.raised(
        f"zero in every pixel on {int(zero.sum())} of {len(part)} samples", part.keys[zero]
    )
