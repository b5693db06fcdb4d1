"""The base of decision-based attacks, which see labels only."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tempering.attacks.base import Attack, Problem
from tempering.attacks.query_oracle import QueryOracle, check_queries
from tempering.attacks.start_images import StartImages
from tempering.attacks.start_points import TRIES, check_tries, find_start
from tempering.core.probe import Probe


@dataclass(frozen=True)
class DecisionAttack(Attack):
    """The base of attacks that move along the decision boundary.

    They search for the nearest adversarial image; if it is farther than eps, the image
    itself is proposed. They start from an image of `starts` or from noise that is
    adversarial. For a targeted goal such noise is rare: give `starts`, as the papers do.
    A sample without an initial point is given up, which says nothing about the model;
    these samples are counted (`SampleCounts.no_start`).

    Attributes:
        queries: Forward passes per sample at most.
        until_fooled: Whether a sample leaves as soon as it is fooled within eps; False
            to use all queries for the smallest distance.
        tries: Images of `starts`, and noise images, that are tried as initial points.
        starts: Labelled images of the attacker; in an attack specification the address
            of a dataset such as `mnist`, whose training images are used.
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
        """The nearest adversarial image within eps; the image itself if there is none."""
        oracle = QueryOracle(probe, problem, self.queries)
        all_rows = torch.arange(len(problem.x), device=problem.x.device)
        fooled = oracle.fooled(problem.x, all_rows)
        x_adv, rows = find_start(oracle, problem, all_rows[~fooled], self.tries, self.starts)
        self.minimize(oracle, problem, x_adv, rows)
        within = problem.threat.distance(x_adv, problem.x) <= problem.threat.eps
        return torch.where(within[:, None, None, None], x_adv, problem.x)

    @abstractmethod
    def minimize(self, oracle: QueryOracle, problem: Problem, x_adv: Tensor, rows: Tensor) -> None:
        """Reduce the distance of adversarial images, in place, while queries are left.

        Args:
            oracle: Answers queries.
            problem: Images, threat and streams.
            x_adv: Initial points, shape of the problem's x.
            rows: Samples that have an initial point, shape (m,), int64.
        """

    def unfinished(
        self, oracle: QueryOracle, problem: Problem, x_adv: Tensor, rows: Tensor
    ) -> Tensor:
        """Those of the rows that have queries left and still need them."""
        rows = oracle.affordable(rows)
        if not self.until_fooled:
            return rows
        return rows[problem.threat.distance(x_adv[rows], problem.x[rows]) > problem.threat.eps]

    def minimum_norm(self) -> bool:
        """True unless a sample leaves as soon as it is fooled."""
        return not self.until_fooled

    def config(self) -> dict[str, Any]:
        """Hyperparameters, with the address of `starts`."""
        own = None if self.starts is None else self.starts.address
        return {**Attack.config(replace(self, starts=None)), "starts": own}
