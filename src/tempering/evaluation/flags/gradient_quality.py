"""Checks whether gradients exist and describe the model: signs of gradient masking."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.slopes import steepness
from tempering.core.backward import adaptive_stages, true_gradient
from tempering.core.errors import FailedBackwardError, NoGradientError
from tempering.core.goals import Untargeted, margin
from tempering.core.records import Flag
from tempering.core.threats import Linf
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.flag_kind import FlagKind, row_numbers
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.results import AttackResult

ZERO_SHARE = 0.01
"""Share of robust samples with zero gradient from which `zero gradients` is raised."""

VANISHING_RATIO = 0.01
"""A gradient vanishes if its first-order change over the ball is below this share of the change
at one random point of the ball. For a nearly linear model the first-order change is larger."""
VANISHING_ROUNDING = 16
"""A gradient vanishes if its first-order change is below this many units of rounding."""
VANISHING_SHARE = 0.01
"""Share of samples from which `vanishing gradients` is raised."""

OFFSET = 1 / 30
"""Finite differences are taken at a random point at most this share of eps from the image."""
DIFFERENCE_STEPS = (1 / 300, 1 / 30)
"""Step lengths of the finite differences, as shares of eps."""
DIFFERENCE_TOLERANCE = 0.5
"""Largest deviation of a finite difference from the gradient's prediction, relative to the
largest of both and of the typical change along a random direction."""
DIFFERENCE_ROUNDING = 64
"""Units of rounding that a change must exceed to be conclusive."""
DIFFERENCE_SHARE = 0.25
"""Share of conclusive samples above which the flag is raised."""

UNSTABLE_RADIUS = 4 / 255
"""L-inf radius of the random changes: half of the eps for which Pintor et al. set it."""
UNSTABLE_POINTS = 20
"""Random points per sample."""
UNSTABLE_CHANGE = 0.1
"""Mean relative change of the margin above which the flag is raised."""

UNAVAILABLE = FlagKind(
    "unavailable gradients",
    "a step of the model has no gradient, or a zero gradient; gradient attacks do not move, so "
    "their failure is no evidence of robustness",
    "attack with BPDA through the step, and with attacks that need no gradient",
    masks=True,
)
ZERO = FlagKind(
    "zero gradients",
    "on these samples the gradient is zero in every pixel; gradient attacks do not move, so their "
    "failure is no evidence of robustness",
    "declare an adaptive backward for the stage that masks the gradient, or attack without "
    "gradients",
    masks=True,
)
FAILED_BACKWARD = FlagKind(
    "failing backward pass",
    "the backward pass of the model raises an exception, so gradient attacks cannot run; the model "
    "was attacked without gradients",
    "correct the backward pass, or declare an adaptive backward for the step that fails",
    masks=True,
)
NOT_FINITE = FlagKind(
    "gradients that are not finite",
    "on these samples the gradient is NaN or infinite; gradient attacks do not move there, so "
    "they were attacked without gradients",
    "find the function with an infinite slope, such as a square root at 0, and add a small "
    "constant under it",
)
MASKING_STAGE = FlagKind(
    "gradient masking by a stage",
    "a stage of the model masks its gradient; an evaluation with the true gradient overestimates "
    "robustness",
    "report only numbers with the adaptive backward, and attack without gradients as well",
    masks=True,
)
VANISHING = FlagKind(
    "vanishing gradients",
    "gradients are so small that a step along them over the whole ball changes the logits by less "
    "than rounding, or by far less than a random step; a saturated stage masks the gradient",
    "attack the input of the saturated stage with BPDA, or scale the logits down; attack without "
    "gradients as well",
    masks=True,
)
DISAGREEING = FlagKind(
    "gradients disagree with finite differences",
    "the output does not change as the gradient predicts for small steps; a stage returns another "
    "gradient than its own, for example through detach(), and can mislead attacks",
    "attack without gradients, and give the stage a backward that approximates its forward",
    masks=True,
)
UNSTABLE = FlagKind(
    "unstable predictions",
    "the margin changes so much over tiny random changes of the image that its gradient is noise",
    "attack a smoothed loss with EOT over small random changes, or attack without gradients",
    masks=True,
)


def check_gradients_available(part: ExaminedSamples) -> Flag | None:
    """Check for gradients that are undefined or zero; 1 forward and backward pass per sample.

    First indicator of Pintor et al., 'Indicators of attack failure', 2022; one sample suffices.

    Args:
        part: Correctly classified samples.

    Returns:
        `unavailable gradients`, `failing backward pass`, or None.
    """
    try:
        _, _, slope = part.gradient(part.x)
    except FailedBackwardError as error:
        reason = str(error).partition(": correct the backward pass")[0]
        return FAILED_BACKWARD.raised(f"on a batch of {len(part)} samples {reason}")
    except NoGradientError:
        return UNAVAILABLE.raised(
            "the logits do not depend on the images in the autograd graph: detach(), no_grad(), "
            "numpy or an integer cast cuts the gradient"
        )
    zero = (slope == 0).flatten(1).all(1)
    if not bool(zero.any()):
        return None
    return UNAVAILABLE.raised(
        f"zero in every pixel on {int(zero.sum())} of {len(part)} samples", part.keys[zero]
    )


def check_zero_gradients(zero: Tensor, worst: PerSampleResult) -> Flag | None:
    """Robust samples on which gradient attacks have no gradient.

    Args:
        zero: Samples with a zero gradient, shape (n,), bool.
        worst: The worst case over all attacks; broken samples do not count.
    """
    blind = zero & worst.robust
    if not bool(blind.any()) or float(blind.double().mean()) < ZERO_SHARE:
        return None
    return ZERO.raised(f"{int(blind.sum())} of {len(blind)} samples", row_numbers(blind))


def check_masking_stage(adaptive: AttackResult, true: AttackResult) -> Flag | None:
    """Compare one attack with the adaptive backward and with the true gradient.

    Flagged if the paired difference exceeds two standard errors (McNemar, 1947).

    Args:
        adaptive: The attack with the adaptive backward.
        true: The same attack with the true gradient.
    """
    only_adaptive = true.per_sample.robust & ~adaptive.per_sample.robust
    only_true = adaptive.per_sample.robust & ~true.per_sample.robust
    more, less = int(only_adaptive.sum()), int(only_true.sum())
    if more - less <= 2 * (more + less) ** 0.5:
        return None
    return MASKING_STAGE.raised(
        f"robust accuracy under {adaptive.measurement.attack}: {true.measurement.robust} with the "
        f"true gradient, {adaptive.measurement.robust} with the adaptive backward",
        row_numbers(only_adaptive),
    )


def check_vanishing_gradients(part: ExaminedSamples) -> Flag | None:
    """Compare the first-order change over the ball with rounding and with a random step.

    Costs 2 forward passes and 1 backward pass per sample. Samples whose gradient is exactly zero
    are left to `unavailable gradients`.

    Args:
        part: Correctly classified samples; eps is above 0.

    Returns:
        `vanishing gradients`, or None.

    Raises:
        NoGradientError: If the logits do not depend on the images.
    """
    logits, odds, slope = part.gradient(part.x)
    first_order = part.threat.eps * steepness(part.threat, slope).double()
    change = (part.odds(part.nearby("vanishing")) - odds).abs().double()
    rounding = torch.finfo(logits.dtype).eps * logits.abs().amax(1).double()
    nonzero = (slope != 0).flatten(1).any(1)
    lost = nonzero & (first_order <= VANISHING_ROUNDING * rounding)
    flat = nonzero & (first_order <= VANISHING_RATIO * change) & ~lost
    vanishing = lost | flat
    if float(vanishing.double().mean()) < VANISHING_SHARE:
        return None
    return VANISHING.raised(
        f"{int(vanishing.sum())} of {len(part)} samples: on {int(lost.sum())} a step of "
        f"{part.threat} along the gradient is below rounding, on {int(flat.sum())} more its "
        f"first-order change is below {100 * VANISHING_RATIO:g} % of that of a random step",
        part.keys[vanishing],
    )


def check_finite_differences(part: ExaminedSamples) -> Flag | None:
    """Compare gradients with finite differences, along the steepest and a random direction.

    A sample disagrees if, in one of the two directions, the predicted change is seen at no step
    length. The comparison is made at a random point next to the image: constant regions of an
    image tie the inputs of max pooling, where the gradient is right on one side only. Steps stay
    in the box. Samples with zero gradient are left to `unavailable gradients`. Stages that
    declare an adaptive backward are asked for their true gradient; where it does not exist, as
    behind a hard threshold, there is nothing to compare. Costs 5 forward passes and 1 backward
    pass per sample.

    Args:
        part: Samples that a deterministic model classifies correctly; eps is above 0.

    Returns:
        `gradients disagree with finite differences`, or None.

    Raises:
        NoGradientError: If the logits do not depend on the images.
    """
    adaptive = bool(adaptive_stages(part.model))
    with true_gradient() if adaptive else nullcontext():
        x = part.nearby("differences", part.threat.with_eps(OFFSET * part.threat.eps))
        try:
            logits, odds, slope = part.gradient(x)
        except NoGradientError:
            if adaptive:
                return None
            raise
        rounding = torch.finfo(logits.dtype).eps * logits.abs().amax(1).clamp_min(1e-30)
        tangent = _Tangent(x, odds, slope)
        results = [
            _compare_differences(part, tangent, direction, rounding)
            for direction in (part.threat.ascent(slope), _random_direction(part, slope))
        ]
    agree = torch.stack([agrees for agrees, _ in results])
    conclusive = torch.stack([clear for _, clear in results])
    nonzero = (slope != 0).flatten(1).any(1)
    disagreeing = (conclusive & ~agree).any(0) & nonzero
    known = conclusive.any(0) & nonzero
    if not bool(known.any()) or int(disagreeing.sum()) <= DIFFERENCE_SHARE * int(known.sum()):
        return None
    short, long = (share * part.threat.eps for share in DIFFERENCE_STEPS)
    return DISAGREEING.raised(
        f"on {int(disagreeing.sum())} of {int(known.sum())} conclusive samples the change over "
        f"steps of {short:.2g} and {long:.2g} differs from the gradient's prediction by more than "
        f"{100 * DIFFERENCE_TOLERANCE:g} %",
        part.keys[disagreeing],
    )


def _random_direction(part: ExaminedSamples, slope: Tensor) -> Tensor:
    """A random direction of unit norm, signed so that the gradient predicts an increase."""
    noise = part.streams.derive("way").normal(part.x.shape[1:]).to(part.x.dtype)
    direction = part.threat.ascent(noise)
    rising = (direction * slope).flatten(1).sum(1)
    return torch.where(rising[:, None, None, None] < 0, -direction, direction)


@dataclass(frozen=True, eq=False)
class _Tangent:
    """Points, log odds of a wrong class there, and their gradients."""

    x: Tensor
    odds: Tensor
    slope: Tensor


def _compare_differences(
    part: ExaminedSamples, at: _Tangent, direction: Tensor, rounding: Tensor
) -> tuple[Tensor, Tensor]:
    """Whether some step shows the predicted change, and whether some step is conclusive."""
    agree = torch.zeros(len(part), dtype=torch.bool, device=part.x.device)
    conclusive = torch.zeros_like(agree)
    slope = at.slope.flatten(1)
    for share in DIFFERENCE_STEPS:
        moved = (at.x + share * part.threat.eps * direction).clamp(0.0, 1.0)
        step = (moved - at.x).flatten(1)
        predicted = (slope * step).sum(1)
        observed = part.odds(moved) - at.odds
        typical = slope.norm(dim=1) * step.norm(dim=1) / math.sqrt(step.shape[1])
        larger = torch.maximum(torch.maximum(predicted.abs(), observed.abs()), typical)
        clear = larger > DIFFERENCE_ROUNDING * rounding
        agree |= clear & ((predicted - observed).abs() <= DIFFERENCE_TOLERANCE * larger)
        conclusive |= clear
    return agree, conclusive


def check_stability(part: ExaminedSamples) -> Flag | None:
    """Compare the margin with that at random points nearby; 21 forward passes per sample.

    Second indicator of Pintor et al., 'Indicators of attack failure', 2022: the mean over points
    and samples of the relative change, each at most 1. The loss is the margin.

    Args:
        part: Correctly classified samples.

    Returns:
        `unstable predictions`, or None.
    """
    ball = Linf(UNSTABLE_RADIUS)
    reference = _margin(part, part.x)
    total = torch.zeros_like(reference)
    for point in range(UNSTABLE_POINTS):
        moved = _margin(part, part.nearby(point, ball))
        change = (moved - reference).abs() / reference.abs().clamp_min(1e-30)
        total += change.clamp_max(1.0)
    mean = total / UNSTABLE_POINTS
    if float(mean.mean()) <= UNSTABLE_CHANGE:
        return None
    high = mean > UNSTABLE_CHANGE
    return UNSTABLE.raised(
        f"the margin changes by {100 * float(mean.mean()):.3g} % on average over "
        f"{UNSTABLE_POINTS} random points within L-inf {UNSTABLE_RADIUS:.4f}; by more than "
        f"{100 * UNSTABLE_CHANGE:g} % on {int(high.sum())} of {len(part)} samples",
        part.keys[high],
    )


def _margin(part: ExaminedSamples, x: Tensor) -> Tensor:
    logits = part.logits(x).double()
    return margin(logits, Untargeted().protected(part.y, logits.shape[1]))
