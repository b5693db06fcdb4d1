"""Several attacks as one: the worst case, the nearest success, or one after the other."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.nearest import Nearest
from tempering.core.errors import UsageError
from tempering.core.goals import margin, reached
from tempering.core.probe import Probe
from tempering.core.threats import Threat


@dataclass(frozen=True, init=False)
class CombinedAttack(Attack, ABC):
    """The base of attacks that combine others.

    Attributes:
        attacks: At least one.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0", "patch")
    cost: ClassVar[str] = "sum of its attacks"

    attacks: tuple[Attack, ...]

    def __init__(self, *given: Attack, attacks: tuple[Attack, ...] = ()) -> None:
        object.__setattr__(self, "attacks", (*given, *attacks))
        if not self.attacks:
            raise UsageError(f"{self.name} of no attack: give at least one")
        for attack in self.attacks:
            if not isinstance(attack, Attack):
                raise UsageError(f"{self.name} of {attack!r}: give attacks, such as PGD()")

    def require(self, threat: Threat) -> None:
        """Refuse a threat in which one of the attacks does not work.

        Raises:
            ThreatError: Naming the norms in which it does.
        """
        for attack in self.attacks:
            attack.require(threat)

    def effort(self) -> int:
        """Sum of the efforts of all attacks."""
        return sum(attack.effort() for attack in self.attacks)

    def batch_dependent(self) -> bool:
        """Whether one of the attacks is batch-dependent."""
        return any(attack.batch_dependent() for attack in self.attacks)

    def config(self) -> dict[str, Any]:
        """The configurations of all attacks, in order."""
        return {"name": self.name, "attacks": [attack.config() for attack in self.attacks]}

    def label(self) -> str:
        """Such as `cascade(fgsm,pgd-40)`."""
        return f"{self.name}({','.join(attack.label() for attack in self.attacks)})"

    def _part(self, problem: Problem, rows: Tensor, number: int) -> Problem:
        """The problem for one of the attacks; the first of each name draws as it would alone."""
        first = [attack.config()["name"] for attack in self.attacks].index(
            self.attacks[number].config()["name"]
        )
        streams = problem.streams[rows]
        if first != number:
            streams = streams.derive("attack", number)
        return replace(problem, x=problem.x[rows], y=problem.y[rows], streams=streams)


@dataclass(frozen=True, init=False)
class WorstOf(CombinedAttack):
    """Every attack on every sample; the image of the largest margin is kept.

    Example:
        >>> from tempering.attacks import FGSM, PGD
        >>> WorstOf(FGSM(), PGD(steps=5)).label()
        'worst-of(fgsm,pgd-5)'
    """

    name: ClassVar[str] = "worst-of"
    source: ClassVar[str] = "Tramèr and Boneh, 2019"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run all; keep the largest margin of each sample, a success before any failure."""
        rows = torch.arange(len(problem.x), device=problem.x.device)
        best = problem.x.clone()
        gap, fooled = _answers(probe, problem, best)
        for number, attack in enumerate(self.attacks):
            x_adv = attack.propose(probe, self._part(problem, rows, number))
            margins, success = _answers(probe, problem, x_adv)
            better = (success & ~fooled) | ((success == fooled) & (margins > gap))
            best[better], gap[better] = x_adv[better], margins[better]
            fooled |= success
        return best


@dataclass(frozen=True, init=False)
class NearestOf(CombinedAttack):
    """Every attack on every sample; the nearest success is kept, or the image itself.

    Minimum-norm attacks fail on different samples: FMN follows gradients where the
    linearized boundaries of FAB are wrong, and FAB proceeds where FMN is stuck.

    Example:
        >>> from tempering.attacks import FAB, FMN
        >>> NearestOf(FMN(steps=50), FAB(steps=50)).label()
        'nearest-of(fmn-50,fab-50)'
    """

    name: ClassVar[str] = "nearest-of"
    source: ClassVar[str] = "Tempering, as in Croce and Hein, 2020"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run all; keep the nearest success of each sample."""
        rows = torch.arange(len(problem.x), device=problem.x.device)
        nearest = Nearest.start(problem.x)
        for number, attack in enumerate(self.attacks):
            x_adv = attack.propose(probe, self._part(problem, rows, number))
            fooled = _answers(probe, problem, x_adv)[1]
            distance = problem.threat.distance(x_adv, problem.x)
            nearest.update(rows, x_adv, distance, fooled)
        return nearest.x_adv

    def minimum_norm(self) -> bool:
        """Whether all attacks are minimum-norm attacks."""
        return all(attack.minimum_norm() for attack in self.attacks)


@dataclass(frozen=True, init=False)
class Cascade(CombinedAttack):
    """Attacks one after the other, each on the samples that the earlier ones did not fool.

    Example:
        >>> from tempering.attacks import FGSM, PGD
        >>> Cascade(FGSM(), PGD(steps=5)).config()["attacks"][0]
        {'name': 'fgsm'}
    """

    name: ClassVar[str] = "cascade"
    source: ClassVar[str] = "Croce and Hein, 2020"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run in order on the robust samples; those never fooled keep the last proposal."""
        out = problem.x.clone()
        robust = torch.arange(len(out), device=out.device)
        for number, attack in enumerate(self.attacks):
            part = self._part(problem, robust, number)
            x_adv = attack.propose(probe, part)
            out[robust] = x_adv
            if number + 1 == len(self.attacks):
                break
            robust = robust[~_answers(probe, part, x_adv)[1]]
            if not len(robust):
                break
        return out


def _answers(probe: Probe, problem: Problem, x_adv: Tensor) -> tuple[Tensor, Tensor]:
    """Margins in the attacker's favour and success, both shape (n,)."""
    gaps, verdicts = [], []
    for rows in problem.batches():
        logits = probe.logits(x_adv[rows], problem.streams.index[rows])
        protected = problem.goal.protected(problem.y[rows], logits.shape[1])
        gaps.append(margin(logits, protected))
        verdicts.append(reached(logits, protected))
    return torch.cat(gaps), torch.cat(verdicts)
