"""Accuracy against eps that no attack at its best would leave."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.records import Count, Flag, Measurement
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.looks import steps

RISE = 0.01
"""Rise of accuracy with eps, a fraction, beyond which a flag is raised."""

RISES = Kind(
    "accuracy rises with eps",
    "a larger ball holds every image of a smaller one, so accuracy cannot rise; the attack "
    "fails at the larger eps",
    "use more steps, or a step size that fits the eps",
)
STAYS = Kind(
    "accuracy does not fall",
    "at this eps every image can be made plain grey, where all share one prediction; more "
    "stand than are of the largest class, so the attacks miss what must exist",
    "run more steps and restarts, and an attack that needs no gradient, and look for stages "
    "that hide their gradient",
    masks=True,
)


def rises_with_eps(measurements: Sequence[Measurement]) -> Flag | None:
    """Accuracy that is higher where the attacker is allowed more.

    One-step attacks are left out, since they overshoot by nature, and sweeps too, since
    they carry broken samples on.

    Args:
        measurements: Any; those of one attack on one model at several eps are compared.
    """
    series: dict[tuple[str, ...], list[tuple[float, Count]]] = {}
    for one in measurements:
        if one.protocol != "curve" and steps(one) > 1:
            norm = one.threat.partition(":")[0]
            key = (one.attack, norm, one.weights, one.data_hash, one.access, one.backward)
            series.setdefault(key, []).append((one.eps, one.robust))
    found = [rise(key[0], key[1], points) for key, points in series.items()]
    worst = max((one for one in found if one), key=lambda one: one[0], default=None)
    return RISES.raised(worst[1]) if worst and worst[0] > RISE else None


def rise(attack: str, norm: str, points: Sequence[tuple[float, Count]]) -> tuple[float, str] | None:
    """The largest rise of one attack's accuracy over its lowest at a smaller eps.

    Args:
        attack: Its label.
        norm: The threat's name.
        points: Eps, and samples that stand there, in any order.

    Returns:
        The rise, a fraction, and where it is; None where there is none of two samples
        or more.

    Example:
        >>> rise("pgd", "linf", [(0.1, Count(hits=5, n=10)), (0.2, Count(hits=9, n=10))])[0]
        0.4
    """
    worst: tuple[float, str] | None = None
    ordered = sorted(points, key=lambda point: point[0])
    where, low = ordered[0]
    for eps, here in ordered:
        higher = here.fraction - low.fraction
        if higher > (worst[0] if worst else 0.0) and here.hits - low.hits > 1:
            worst = (higher, f"{attack}: {low} at {norm}:{where:g}, {here} at {norm}:{eps:g}")
        if higher <= 0:
            where, low = eps, here
    return worst


def does_not_fall(
    sweep: Sequence[Measurement], reaches_grey: float, largest_class: float
) -> Flag | None:
    """Accuracy that stays up where every image can be turned into the same grey.

    All samples then share one prediction, so no more than the largest class can stand.

    Args:
        sweep: Measurements at several eps.
        reaches_grey: Largest distance of an image from plain grey, in the threat's norm.
        largest_class: Share of the largest class among the samples, a fraction.
    """
    wide = [one for one in sweep if one.eps >= reaches_grey]
    if not wide:
        return None
    last = min(wide, key=lambda one: one.robust.fraction)
    if last.robust.fraction <= largest_class:
        return None
    return STAYS.raised(
        f"{last.attack}: {last.robust} at {last.threat}, where at most "
        f"{100 * largest_class:.1f} % can stand"
    )
