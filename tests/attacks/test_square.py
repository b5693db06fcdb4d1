"""Square: what it may ask, what it finds, and the projection that L1 needs."""

import pytest
import torch

from tempering.attacks import PGD, Square
from tempering.attacks.box import into_l1_and_box
from tempering.core.errors import UsageError
from tempering.core.passes import counted
from tempering.core.random import Draws
from tempering.core.tally import tallied
from tempering.core.threats import L1, L2, Linf, Threat
from tests.attacks.trained import known, standing, trained

LIMITS = [(Linf(0.15), 0.11), (L2(2.0), 0.49), (L1(15.0), 0.73)]
"""Threats, and the share of these digits that stands 300 queries of an independent
implementation (pyautoattack 0.2, mean of five seeds: 0.068, 0.444, 0.688), and two digits more."""


@pytest.mark.parametrize(("threat", "most"), LIMITS, ids=str)
def test_it_is_no_weaker_than_an_independent_implementation(threat: Threat, most: float) -> None:
    net, (x, y) = trained(), known()
    noise = threat.sample(x, Draws.of(9, len(x)))
    assert standing(net, noise, y) > 0.9
    x_adv = Square(queries=300)(net, x, y, threat)
    assert bool(threat.contains(x_adv, x).all())
    assert standing(net, x_adv, y) <= most


def test_it_never_asks_more_than_it_may_and_stops_where_it_fooled() -> None:
    net, (x, y) = trained(), known(12)
    with tallied() as counts:
        x_adv = Square(queries=25)(net, x, y, Linf(0.2))
    spent = torch.tensor([counts.forward[one] for one in range(len(x))])
    assert not counts.backward
    stands = net(x_adv).argmax(1) == y
    assert bool(stands.any())
    assert not bool(stands.all())
    assert bool((spent[stands] == 25).all())
    assert bool((spent[~stands] < 25).all())
    with counted() as passes:
        Square(queries=25, until_fooled=False)(net, x, y, Linf(0.2))
    assert passes.forward == 25 * len(x)


def test_one_query_changes_nothing() -> None:
    net, (x, y) = trained(), known(5)
    assert torch.equal(Square(queries=1)(net, x, y, Linf(0.3)), x)


def test_more_queries_go_on_from_where_fewer_ended_up() -> None:
    net, (x, y) = trained(), known(20)
    shares = [standing(net, Square(queries=n)(net, x, y, L2(1.5)), y) for n in (2, 50, 400)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_gradients_do_not_matter() -> None:
    """A model without any gradient is as easy for it, and PGD sees nothing there."""
    net, (x, y) = trained(), known(20)

    class Stepped(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return net((x * 64).round() / 64)

    threat = Linf(0.2)
    assert standing(Stepped(), PGD(steps=20)(Stepped(), x, y, threat), y) > 0.8
    assert standing(Stepped(), Square(queries=300)(Stepped(), x, y, threat), y) < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_the_projection_onto_ball_and_box_is_the_nearest_point(seed: int) -> None:
    draws = Draws.of(seed, 8)
    x = draws.uniform((1, 3, 4)).double()
    delta = draws.to("delta").normal((1, 3, 4)).double()
    found = into_l1_and_box(x, delta, 2.0)
    assert bool(((found - x).abs().sum((1, 2, 3)) <= 2.0 + 1e-12).all())
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    target = x + delta
    best = (found - target).square().sum((1, 2, 3))
    for time in range(200):  # no feasible point is nearer (variational inequality)
        other = L1(2.0).sample(x, draws.to("other", time))
        assert bool((((target - found) * (other - found)).sum((1, 2, 3)) <= 1e-9).all())
    cut = (x + L1(2.0).shrink(delta)).clamp(0, 1)
    assert bool((best <= (cut - target).square().sum((1, 2, 3)) + 1e-12).all())


def test_the_projection_leaves_what_fits_and_cuts_only_at_the_box() -> None:
    x = torch.tensor([0.5, 0.9, 0.1]).double().reshape(1, 1, 1, 3)
    small = torch.tensor([0.1, -0.1, 0.0]).double().reshape(1, 1, 1, 3)
    assert torch.allclose(into_l1_and_box(x, small, 1.0), x + small)
    wide = torch.tensor([0.1, 5.0, -5.0]).double().reshape(1, 1, 1, 3)
    expected = torch.tensor([0.6, 1.0, 0.0]).double().reshape(1, 1, 1, 3)
    assert torch.allclose(into_l1_and_box(x, wide, 1.0), expected)


@pytest.mark.parametrize("settings", [{"queries": 0}, {"queries": 2.5}, {"share": 0}, {"share": 2}])
def test_settings_that_make_no_attack_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"square: .* give"):
        Square(**settings)  # type: ignore[arg-type]
