"""Curves: exact on a linear model, falling, and cheap."""

from itertools import pairwise

import pytest
import torch

from tempering.attacks import FGSM, PGD
from tempering.core.errors import UsageError
from tempering.core.threats import L2, Linf
from tempering.evaluation import accuracy_curve, measure
from tempering.evaluation.config import CurveConfig
from tempering.evaluation.eps_curve import eps_grid
from tempering.evaluation.protocols import nearest
from tests.app.test_own_values import Masked
from tests.evaluation.toys import (
    THREAT,
    Net,
    Scripted,
    cloud,
    context,
    dataset,
    linear,
    signed_margin,
    target,
)
from tests.evaluation.toys import worst_margin as least

GRID = [0.0, 0.02, 0.05, 0.1, 0.3]


def test_a_curve_is_exact_on_a_linear_model() -> None:
    data, model = cloud(), linear()
    points = accuracy_curve(
        context(data), target(model, data), THREAT, GRID[::-1], attacks=[FGSM()]
    )
    assert [point.measurement.eps for point in points] == GRID
    for point in points:
        assert torch.equal(point.per_sample.robust, least(model, data, point.measurement.eps) > 0)
        assert (point.measurement.protocol, point.measurement.attack) == ("curve", "fgsm")
        assert point.measurement.n == 60
    assert points[0].measurement.robust.hits == 56


def _net() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return x, Net()(x).argmax(1)


def test_a_broken_sample_stays_broken_and_costs_nothing_more() -> None:
    data = dataset(*_net(), classes=4)
    attacks = [FGSM(), PGD(steps=5)]
    points = accuracy_curve(context(data), target(Net(), data), THREAT, GRID, attacks=attacks)
    for small, large in pairwise(points):
        assert not (large.per_sample.robust & ~small.per_sample.robust).any()
        assert not (large.per_sample.stable & ~small.per_sample.stable).any()
        attacked = small.measurement.robust.hits
        assert large.measurement.cost.backward <= attacked * (1 + 5)
    assert points[-1].measurement.robust.hits < points[1].measurement.robust.hits < 40
    assert {point.measurement.attack for point in points} == {"worst"}
    assert points[0].measurement.config == {"over": ["fgsm", "pgd-5"]}


def test_what_is_known_is_kept() -> None:
    data = cloud()
    here, judged = context(data), target(linear(), data)
    known = measure(here, judged, FGSM(), Linf(0.05)).per_sample
    points = accuracy_curve(here, judged, Linf(0.05), GRID, attacks=[Scripted()], known=known)
    assert [point.measurement.robust.hits for point in points] == [
        56,
        56,
        *[int(known.robust.sum())] * 3,
    ]


def test_other_norms_have_curves() -> None:
    data = cloud()
    points = accuracy_curve(
        context(data), target(linear(), data), L2(1.0), [0.1, 0.4], attacks=[PGD(steps=5)]
    )
    assert [point.measurement.threat for point in points] == ["l2:0.1", "l2:0.4"]
    assert points[1].measurement.robust.hits < points[0].measurement.robust.hits


MASK = torch.arange(9).reshape(1, 3, 3) < 5


@pytest.mark.parametrize("search", ["nearest", "fgsm"])
def test_the_curve_of_an_own_threat_is_that_of_what_it_allows(search: str) -> None:
    data, model, masked = cloud(), linear(), linear()
    masked[1].weight.data *= MASK.flatten()
    threat = Masked(0.3, MASK)
    points = accuracy_curve(
        context(data),
        target(model, data),
        threat,
        GRID,
        nearest=nearest(threat) if search == "nearest" else None,
        attacks=[FGSM()] if search == "fgsm" else [],
    )
    for point in points:
        eps = point.measurement.eps
        lost = signed_margin(masked, data) - least(masked, data, eps)
        assert torch.equal(point.per_sample.robust, signed_margin(model, data) - lost > 0)
    assert points[-1].measurement.robust.hits > int((least(model, data, 0.3) > 0).sum())


def test_only_built_in_balls_are_known_to_reach_grey() -> None:
    config, here = CurveConfig(shares=(1.0, 4.0)), context(cloud())
    assert eps_grid(here, Masked(0.3, MASK), config) == [0.3, 1.0]
    reached, *_ = (eps for eps in eps_grid(here, Linf(0.3), config) if 0.3 < eps < 1)
    assert reached == float((here.data.x - 0.5).abs().max())


def test_a_curve_of_nothing_is_refused() -> None:
    data = cloud()
    here, judged = context(data), target(linear(), data)
    with pytest.raises(UsageError, match="a curve of 0 attacks over 1 eps"):
        accuracy_curve(here, judged, THREAT, [0.1], attacks=[])
    with pytest.raises(UsageError, match="a curve of 1 attacks over 0 eps"):
        accuracy_curve(here, judged, THREAT, [], attacks=[FGSM()])
