"""Several attacks as one: the worst or the nearest of all, or one after the other."""

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
class Several(Attack, ABC):
    """The base of attacks that are made of others.

    Attributes:
        attacks: At least one.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0", "patch")
    cost: ClassVar[str] = "that of its attacks"

    attacks: tuple[Attack, ...]

    def __init__(self, *given: Attack, attacks: tuple[Attack, ...] = ()) -> None:
        object.__setattr__(self, "attacks", (*given, *attacks))
        if not self.attacks:
            raise UsageError(f"{self.name} of no attack: give at least one")
        for one in self.attacks:
            if not isinstance(one, Attack):
                raise UsageError(f"{self.name} of {one!r}: give attacks, such as PGD()")

    def require(self, threat: Threat) -> None:
        """Refuse a threat that one of the attacks does not know.

        Raises:
            ThreatError: Naming the norms that it does know.
        """
        for one in self.attacks:
            one.require(threat)

    def effort(self) -> int:
        """That of all attacks together."""
        return sum(one.effort() for one in self.attacks)

    def batch_dependent(self) -> bool:
        """Whether one of the attacks does."""
        return any(one.batch_dependent() for one in self.attacks)

    def config(self) -> dict[str, Any]:
        """The configurations of all attacks, in order."""
        return {"name": self.name, "attacks": [one.config() for one in self.attacks]}

    def label(self) -> str:
        """Such as `cascade(fgsm,pgd-40)`."""
        return f"{self.name}({','.join(one.label() for one in self.attacks)})"

    def _part(self, problem: Problem, rows: Tensor, number: int) -> Problem:
        """What the attack of a number is given: an attack draws as it would alone."""
        first = [one.config()["name"] for one in self.attacks].index(
            self.attacks[number].config()["name"]
        )
        streams = problem.streams[rows]
        if first != number:
            streams = streams.derive("attack", number)
        return replace(problem, x=problem.x[rows], y=problem.y[rows], streams=streams)


@dataclass(frozen=True, init=False)
class WorstOf(Several):
    """Every attack on every sample; the image of the largest margin is kept.

    Example:
        >>> from tempering.attacks import FGSM, PGD
        >>> WorstOf(FGSM(), PGD(steps=5)).label()
        'worst-of(fgsm,pgd-5)'
    """

    name: ClassVar[str] = "worst-of"
    source: ClassVar[str] = "Tramèr and Boneh, 2019"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run all; for each sample the first that fools, and of equals the larger margin."""
        everyone = torch.arange(len(problem.x), device=problem.x.device)
        best = problem.x.clone()
        gap, fooled = _answers(probe, problem, best)
        for number, attack in enumerate(self.attacks):
            x_adv = attack.propose(probe, self._part(problem, everyone, number))
            here, won = _answers(probe, problem, x_adv)
            better = (won & ~fooled) | ((won == fooled) & (here > gap))
            best[better], gap[better] = x_adv[better], here[better]
            fooled |= won
        return best


@dataclass(frozen=True, init=False)
class NearestOf(Several):
    """Every attack on every sample; the nearest image that fools is kept, or the image itself.

    What misleads one search for the nearest image need not mislead another: FMN follows
    gradients where the linearised boundaries that FAB goes to are wrong, and FAB goes on
    where gradients lead FMN nowhere.

    Example:
        >>> from tempering.attacks import FAB, FMN
        >>> NearestOf(FMN(steps=50), FAB(steps=50)).label()
        'nearest-of(fmn-50,fab-50)'
    """

    name: ClassVar[str] = "nearest-of"
    source: ClassVar[str] = "Tempering, as in Croce and Hein, 2020"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run all; for each sample the success of the least distance."""
        everyone = torch.arange(len(problem.x), device=problem.x.device)
        nearest = Nearest.start(problem.x)
        for number, attack in enumerate(self.attacks):
            x_adv = attack.propose(probe, self._part(problem, everyone, number))
            fooled = _answers(probe, problem, x_adv)[1]
            away = problem.threat.distance(x_adv, problem.x).to(problem.x.dtype)
            nearest.update(everyone, x_adv, away, fooled)
        return nearest.x_adv

    def minimum_norm(self) -> bool:
        """It does if all its attacks do."""
        return all(one.minimum_norm() for one in self.attacks)


@dataclass(frozen=True, init=False)
class Cascade(Several):
    """Attacks one after the other, each on the samples that the ones before left standing.

    Example:
        >>> from tempering.attacks import FGSM, PGD
        >>> Cascade(FGSM(), PGD(steps=5)).config()["attacks"][0]
        {'name': 'fgsm'}
    """

    name: ClassVar[str] = "cascade"
    source: ClassVar[str] = "Croce and Hein, 2020"

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Run, keep what fooled, and hand on the rest; what never fooled is the last proposal."""
        out = problem.x.clone()
        standing = torch.arange(len(out), device=out.device)
        for number, attack in enumerate(self.attacks):
            part = self._part(problem, standing, number)
            x_adv = attack.propose(probe, part)
            out[standing] = x_adv
            if number + 1 == len(self.attacks):
                break
            standing = standing[~_answers(probe, part, x_adv)[1]]
            if not len(standing):
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
