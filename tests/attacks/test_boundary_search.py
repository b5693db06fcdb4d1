"""Binary search for the boundary: its precision, the step past it, and its queries."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks.base import Problem
from tempering.attacks.boundary_search import search_boundary, step_past_boundary
from tempering.attacks.query_oracle import QueryOracle
from tempering.core.goals import Untargeted
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf, Threat

PRECISION = 0.01
BORDERS = torch.tensor([0.1, 0.237, 0.5, 0.731])


class Bright(nn.Module):
    """Class 1 for images whose first pixel is above the second, which is where a border lies."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.flatten(1)[:, 0], x.flatten(1)[:, 1]
        return torch.stack([second, first], 1)


def asked(threat: Threat, queries: int) -> tuple[QueryOracle, Problem, Tensor]:
    """Black pixels beside their borders, and starts that are white there."""
    x = torch.stack([torch.zeros(4), BORDERS], 1)[:, None, None]
    labels = torch.zeros(4, dtype=torch.int64)
    problem = Problem(x, labels, threat, RandomStreams.of(0, 4), Untargeted(), 4)
    start = x.clone()
    start[..., 0] = 1.0
    return QueryOracle(Probe(Bright()), problem, queries), problem, start


@pytest.mark.parametrize("threat", [L2(1.0), Linf(1.0)], ids=str)
def test_it_ends_within_the_precision_of_the_boundary(threat: Threat) -> None:
    oracle, problem, start = asked(threat, 50)
    near = search_boundary(oracle, problem, start, torch.arange(4), PRECISION)
    beyond = threat.distance(near, problem.x) - BORDERS
    assert bool((beyond > 0).all())
    assert float(beyond.max()) <= PRECISION
    assert oracle.spent.tolist() == [7] * 4


@pytest.mark.parametrize("threat", [L2(1.0), Linf(1.0)], ids=str)
def test_clear_of_the_boundary_is_farther_by_the_precision_for_one_query(threat: Threat) -> None:
    oracle, problem, start = asked(threat, 8)
    rows = torch.arange(4)
    near = search_boundary(oracle, problem, start, rows, PRECISION)
    away = threat.distance(near, problem.x)
    cleared = threat.distance(step_past_boundary(oracle, problem, near, rows, PRECISION), problem.x)
    assert torch.allclose(cleared, away * (1 + PRECISION))
    assert oracle.spent.tolist() == [8] * 4
    assert torch.equal(step_past_boundary(oracle, problem, near, rows, PRECISION), near)
    tight = replace(problem, threat=type(threat)(float(away[1])))
    oracle = QueryOracle(Probe(Bright()), tight, 8)
    kept = threat.distance(step_past_boundary(oracle, tight, near, rows, PRECISION), problem.x)
    assert bool((kept[:1] > away[:1]).all())
    assert torch.equal(kept[1:], away[1:])


def test_queries_kept_back_are_not_spent_until_they_are_set_free() -> None:
    oracle, problem, start = asked(L2(1.0), 5)
    rows = torch.arange(4)
    oracle.reserve(2)
    search_boundary(oracle, problem, start, rows, PRECISION)
    assert oracle.spent.tolist() == [3] * 4
    assert not len(oracle.affordable(rows))
    oracle.reserve(0)
    assert oracle.remaining(rows).tolist() == [2] * 4
    oracle.reserve(9)
    assert oracle.remaining(rows).tolist() == [0] * 4
