"""Curves: exact on a linear model, falling, and cheap."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import DDN, FAB, FABT, FGSM, FMN, PGD, Attack, Boundary, HopSkipJump
from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L2, Linf
from tempering.evaluation import EvaluationConfig, Evaluator, accuracy_curve, each, measure
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
    weights,
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


@dataclass(frozen=True)
class Both(Linf):
    """An L-inf ball in which the L2 norm is at most `factor` times eps too."""

    factor: float

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        if radius is None:
            radius = x.new_full((len(x),), self.eps)
        delta = super().project(x_adv, x, radius) - x
        return (x + L2(0).shrink(delta, self.factor * radius)).clamp(0.0, 1.0)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        near = L2(self.factor * self.eps).contains(x_adv, x)
        return super().contains(x_adv, x) & near

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return self.project(super().sample(x, streams), x)


@pytest.mark.parametrize("factor", [0.7, 1.5, 2.5])
def test_images_outside_an_own_threat_do_not_count(factor: float) -> None:
    data, model = cloud(), linear()
    threat = Both(0.1, factor)
    points = accuracy_curve(
        context(data), target(model, data), threat, GRID, nearest=nearest(threat)
    )
    w, _ = weights(model)
    for point in points:
        # no image of the ball crosses the boundary if none of the L2 ball does
        within_l2 = signed_margin(model, data) - factor * point.measurement.eps * w.norm()
        assert bool(point.per_sample.robust[within_l2 > 1e-4].all())
    assert points[-1].measurement.robust.hits < 56


class Dark(Linf):
    """Pixels may become darker only."""

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        return super().project(x_adv.minimum(x), x, radius)

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        return super().shrink(delta.clamp_max(0.0), radius)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        brighter = (x_adv > x).flatten(1).any(1)
        return super().distance(x_adv, x).masked_fill(brighter, torch.inf)

    def ascent(self, gradient: Tensor) -> Tensor:
        return super().ascent(gradient.clamp_max(0.0))

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return self.project(super().sample(x, streams), x)


class Weighed(Linf):
    """Each pixel has a radius of its own, and some have none."""

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        if radius is None:
            radius = x.new_full((len(x),), self.eps)
        limit = radius[:, None, None, None] * MASK
        return (x + (x_adv - x).minimum(limit).maximum(-limit)).clamp(0.0, 1.0)


@pytest.mark.parametrize("kind", [Dark, Weighed])
@pytest.mark.parametrize("attack", [FAB(steps=20), FMN(steps=20), FABT(steps=20)], ids=str)
def test_infinite_distances_and_radii_lead_to_no_point_that_is_not_finite(
    kind: type[Linf], attack: Attack
) -> None:
    x, y = _net()
    threat = kind(1.0)
    x_adv = attack(Net(), x, y, threat)
    assert bool(threat.contains(x_adv, x).all())
    assert bool((Net()(x_adv).argmax(1) != y).any())


@dataclass(frozen=True)
class Measured(Linf):
    """It measures distances in a precision of its own, whatever that of the images is."""

    dtype: torch.dtype | None

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return super().distance(x_adv, x).to(self.dtype or x.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_of_another_precision_change_nothing(dtype: torch.dtype) -> None:
    data, model = dataset(*_net(), classes=4), Net()
    curves = [
        accuracy_curve(
            context(data),
            target(model, data),
            threat,
            GRID,
            nearest=nearest(threat),
            attacks=[PGD(steps=5)],
        )
        for threat in (Measured(0.1, dtype), Measured(0.1, None))
    ]
    own, plain = ([point.measurement.robust.hits for point in curve] for curve in curves)
    assert own == plain
    assert own[0] > own[-1]


@pytest.mark.parametrize(
    "attack", [DDN(steps=5), HopSkipJump(queries=500), Boundary(queries=500)], ids=str
)
def test_attacks_take_distances_of_another_precision(attack: Attack) -> None:
    class Double(L2):
        def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
            return super().distance(x_adv, x).double()

    x, y = _net()
    x_adv = attack(Net(), x, y, Double(0.3))
    assert x_adv.dtype == x.dtype
    assert bool((Net()(x_adv).argmax(1) != y).any())


class Unguarded(Linf):
    """Its projection divides by the largest change, which may be 0."""

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        away = self.distance(x_adv, x)
        length = away.clamp_max(self.eps) if radius is None else away.minimum(radius)
        return (x + (x_adv - x) * (length / away)[:, None, None, None]).clamp(0.0, 1.0)


def test_fab_stays_at_the_last_finite_point() -> None:
    x, y = _net()
    x[:20] = 0.0
    threat = Unguarded(0.5)
    x_adv = FAB(steps=20)(Net(), x, y, threat)
    assert bool(threat.contains(x_adv, x).all())
    assert bool((Net()(x_adv).argmax(1) != y).any())


def test_fmn_stays_at_the_last_finite_point() -> None:
    class Flat(nn.Module):
        """Without a gradient the estimated distance, and so the radius, overflows."""

        def forward(self, x: Tensor) -> Tensor:
            return 1e4 * net(x.detach()) + 0 * x.flatten(1)[:, :4]

    net, (x, y) = Net(), _net()
    x_adv = FMN(steps=5)(Flat(), x, y, Weighed(1.0))
    assert torch.equal(x_adv, x)


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


@pytest.mark.parametrize(("shares", "most"), [((0.0, 0.5, 1.0), 2.0), ((0.0, 1.0, 4.0), 4.0)])
def test_the_record_of_a_curve_ends_at_twice_the_eps_unless_more_is_asked_for(
    shares: tuple[float, ...], most: float
) -> None:
    data, threat = cloud(12), Linf(0.05)
    model = linear()
    config = EvaluationConfig(threat, each([FGSM()]), curve=CurveConfig(shares=shares), examined=0)
    result = Evaluator(context(data), config).evaluate(target(model, data))
    drawn = [point.eps for point in result.curve]
    assert drawn == [share * 0.05 for share in shares]
    assert max(proof.eps for proof in result.certified_curve) == max(drawn)
    assert max(drawn) <= most * threat.eps


def test_a_curve_in_l0_has_whole_numbers() -> None:
    grid = eps_grid(context(cloud(3)), L0(3), CurveConfig(up_to_grey=False))
    assert grid == [0.0, 1.0, 2.0, 3.0, 4.0]
