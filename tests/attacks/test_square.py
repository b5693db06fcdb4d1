"""Square: what it may ask, what it finds, and the projection that L1 needs."""

import math

import pytest
import torch

from tempering.attacks import PGD, Square, square_moves, square_search
from tempering.core.errors import UsageError
from tempering.core.passes import counted, counted_per_sample
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, Linf, Threat
from tests.attacks.trained import accurate, digits, known, standing, trained

LIMITS = [(Linf(0.15), 0.11), (L2(2.0), 0.49), (L1(15.0), 0.73)]
"""Threats, and the share of these digits that stands 300 queries of an independent
implementation (pyautoattack 0.2, mean of five seeds: 0.068, 0.444, 0.688), and two digits more."""


@pytest.mark.parametrize(("threat", "most"), LIMITS, ids=str)
def test_it_is_no_weaker_than_an_independent_implementation(threat: Threat, most: float) -> None:
    net, (x, y) = trained(), known()
    noise = threat.sample(x, RandomStreams.of(9, len(x)))
    assert standing(net, noise, y) > 0.9
    x_adv = Square(queries=300)(net, x, y, threat)
    assert bool(threat.contains(x_adv, x).all())
    assert standing(net, x_adv, y) <= most


def test_in_l1_a_window_that_gets_more_than_it_may_breaks_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On digits that the network was trained on, none of which any number was read off."""
    net, (x, y) = trained(), digits()
    rows = accurate(net, x[:200], y[:200]).nonzero()[:, 0]
    x, y = x[rows], y[rows]
    overfilled = standing(net, Square(queries=200)(net, x, y, L1(12.0)), y)
    monkeypatch.setattr(
        square_search, "moves_for", lambda threat: square_moves.BumpMoves(threat, 1)
    )
    assert overfilled < standing(net, Square(queries=200)(net, x, y, L1(12.0)), y) - 0.1


def test_in_l1_the_budget_of_channels_adds_up_to_the_whole() -> None:
    moves = square_moves.BumpMoves(L1(4.0), 1, overfill=6.0)
    delta = torch.zeros(1, 3, 6, 6)
    delta[0, 0, 0, 0], delta[0, 1, 2, 2], delta[0, 2, 5, 5] = 1.0, -0.5, 0.5
    both = delta.clone()
    both[0, 2] = 0.0  # the third change lies outside of both windows
    shares = moves.available(delta, both).flatten() / moves.overfill
    assert torch.allclose(shares, torch.tensor([1.0, 0.5, 0.0]) + 2.0 / 3)


def test_every_scale_of_a_hill_has_the_same_share_of_the_budget() -> None:
    """Ring d has a budget near 1 / d, in squares for L2 and in sizes for L1."""
    for moves, power in (
        (square_moves.BumpMoves(L2(1.0), 2), 2),
        (square_moves.BumpMoves(L1(1.0), 1), 1),
    ):
        hill = moves.hill(401, 401, torch.zeros(1)).pow(power)
        row = (torch.arange(401) - 200).abs()
        ring = torch.maximum(row[:, None], row[None, :])
        octaves = [float(hill[(ring >= at) & (ring < 2 * at)].sum()) for at in (4, 8, 16)]
        assert max(octaves) < 1.2 * min(octaves)


def test_windows_shrink_eight_times_by_the_papers_schedule() -> None:
    attack, shape = Square(queries=10_000, share=0.5), torch.Size((1, 1, 512, 512))
    sides = [attack._side(step + 2, shape) for step in range(10_000)]
    changes = [step for step in range(1, 10_000) if sides[step] != sides[step - 1]]
    assert changes == [11, 51, 201, 1001, 2001, 4001, 6001, 8001]
    assert sides[0] == round(math.sqrt(0.5) * 512)
    assert sides[-1] == round(math.sqrt(0.5 / 2**8) * 512)
    tenth = Square(queries=1000, share=0.5)
    assert [tenth._side(step + 2, shape) for step in range(1000)] == sides[::10]


def test_it_never_asks_more_than_it_may_and_stops_where_it_fooled() -> None:
    net, (x, y) = trained(), known(12)
    with counted_per_sample() as counts:
        x_adv = Square(queries=25)(net, x, y, Linf(0.2))
    spent = torch.tensor([counts.forward[row] for row in range(len(x))])
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


@pytest.mark.parametrize("settings", [{"queries": 0}, {"queries": 2.5}, {"share": 0}, {"share": 2}])
def test_settings_that_make_no_attack_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"square: .* give"):
        Square(**settings)  # type: ignore[arg-type]
