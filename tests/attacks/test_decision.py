"""Attacks on labels alone: near the optimum on linear models, within their queries."""

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import CWL2, Attack, Boundary, HopSkipJump
from tempering.core.errors import UsageError
from tempering.core.goals import Reach
from tempering.core.tally import tallied
from tempering.core.threats import L2, Linf
from tests.attacks.linear import linear_case
from tests.attacks.trained import known, standing, trained

QUERIES = 4000


@pytest.mark.parametrize(
    ("attack", "threat", "ratio"),
    [
        (HopSkipJump(queries=QUERIES, until_fooled=False), L2(8.0), 1.05),
        (HopSkipJump(queries=QUERIES, until_fooled=False), Linf(1.0), 1.2),
        (Boundary(queries=QUERIES, until_fooled=False), L2(8.0), 1.05),
    ],
    ids=str,
)
def test_distances_come_near_the_exact_ones(
    attack: Attack, threat: L2 | Linf, ratio: float
) -> None:
    case = linear_case(12, 6, saturated=0.0)
    needed = case.needed(threat.name)
    x_adv = attack(case.model, case.x, case.y, threat)
    assert bool(case.broken(x_adv).all())
    found = threat.distance(x_adv, case.x) / needed
    assert bool((found >= 1 - 1e-6).all())
    assert float(found.median()) < ratio


class Loud(nn.Module):
    """The same labels from other scores."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x.dtype) * 7


ATTACKS = [HopSkipJump(queries=300), Boundary(queries=300)]
each = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


@each
def test_labels_are_all_that_they_see(attack: Attack) -> None:
    net, (x, y) = trained(), known(8)
    assert torch.equal(attack(Loud(net), x, y, L2(3.0)), attack(net, x, y, L2(3.0)))


@each
def test_they_never_ask_more_than_they_may_and_stop_within_eps(attack: Attack) -> None:
    net, (x, y) = trained(), known(20)
    with tallied() as counts:
        x_adv = attack(net, x, y, L2(2.5))
    spent = torch.tensor([counts.forward[one] for one in range(len(x))])
    broken = net(x_adv).argmax(1) != y
    assert bool(broken.any())
    assert not bool(broken.all())
    assert bool((spent[~broken] == 300).all())
    assert int(spent.max()) == 300
    assert int(spent[broken].min()) < 200
    assert torch.equal(x_adv[~broken], x[~broken])


@each
def test_what_is_fooled_from_the_start_costs_one_query(attack: Attack) -> None:
    net, (x, y) = trained(), known(5)
    with tallied() as counts:
        assert torch.equal(attack(net, x, (y + 1) % 10, L2(1.0)), x)
    assert set(counts.forward.values()) == {1}


def test_hopskipjump_comes_nearer_than_an_independent_implementation() -> None:
    """Foolbox 3.3.4, from the same starts and with 4,746 queries: 1.92 times C&W's distance."""
    net, (x, y) = trained(), known(20)
    anywhere = L2(28.0)
    near = CWL2(searches=5, iterations=200)(net, x, y, anywhere)
    x_adv = HopSkipJump(queries=4746, until_fooled=False)(net, x, y, anywhere)
    assert standing(net, x_adv, y) == 0
    ratio = anywhere.distance(x_adv, x).median() / anywhere.distance(near, x).median()
    assert float(ratio) < 1.92


def test_hopskipjump_breaks_digits_in_linf() -> None:
    net, (x, y) = trained(), known(20)
    assert standing(net, HopSkipJump(queries=1000)(net, x, y, Linf(0.25)), y) < 0.3


def test_a_target_is_reached_where_a_start_was_found_and_else_the_image_is_left() -> None:
    net, (x, y) = trained(), known(20)
    keep = y != 8
    x, y = x[keep], y[keep]
    x_adv = HopSkipJump(queries=1500)(net, x, y, L2(4.0), goal=Reach(8))
    hit = net(x_adv).argmax(1) == 8
    assert bool(hit.any())
    assert torch.equal(x_adv[~hit], x[~hit])


@pytest.mark.parametrize(
    "make",
    [
        lambda: HopSkipJump(queries=0),
        lambda: HopSkipJump(first_estimate=0),
        lambda: HopSkipJump(precision=0.1),
        lambda: Boundary(queries=-1),
        lambda: Boundary(sideways=0.0),
        lambda: Boundary(inwards=2.0),
    ],
)
def test_settings_that_make_no_attack_are_refused(make: type[Attack]) -> None:
    with pytest.raises(UsageError, match="give"):
        make()
