"""How far an image must be changed: distances of a minimum-norm attack, recomputed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.records import Access, MinimumNorm
from tempering.core.threat_checks import contained
from tempering.core.threats import NORMS, Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.results import AttackResult, count
from tempering.evaluation.target import Target


def unbounded(norm: str, shape: Sequence[int]) -> Threat:
    """A threat that allows every image in the box.

    Args:
        norm: Its name, such as `l2`.
        shape: Channels, height and width.

    Returns:
        The threat whose eps is the distance between a black and a white image.

    Raises:
        UsageError: If there is no such norm.

    Example:
        >>> str(unbounded("l2", (1, 2, 2)))
        'l2:2'
    """
    if norm not in NORMS:
        raise UsageError(f"norm {norm!r}: give one of {', '.join(NORMS)}")
    black = torch.zeros(1, *shape)
    return NORMS[norm](float(NORMS[norm](0.0).distance(black + 1.0, black)[0]))


@dataclass(frozen=True, eq=False)
class Distances:
    """How far each sample is from being misclassified, as measured here.

    Attributes:
        away: Distances, shape (n,), float64: 0 where a sample is misclassified without
            any attack, infinite where nothing was found.
        clean: The target without attack.
        attacked: The target under the attack without a bound.
        context: The samples.
        threat: In which distances are measured.
    """

    away: Tensor
    clean: AttackResult
    attacked: AttackResult
    context: EvalContext
    threat: Threat

    def per_sample(self, eps: float) -> PerSampleResult:
        """What the attack does when only changes up to eps are allowed.

        Images count that the threat's `contains` accepts at that eps, as in any evaluation.

        Raises:
            ThreatError: If the threat cannot be made with that eps, or cannot tell.
        """
        x_adv = self.attacked.per_sample.x_adv
        allowed = self.away.isfinite()
        if x_adv is None:
            allowed &= self.away <= eps
        else:
            allowed &= self._contained(self.threat.with_eps(eps), x_adv)
        kept = (~allowed).nonzero()[:, 0]
        unattacked = replace(self.clean.per_sample, x_adv=self.context.data.x)
        return self.attacked.per_sample.put(kept, unattacked.at(kept))

    def _contained(self, threat: Threat, x_adv: Tensor) -> Tensor:
        device, size = self.context.engine.device, self.context.batch_size
        images = (x_adv, self.context.data.x)
        batches = zip(*(torch.split(part, size) for part in images), strict=True)
        return torch.cat(
            [contained(threat, proposed.to(device), x.to(device)).cpu() for proposed, x in batches]
        )


def distances(
    context: EvalContext,
    target: Target,
    attack: Attack,
    threat: Threat | None = None,
    *,
    access: Access = "white",
    source: nn.Module | None = None,
) -> Distances:
    """Find the smallest change that misleads a model on each sample.

    Args:
        context: Data, engine and seed.
        target: The model under attack; a flag is one wrong class more.
        attack: A minimum-norm attack, such as C&W L2.
        threat: What may change, and how distances are measured; by default everything, in L2.
        access: What the attacker knows.
        source: The model that samples are made on; None for the target itself.

    Returns:
        Distances and what they were found with.

    Raises:
        UsageError: If the attack does not look for the nearest image.
        AttackError: If a proposal breaks the rules.
    """
    if not attack.minimum_norm():
        raise UsageError(
            f"{attack.label()} stops at an image that fools, however far: give cw-l2, ddn, "
            "deepfool, fab or fmn, or until_fooled=false where the attack has it"
        )
    robust = target.without_flag()
    threat = threat or unbounded("l2", context.data.x.shape[1:])
    clean = measure(context, robust, None, threat)
    attacked = measure(
        context,
        robust,
        attack,
        threat,
        access=access,
        source=source,
        rows=clean.per_sample.robust.nonzero()[:, 0],
    )
    per_sample = attacked.per_sample
    away = per_sample.distance.masked_fill(per_sample.robust, torch.inf)
    return Distances(away, clean, attacked, context, threat)


def measure_minimum_norm(
    context: EvalContext,
    target: Target,
    attack: Attack,
    bounds: Sequence[float],
    *,
    norm: str = "l2",
) -> MinimumNorm:
    """Measure how far samples are from being misclassified.

    Args:
        context: Data, engine and seed.
        target: The model under attack.
        attack: A minimum-norm attack, such as C&W L2 with 9 searches of 1000 iterations.
        bounds: Distances at which surviving samples are counted.
        norm: In which distances are measured.

    Returns:
        The record. A success rate well under 100 % says that the attack failed, not
        that the model is robust: with no bound every model can be misled.

    Raises:
        UsageError: If the attack does not look for the nearest image.
        AttackError: If a proposal breaks the rules.

    Example:
        `measure_minimum_norm(context, target, CWL2(), bounds=(1.5, 2.0)).median`
    """
    nearest = distances(context, target, attack, unbounded(norm, context.data.x.shape[1:]))
    away = nearest.away
    median = float(away.median())
    return MinimumNorm(
        subject=target.subject,
        attack=attack.label(),
        config=attack.config(),
        norm=norm,
        n=context.n,
        found=count(away.isfinite()),
        median=median if median < torch.inf else None,
        within={f"{bound:g}": count(away > bound) for bound in bounds},
        cost=nearest.attacked.measurement.cost,
        seed=context.seed,
        weights=target.weights,
        data_hash=context.data.content_hash,
    )
