"""Trace of an attack: the model's outputs at every query of every sample.

The attack is run unchanged, with a probe that records its queries. Queries to other models, such
as surrogates, are not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.core.goals import Untargeted, log_odds, margin, reached
from tempering.core.probe import Probe, probing
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.proposals import check_proposal


@dataclass(frozen=True, eq=False)
class AttackTrace:
    """One run of an attack.

    Attributes:
        attack: The attack.
        x_adv: The images that it returned, shape (n, c, h, w).
        broken: Samples misclassified on x_adv, shape (n,), bool.
        margin: Largest wrong logit less the true one at each query, shape (n, queries); NaN
            where a sample has fewer queries.
        odds: Log odds of a wrong class at each query (the loss of the attacks), likewise.
        queries: Number of queries of each sample, shape (n,), int64.
        visited: Samples with an adversarial image in box and ball among their queries, shape
            (n,), bool.
        x_visited: The first such image of each sample, else its x_adv; shape of x_adv.
        end: Log odds of a wrong class on x_adv, shape (n,).
    """

    attack: Attack
    x_adv: Tensor
    broken: Tensor
    margin: Tensor
    odds: Tensor
    queries: Tensor
    visited: Tensor
    x_visited: Tensor
    end: Tensor

    def best(self) -> Tensor:
        """Running maximum of the log odds, shape (n, queries); constant after the last query."""
        filled = self.odds.nan_to_num(nan=-torch.inf)
        return filled.cummax(1).values if filled.shape[1] else filled


class TracingProbe(Probe):
    """A probe that records every output of the model.

    Attributes:
        rows: The rows of each query.
    """

    def __init__(self, inner: Probe, part: ExaminedSamples) -> None:
        super().__init__(inner.model)
        self.stateful = inner.stateful
        self.rows: list[Tensor] = []
        self._part = part
        self._values: list[Tensor] = []
        self._visited = torch.zeros(len(part), dtype=torch.bool, device=part.x.device)
        self._x_visited = part.x.clone()

    def _forward(self, x: Tensor, index: Tensor | None) -> Tensor:
        logits = super()._forward(x, index)
        if index is not None:
            self._record(x.detach(), logits.detach(), index)
        return logits

    def _record(self, x: Tensor, logits: Tensor, index: Tensor) -> None:
        part = self._part
        rows = torch.searchsorted(part.keys, index)
        protected = Untargeted().protected(part.y[rows], logits.shape[1])
        inside = part.threat.contains(x.to(part.x.dtype), part.x[rows])
        new = reached(logits, protected) & inside & ~self._visited[rows]
        self._visited[rows[new]] = True
        self._x_visited[rows[new]] = x[new].to(part.x.dtype)
        self.rows.append(rows)
        precise = logits.double()
        values = torch.stack([margin(precise, protected), log_odds(precise, protected)], 1)
        self._values.append(values)

    def trace(self, attack: Attack, x_adv: Tensor) -> AttackTrace:
        """The recorded queries, and the outputs on the images that the attack returned."""
        part = self._part
        rows = torch.cat([part.keys[:0], *self.rows])
        queries = rows.bincount(minlength=len(part))
        most = int(queries.max()) if len(part) else 0
        table = torch.full((len(part), most, 2), torch.nan, dtype=torch.float64, device=rows.device)
        if len(rows):
            order = rows.argsort(stable=True)
            sorted_rows = rows[order]
            first = queries.cumsum(0) - queries
            column = torch.arange(len(rows), device=rows.device) - first[sorted_rows]
            table[sorted_rows, column] = torch.cat(self._values)[order]
        logits = part.logits(x_adv)
        visited = self._visited
        return AttackTrace(
            attack=attack,
            x_adv=x_adv,
            broken=logits.argmax(1) != part.y,
            margin=table[..., 0],
            odds=table[..., 1],
            queries=queries,
            visited=visited,
            x_visited=torch.where(visited[:, None, None, None], self._x_visited, x_adv),
            end=log_odds(logits.double(), Untargeted().protected(part.y, logits.shape[1])),
        )


def trace_attack(part: ExaminedSamples, attack: Attack) -> AttackTrace:
    """Run an attack and record the model's outputs at every query.

    Costs the passes of the attack, and 1 forward pass per sample.

    Args:
        part: Correctly classified samples.
        attack: The attack.

    Raises:
        AttackError: If an image leaves the ball or the box.
        ThreatError: If the attack does not support the threat.
        ModelError: If the model returns logits or gradients that are not finite.

    Example:
        `trace_attack(part, PGD(steps=20, until_fooled=False)).queries`
    """
    attack.require(part.threat)
    problem = Problem(part.x, part.y, part.threat, part.streams, Untargeted(), part.batch_size)
    with probing(part.model) as probe:
        tracing = TracingProbe(probe, part)
        x_adv = part.x.clone()
        if len(part) and part.threat.eps > 0:
            x_adv = attack.propose(tracing, problem).detach()
    check_proposal(attack.label(), x_adv, part.x, part.threat, part.keys)
    return tracing.trace(attack, x_adv)
