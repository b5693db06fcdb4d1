"""Attacks on labels alone: near the optimum on linear models, within their queries."""

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import CWL2, Attack, Boundary, HopSkipJump, StartImages, parse_attack
from tempering.attacks.base import Problem
from tempering.core.errors import UsageError
from tempering.core.goals import Goal, TargetedLabels, Untargeted
from tempering.core.passes import counted_per_sample
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf
from tempering.data.dataset import Dataset
from tests.attacks.linear import linear_case
from tests.attacks.trained import digits, known, standing, trained

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
    excess = threat.distance(x_adv, case.x) / needed
    assert bool((excess >= 1 - 1e-6).all())
    assert float(excess.median()) < ratio


class Loud(nn.Module):
    """The same labels from other scores."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x.dtype) * 7


ATTACKS = [HopSkipJump(queries=300), Boundary(queries=300)]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


@every_attack
def test_labels_are_all_that_they_see(attack: Attack) -> None:
    net, (x, y) = trained(), known(8)
    assert torch.equal(attack(Loud(net), x, y, L2(3.0)), attack(net, x, y, L2(3.0)))


@every_attack
def test_they_never_ask_more_than_they_may_and_stop_within_eps(attack: Attack) -> None:
    net, (x, y) = trained(), known(20)
    with counted_per_sample() as counts:
        x_adv = attack(net, x, y, L2(2.5))
    spent = torch.tensor([counts.forward[row] for row in range(len(x))])
    broken = net(x_adv).argmax(1) != y
    assert bool(broken.any())
    assert not bool(broken.all())
    assert bool((spent[~broken] == 300).all())
    assert int(spent.max()) == 300
    assert int(spent[broken].min()) < 200
    assert torch.equal(x_adv[~broken], x[~broken])


@every_attack
def test_what_is_fooled_from_the_start_costs_one_query(attack: Attack) -> None:
    net, (x, y) = trained(), known(5)
    with counted_per_sample() as counts:
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


ANYWHERE = L2(28.0)


def stock() -> StartImages:
    """The attacker's own: training digits, which no test digit is among."""
    x, y = digits()
    return StartImages.of(Dataset.of(x[:100], y[:100]))


def started(attack: Attack, goal: Goal, threat: L2 = ANYWHERE) -> tuple[Tensor, Tensor]:
    """Which of 20 digits end as their target, and for which no start was found."""
    net, (x, y) = trained(), known(20)
    wanted = y if goal == Untargeted() else (y + 1) % 10
    with counted_per_sample() as counts:
        x_adv = attack(net, x, wanted, threat, goal=goal)
    hit = ~goal.protected(wanted, 10).gather(1, net(x_adv).argmax(1, keepdim=True))[:, 0]
    assert torch.equal(x_adv[~hit], x[~hit])
    assert max(counts.forward.values()) <= attack.effort()
    return hit, torch.tensor([counts.no_start[row] > 0 for row in range(20)])


@every_attack
def test_every_target_is_reached_from_images_that_the_attacker_brings_along(
    attack: Attack,
) -> None:
    hit, no_start = started(replace(attack, starts=stock()), TargetedLabels())
    assert bool(hit.all())
    assert not bool(no_start.any())


@every_attack
def test_a_target_that_is_not_reached_is_marked_where_no_start_was_found(attack: Attack) -> None:
    one_try = replace(attack, tries=1)
    hit, no_start = started(one_try, TargetedLabels())
    assert bool(no_start.any())
    assert torch.equal(no_start, ~hit)  # within any distance what was started ends as wanted
    hit, no_start = started(attack, TargetedLabels())
    assert float(hit.double().mean()) > 0.4
    assert torch.equal(no_start, ~hit)
    assert not bool(started(attack, Untargeted())[1].any())


@every_attack
def test_own_images_start_nearer_than_noise(attack: Attack) -> None:
    """What a few queries leave of the distance, untargeted."""
    net, (x, y) = trained(), known(20)
    attack = replace(attack, queries=60, until_fooled=False)
    noise, own = (
        variant(net, x, y, ANYWHERE) for variant in (attack, replace(attack, starts=stock()))
    )
    assert ANYWHERE.distance(own, x).median() < ANYWHERE.distance(noise, x).median()


@every_attack
def test_own_images_belong_to_the_attack_and_not_to_the_batch(attack: Attack) -> None:
    net, (x, y) = trained(), known(6)
    attack = replace(attack, queries=60, starts=stock())
    whole = attack(net, x, (y + 1) % 10, ANYWHERE, goal=TargetedLabels())
    assert bool((whole != x).any())
    for rows in (torch.tensor([4]), torch.tensor([5, 1])):
        part = attack(
            net, x[rows], (y[rows] + 1) % 10, ANYWHERE, RandomStreams(0, rows), TargetedLabels()
        )
        assert torch.allclose(part, whole[rows], rtol=0, atol=1e-6)


def test_own_images_go_into_the_record_by_address_and_are_checked() -> None:
    own = stock()
    attack = HopSkipJump(queries=40, starts=own)
    config = json.loads(json.dumps(attack.config()))
    assert (config["queries"], config["starts"]) == (40, own.address)
    assert attack == HopSkipJump(queries=40, starts=stock())
    assert attack != HopSkipJump(queries=40)
    assert parse_attack("boundary:starts=mnist,tries=3") == Boundary(
        tries=3, starts=StartImages("mnist")
    )
    assert parse_attack("boundary:starts=none") == Boundary()
    x, y = known(2)
    wide = Dataset.of(torch.ones(1, 28, 27), torch.tensor([3]))
    with pytest.raises(UsageError, match=r"of shape \(1, 28, 27\) for images of \(1, 28, 28\)"):
        HopSkipJump(starts=StartImages.of(wide))(trained(), x, y, ANYWHERE)
    with pytest.raises(UsageError, match="starts data:0: give the dataset itself"):
        HopSkipJump(starts=StartImages("data:0"))(trained(), x, y, ANYWHERE)


def test_of_own_images_the_nearest_of_a_wanted_class_come_first() -> None:
    x = torch.full((2, 1, 1, 1), 0.5)
    own = StartImages.of(Dataset.of(torch.tensor([0.1, 0.9, 0.4, 0.6, 0.7])[:, None, None], LABELS))
    problem = Problem(x, torch.tensor([0, 2]), L2(1.0), RandomStreams.of(0, 2), TargetedLabels(), 1)
    everyone = torch.arange(2)
    assert own.nearest(problem, everyone, 3, 9).tolist() == [[3, 1, -1, -1, -1], [4, 0, -1, -1, -1]]
    problem = replace(problem, y=torch.tensor([0, 1]), goal=Untargeted())
    assert own.nearest(problem, everyone, 2, 2).tolist() == [[2, -1], [3, 1]]


LABELS = torch.tensor([2, 0, 1, 0, 2])


@pytest.mark.parametrize(
    "make",
    [
        lambda: HopSkipJump(queries=0),
        lambda: HopSkipJump(first_estimate=0),
        lambda: HopSkipJump(precision=0.1),
        lambda: Boundary(queries=-1),
        lambda: Boundary(sideways=0.0),
        lambda: Boundary(inwards=2.0),
        lambda: Boundary(tries=0),
        lambda: HopSkipJump(tries=1.5),  # type: ignore[arg-type]
    ],
)
def test_settings_that_make_no_attack_are_refused(make: type[Attack]) -> None:
    with pytest.raises(UsageError, match="give"):
        make()
