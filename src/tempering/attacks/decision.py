"""What attacks have in common that see labels alone: a start, a walk, and queries that end it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle, check_queries
from tempering.attacks.base import Attack, Problem
from tempering.attacks.starting import TRIES, check_tries, find_start
from tempering.attacks.stock import StartImages
from tempering.core.probe import Probe


@dataclass(frozen=True)
class DecisionAttack(Attack):
    """The base of attacks that walk along the decision boundary.

    They look for the nearest image that fools; where that is farther than eps, the image
    itself is proposed. They start from an image of `starts` or from noise that fools.
    Towards a given class such noise is rare: give `starts`, as the papers do. Where
    nothing fools, the sample is given up, which says nothing about the model; the tally
    notes such samples (`no_start`).

    Attributes:
        queries: Forward passes a sample at most.
        until_fooled: Whether a sample leaves as soon as it is fooled within eps; False
            to find the smallest distance that the queries allow.
        tries: Images of `starts`, and of noise, that are tried for a start.
        starts: Images that the attacker brings along, by class: as an attack is written,
            the address of data such as `mnist`, whose training images serve.
    """

    access: ClassVar[str] = "labels"

    queries: int = 10_000
    until_fooled: bool = True
    tries: int = TRIES
    starts: StartImages | None = None

    def __post_init__(self) -> None:
        check_queries(self.name, self.queries)
        check_tries(self.name, self.tries)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The nearest fooling image within eps; the image itself where none was found."""
        oracle = Oracle(probe, problem, self.queries)
        everyone = torch.arange(len(problem.x), device=problem.x.device)
        fooled = oracle.fooled(problem.x, everyone)
        x_adv, rows = find_start(oracle, problem, everyone[~fooled], self.tries, self.starts)
        self.walk(oracle, problem, x_adv, rows)
        within = problem.threat.distance(x_adv, problem.x) <= problem.threat.eps
        return torch.where(within[:, None, None, None], x_adv, problem.x)

    @abstractmethod
    def walk(self, oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> None:
        """Bring starts nearer, in place, as long as there are queries.

        Args:
            oracle: Answers, and counts.
            problem: Images, threat and streams.
            x_adv: Starts, shape of the problem's x.
            rows: Samples that have one, shape (m,), int64.
        """

    def going(self, oracle: Oracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> Tensor:
        """Those of the rows that have queries left and a reason to spend them."""
        rows = oracle.may(rows)
        if not self.until_fooled:
            return rows
        return rows[problem.threat.distance(x_adv[rows], problem.x[rows]) > problem.threat.eps]

    def minimum_norm(self) -> bool:
        """It does, unless it leaves a sample that is fooled within the threat."""
        return not self.until_fooled

    def config(self) -> dict[str, Any]:
        """Hyperparameters, and where its own images come from."""
        own = None if self.starts is None else self.starts.address
        return {**Attack.config(replace(self, starts=None)), "starts": own}

    def label(self) -> str:
        """The name with its queries, such as `hopskipjump-10000`."""
        return f"{self.name}-{self.queries}"
