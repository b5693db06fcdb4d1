"""Calibration: the eps at which an attack reduces a model to a given accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tempering.attacks.base import Attack
from tempering.attacks.cw_l2 import CWL2
from tempering.core.errors import UsageError
from tempering.core.records import Access
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.minimum_norm import distances, unbounded
from tempering.evaluation.results import AttackResult, record
from tempering.evaluation.target import Target

DOUBLINGS = 7
"""Number of eps that are tried upwards; the last one allows every image in the box."""

HALVINGS = 12
"""Maximum number of bisections."""

CLOSE, NEAR = 0.0025, 0.02
"""Distance from the wanted accuracy at which the search ends early, and up to which it succeeds."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The eps at which an attack reduces a model to a given accuracy, if there is one.

    Attributes:
        wanted: Accuracy to reach, a fraction.
        eps: Where it is reached; None if it is reached nowhere.
        result: The measurement there, or the one nearest to the wanted accuracy.
        reason: Why there is no eps; empty if there is one.
    """

    wanted: float
    eps: float | None
    result: AttackResult
    reason: str = ""

    @property
    def accuracy(self) -> float:
        """Accuracy under attack at eps, or the nearest one measured, a fraction."""
        return self.result.measurement.robust.fraction


def calibrate(
    context: EvalContext,
    target: Target,
    attack: Attack,
    wanted: float,
    *,
    norm: str = "linf",
    access: Access = "white",
    source: nn.Module | None = None,
) -> Calibration:
    """Find the eps at which an attack reduces a model to a wanted accuracy.

    The smallest such eps is bracketed by doubling and then bisected; all eps use the same
    random streams. C&W L2 runs once; its distances give the accuracy at every eps, in L2. The
    adversarial class of a model counts as a wrong class.

    Args:
        context: Data, engine and seed.
        target: The undefended model.
        attack: The attack.
        wanted: Accuracy to reach, a fraction in (0, 1).
        norm: Of the threat; ignored by C&W L2.
        access: What the attacker knows.
        source: The surrogate, for gray-box access.

    Returns:
        The eps and the measurement there, or the reason why there is none.

    Raises:
        UsageError: If the wanted accuracy does not lie in (0, 1).

    Example:
        `calibrate(context, undefended, FGSM(), 0.287).eps`
    """
    if not 0 < wanted < 1:
        raise UsageError(f"accuracy {wanted!r} to calibrate to: give a fraction, such as 0.287")
    target = target.without_flag()
    if isinstance(attack, CWL2):
        return _from_distances(context, target, attack, wanted, access, source)

    def at(threat: Threat, runs: Attack | None = attack) -> AttackResult:
        if runs is None:
            return measure(context, target, None, threat, protocol="paper")
        return measure(
            context, target, runs, threat, protocol="paper", access=access, source=source
        )

    limit = unbounded(norm, context.data.x.shape[1:])
    search = _Search(wanted, [at(limit, None)])
    if search.low_enough:
        return search.failed("accuracy without attack is not above it")
    low, high = 0.0, 0.0
    for doubling in range(1, DOUBLINGS + 1):
        low, high = high, limit.eps / 2 ** (DOUBLINGS - doubling)
        search.tried.append(at(limit.with_eps(high)))
        if search.low_enough:
            break
    else:
        return search.failed(f"not reached up to eps {limit.eps:g}")
    for _ in range(HALVINGS):
        if search.gap(search.nearest) <= CLOSE:
            break
        middle = (low + high) / 2
        search.tried.append(at(limit.with_eps(middle)))
        low, high = (low, middle) if search.low_enough else (middle, high)
    if search.gap(search.nearest) > max(NEAR, 1 / context.n):
        return search.failed(f"accuracy jumps past it near eps {high:.4g}")
    return Calibration(wanted, search.nearest.measurement.eps, search.nearest)


@dataclass(frozen=True, eq=False)
class _Search:
    """The measurements so far."""

    wanted: float
    tried: list[AttackResult]

    @property
    def low_enough(self) -> bool:
        return self.tried[-1].measurement.robust.fraction <= self.wanted

    @property
    def nearest(self) -> AttackResult:
        return min(self.tried, key=self.gap)

    def gap(self, result: AttackResult) -> float:
        return abs(result.measurement.robust.fraction - self.wanted)

    def failed(self, reason: str) -> Calibration:
        return Calibration(self.wanted, None, self.nearest, reason)


def _from_distances(
    context: EvalContext,
    target: Target,
    attack: Attack,
    wanted: float,
    access: Access,
    source: nn.Module | None,
) -> Calibration:
    nearest = distances(context, target, attack, access=access, source=source)
    clean = nearest.clean.measurement.robust
    broken = context.n - round(wanted * context.n)
    least = float(nearest.away.sort().values[max(0, broken - 1)])
    reason, eps = "", least * (1 + 1e-6)
    if clean.fraction <= wanted:
        reason, eps = "accuracy without attack is not above it", 0.0
    elif least == float("inf"):
        reason, eps = (
            "not reached: the attack found too few adversarial samples",
            nearest.attacked.measurement.eps,
        )
    threat = unbounded("l2", context.data.x.shape[1:]).with_eps(eps)
    result = record(
        context,
        target,
        nearest.per_sample(eps),
        attack=attack.label(),
        config=attack.config(),
        threat=threat,
        protocol="paper",
        access=access,
        cost=nearest.attacked.measurement.cost,
    )
    return Calibration(wanted, None if reason else eps, result, reason)
