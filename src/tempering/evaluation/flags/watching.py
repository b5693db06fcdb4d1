"""Watching an attack: what the model said at every look, sample by sample.

Attacks stay as they are: they are given a probe that notes what passes through it. Looks
that they take at other models, such as surrogates, are not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.core.goals import Untargeted, log_odds, margin, reached
from tempering.core.probe import Probe, probing
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.proposals import check_proposal


@dataclass(frozen=True, eq=False)
class Trace:
    """One run of an attack.

    Attributes:
        attack: What ran.
        x_adv: What it returned, shape (n, c, h, w).
        broken: Samples that x_adv fools, judged again, shape (n,), bool.
        margin: Best wrong logit less the true one at each look, shape (n, looks), NaN
            where a sample was looked at fewer times.
        odds: Log odds of a wrong class, which attacks climb, likewise.
        looks: How often each sample was looked at, shape (n,), int64.
        passed: Samples that some look within box and ball fooled, shape (n,), bool.
        x_passed: The first such image of each sample, shape of x_adv; else its x_adv.
        end: Log odds of a wrong class on x_adv, shape (n,).
    """

    attack: Attack
    x_adv: Tensor
    broken: Tensor
    margin: Tensor
    odds: Tensor
    looks: Tensor
    passed: Tensor
    x_passed: Tensor
    end: Tensor

    def best(self) -> Tensor:
        """The highest log odds so far at each look, shape (n, looks); after the last it stays."""
        filled = self.odds.nan_to_num(nan=-torch.inf)
        return filled.cummax(1).values if filled.shape[1] else filled


class WatchingProbe(Probe):
    """A probe that notes every answer of the model.

    Attributes:
        rows: For each look the rows of the slice that were looked at.
    """

    def __init__(self, inner: Probe, part: Slice) -> None:
        super().__init__(inner.model)
        self.stateful = inner.stateful
        self.rows: list[Tensor] = []
        self._part = part
        self._values: list[Tensor] = []
        self._passed = torch.zeros(len(part), dtype=torch.bool, device=part.x.device)
        self._x_passed = part.x.clone()

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        logits = super()._forward(x, index)
        if index is not None:
            self._note(x.detach(), logits.detach(), index)
        return logits

    def _note(self, x: Tensor, logits: Tensor, index: Tensor) -> None:
        part = self._part
        rows = torch.searchsorted(part.keys, index)
        protected = Untargeted().protected(part.y[rows], logits.shape[1])
        inside = part.threat.contains(x.to(part.x.dtype), part.x[rows])
        new = reached(logits, protected) & inside & ~self._passed[rows]
        self._passed[rows[new]] = True
        self._x_passed[rows[new]] = x[new].to(part.x.dtype)
        self.rows.append(rows)
        precise = logits.double()
        values = torch.stack([margin(precise, protected), log_odds(precise, protected)], 1)
        self._values.append(values)

    def trace(self, attack: Attack, x_adv: Tensor) -> Trace:
        """Everything that was noted, and the judgement of what the attack returned."""
        part = self._part
        rows = torch.cat([part.keys[:0], *self.rows])
        looks = rows.bincount(minlength=len(part))
        most = int(looks.max()) if len(part) else 0
        table = torch.full((len(part), most, 2), torch.nan, dtype=torch.float64, device=rows.device)
        if len(rows):
            order = rows.argsort(stable=True)
            sorted_rows = rows[order]
            first = looks.cumsum(0) - looks
            column = torch.arange(len(rows), device=rows.device) - first[sorted_rows]
            table[sorted_rows, column] = torch.cat(self._values)[order]
        logits = part.logits(x_adv)
        passed = self._passed
        return Trace(
            attack=attack,
            x_adv=x_adv,
            broken=logits.argmax(1) != part.y,
            margin=table[..., 0],
            odds=table[..., 1],
            looks=looks,
            passed=passed,
            x_passed=torch.where(passed[:, None, None, None], self._x_passed, x_adv),
            end=log_odds(logits.double(), Untargeted().protected(part.y, logits.shape[1])),
        )


def watch(part: Slice, attack: Attack) -> Trace:
    """Run an attack on a slice, and keep what the model said at every look.

    Costs what the attack costs, and a forward pass a sample.

    Args:
        part: Samples that the model gets right.
        attack: What runs.

    Returns:
        Its trace.

    Raises:
        AttackError: If a proposal leaves ball or box.
        ThreatError: If the attack does not know the threat.
        ModelError: If the model does not answer with finite logits and gradients.

    Example:
        `watch(part, PGD(steps=20, until_fooled=False)).looks`
    """
    attack.require(part.threat)
    problem = Problem(part.x, part.y, part.threat, part.streams, Untargeted(), part.batch_size)
    with probing(part.model) as probe:
        watching = WatchingProbe(probe, part)
        x_adv = part.x.clone()
        if len(part) and part.threat.eps > 0:
            x_adv = attack.propose(watching, problem).detach()
    check_proposal(attack.label(), x_adv, part.x, part.threat, part.keys)
    return watching.trace(attack, x_adv)
