"""How far an image must be changed: distances of a minimum-norm attack, recomputed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.records import Access, MinimumNorm
from tempering.core.threats import NORMS, Threat
from tempering.evaluation.measuring import measure
from tempering.evaluation.outcome import Outcome
from tempering.evaluation.recording import Trial, count
from tempering.evaluation.setting import Setting
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
    """How far each sample is from being misclassified, as found and judged here.

    Attributes:
        away: Distances, shape (n,), float64: 0 where a sample is misclassified without
            any attack, infinite where nothing was found.
        clean: The target without attack.
        attacked: The target under the attack without a bound.
    """

    away: Tensor
    clean: Trial
    attacked: Trial

    def outcome(self, eps: float) -> Outcome:
        """What the attack does when only changes up to eps are allowed."""
        kept = (self.away > eps).nonzero()[:, 0]
        return self.attacked.outcome.put(kept, self.clean.outcome.at(kept))


def distances(
    setting: Setting,
    target: Target,
    attack: Attack,
    norm: str = "l2",
    *,
    access: Access = "white",
    source: nn.Module | None = None,
) -> Distances:
    """Find the smallest change that misleads a model on each sample.

    Args:
        setting: Data, engine and seed.
        target: The model that judges; a flag is one wrong class more.
        attack: A minimum-norm attack, such as C&W L2.
        norm: In which distances are measured.
        access: What the attacker knows.
        source: The model that samples are made on; None for the target itself.

    Returns:
        Distances and what they were found with.

    Raises:
        UsageError: If the attack does not look for the nearest image.
        AttackError: If a proposal breaks the rules.
    """
    if not attack.seeks_nearest():
        raise UsageError(
            f"{attack.label()} stops at an image that fools, however far: give cw-l2, ddn, "
            "deepfool, fab or fmn, or until_fooled=false where the attack has it"
        )
    strict = target.without_flag()
    threat = unbounded(norm, setting.data.x.shape[1:])
    clean = measure(setting, strict, None, threat)
    attacked = measure(
        setting,
        strict,
        attack,
        threat,
        access=access,
        source=source,
        rows=clean.outcome.strict.nonzero()[:, 0],
    )
    found = attacked.outcome
    return Distances(found.distance.masked_fill(found.strict, torch.inf), clean, attacked)


def measure_minimum_norm(
    setting: Setting,
    target: Target,
    attack: Attack,
    bounds: Sequence[float],
    *,
    norm: str = "l2",
) -> MinimumNorm:
    """Measure how far samples are from being misclassified.

    Args:
        setting: Data, engine and seed.
        target: The model that judges.
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
        `measure_minimum_norm(setting, target, CWL2(), bounds=(1.5, 2.0)).median`
    """
    found = distances(setting, target, attack, norm)
    away = found.away
    median = float(away.median())
    return MinimumNorm(
        subject=target.subject,
        attack=attack.label(),
        config=attack.config(),
        norm=norm,
        n=setting.n,
        found=count(away.isfinite()),
        median=median if median < torch.inf else None,
        within={f"{bound:g}": count(away > bound) for bound in bounds},
        cost=found.attacked.measurement.cost,
        seed=setting.seed,
        weights=target.weights,
        data_hash=setting.data.content_hash,
    )
