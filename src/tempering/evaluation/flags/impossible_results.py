"""Checks for results that cannot be true, or that too few samples support."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tempering.core.errors import CertificateError
from tempering.core.intervals import wilson
from tempering.core.naming import sample_name
from tempering.core.records import Count, Flag, Measurement, MinimumNorm
from tempering.evaluation.flags.attack_comparisons import queries
from tempering.evaluation.flags.flag_kind import FlagKind, row_numbers

MAX_RISE = 0.01
"""Rise of robust accuracy with eps, a fraction, above which a flag is raised."""
MIN_SUCCESS = 0.95
"""Success rate of a minimum-norm attack below which a flag is raised."""
MAX_WIDTH = 0.05
"""Largest width of a 95 % interval that is not flagged, a fraction."""
_SHOWN = 5
"""Samples that a certificate error names."""

RISES = FlagKind(
    "accuracy rises with eps",
    "the larger ball contains the smaller one, so robust accuracy cannot rise; the attack fails "
    "at the larger eps",
    "use more steps, or a step size that fits the eps",
)
ABOVE_CHANCE = FlagKind(
    "accuracy does not fall to chance",
    "at this eps every image can be turned into uniform gray, so no more samples than those of the "
    "largest class can be robust; the attacks miss adversarial images that must exist",
    "run more steps and restarts, and an attack that needs no gradient; look for stages that mask "
    "their gradient",
    masks=True,
)
MINIMUM_NORM_FAILED = FlagKind(
    "minimum-norm attack failed",
    "without a bound an adversarial image exists for every sample; samples without one make the "
    "distances too large",
    "run more binary search steps or iterations, or a larger learning rate",
    masks=True,
)
CERTIFIED_BUT_BROKEN = FlagKind(
    "certified but broken",
    "an attack broke a certified sample; the certificate or the attack is wrong, and no number of "
    "this evaluation can be trusted",
    "report it with the model and the sample; nothing was recorded",
)
TOO_FEW = FlagKind(
    "too few samples",
    "the 95 % interval is wider than 5 points",
    "evaluate on more samples",
)


def check_rise(measurements: Sequence[Measurement]) -> Flag | None:
    """Robust accuracy that is higher at a larger eps.

    Single-step attacks are ignored, since they overshoot, and curves, since they carry broken
    samples on.

    Args:
        measurements: Any; those of one attack on one model at several eps are compared.
    """
    series: dict[tuple[str, ...], list[tuple[float, Count]]] = {}
    for measurement in measurements:
        if measurement.protocol != "curve" and queries(measurement) > 1:
            key = (
                measurement.attack,
                measurement.threat.partition(":")[0],
                measurement.weights,
                measurement.data_hash,
                measurement.access,
                measurement.backward,
            )
            series.setdefault(key, []).append((measurement.eps, measurement.robust))
    rises = [largest_rise(key[0], key[1], points) for key, points in series.items()]
    worst = max((rise for rise in rises if rise), key=lambda rise: rise[0], default=None)
    return RISES.raised(worst[1]) if worst and worst[0] > MAX_RISE else None


def largest_rise(
    attack: str, norm: str, points: Sequence[tuple[float, Count]]
) -> tuple[float, str] | None:
    """The largest rise of robust accuracy over its lowest value at a smaller eps.

    Args:
        attack: Label of the attack.
        norm: Name of the threat.
        points: Pairs of eps and robust samples, in any order.

    Returns:
        The rise, a fraction, and its description; None if no rise is of 2 samples or more.

    Example:
        >>> points = [(0.1, Count(hits=5, n=10)), (0.2, Count(hits=9, n=10))]
        >>> largest_rise("pgd", "linf", points)[0]
        0.4
    """
    worst: tuple[float, str] | None = None
    ordered = sorted(points, key=lambda point: point[0])
    low_eps, low = ordered[0]
    for eps, count in ordered:
        rise = count.fraction - low.fraction
        if rise > (worst[0] if worst else 0.0) and count.hits - low.hits > 1:
            worst = (rise, f"{attack}: {low} at {norm}:{low_eps:g}, {count} at {norm}:{eps:g}")
        if rise <= 0:
            low_eps, low = eps, count
    return worst


def check_above_chance(
    curve: Sequence[Measurement], gray_distance: float, largest_class: float
) -> Flag | None:
    """Robust accuracy above chance at an eps where every image can be turned uniform gray.

    All samples then share one prediction, so at most the largest class can be robust.

    Args:
        curve: Measurements at several eps.
        gray_distance: Largest distance of an image from uniform gray, in the threat's norm.
        largest_class: Share of the largest class among the samples, a fraction.
    """
    wide = [measurement for measurement in curve if measurement.eps >= gray_distance]
    if not wide:
        return None
    lowest = min(wide, key=lambda measurement: measurement.robust.fraction)
    if lowest.robust.fraction <= largest_class:
        return None
    return ABOVE_CHANCE.raised(
        f"{lowest.attack}: {lowest.robust} at {lowest.threat}, where at most "
        f"{100 * largest_class:.1f} % can be robust"
    )


def check_minimum_norm(distances: MinimumNorm) -> Flag | None:
    """A minimum-norm attack that found no adversarial image where one must exist.

    Args:
        distances: Result of the attack.
    """
    if distances.found.fraction >= MIN_SUCCESS:
        return None
    return MINIMUM_NORM_FAILED.raised(f"{distances.attack}: success on {distances.found}")


def check_certificates(
    certified: Tensor, broken: Tensor, who: str = "an attack", keys: Tensor | None = None
) -> None:
    """Raise if an attack broke a certified sample.

    Args:
        certified: Samples with a certificate, shape (n,), bool.
        broken: Samples broken within the threat, as the evaluator found, shape (n,), bool.
        who: Label of the attack.
        keys: Keys of the sample ids, shape (n,), int64; None names samples by their rows.

    Raises:
        CertificateError: Naming the samples.

    Example:
        >>> import torch
        >>> check_certificates(torch.tensor([True, False]), torch.tensor([False, True]))
    """
    rows = row_numbers(certified & broken)
    if not len(rows):
        return
    wrong = [sample_name(keys, row) for row in rows.tolist()]
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    named = ", ".join(map(str, wrong[:_SHOWN]))
    kind = CERTIFIED_BUT_BROKEN
    raise CertificateError(
        f"{kind.name}: {who} broke certified sample{'s' * (len(wrong) > 1)} {named}{more}: "
        f"{kind.meaning}; {kind.remedy}"
    )


def check_sample_size(label: str, robust: Count) -> Flag | None:
    """A number with a wide confidence interval.

    Args:
        label: Name of the number, such as `worst`.
        robust: The robust samples.

    Example:
        >>> check_sample_size("worst", Count(hits=90, n=100)).remedy
        'evaluate on about 605 samples'
    """
    low, high = robust.interval
    if high - low <= MAX_WIDTH:
        return None
    needed = max(1, robust.n)
    while True:
        needed = -(-needed * 5 // 4)
        bounds = wilson(round(robust.fraction * needed), needed)
        if bounds[1] - bounds[0] <= MAX_WIDTH:
            break
    return TOO_FEW.raised(
        f"{label}: {robust} on {robust.n} samples, an interval of {100 * (high - low):.1f} points",
        remedy=f"evaluate on about {needed} samples",
    )
