"""Attacks that look for the smallest perturbation, on a network that is not linear."""

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import CWL2, DDN, FAB, FABT, FMN, Attack, DeepFool, SigmaZero
from tempering.attacks.nearest import Nearest, NearestAttack
from tempering.core.goals import Evade
from tempering.core.passes import Passes, counted
from tempering.core.random import Draws
from tempering.core.threats import L0, L2, NORMS, Linf

N = 40
X = Draws.of(0, N).uniform((1, 4, 4)).double()
WIDE = {"linf": 1.0, "l2": 4.0, "l1": 16.0, "l0": 16.0}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 5))
    nn.init.normal_(model[1].weight, std=1.0)
    return model.double().requires_grad_(False)


def distances(net: nn.Module, attack: Attack, norm: str) -> Tensor:
    y = net(X).argmax(1)
    x_adv = attack(net, X, y, NORMS[norm](WIDE[norm]))
    away = NORMS[norm](1.0).distance(x_adv, X)
    return away.masked_fill(net(x_adv).argmax(1) == y, torch.inf)


ATTACKS = [DeepFool(), DDN(), FMN(), FAB(), FABT(until_fooled=False)]


@pytest.mark.parametrize(
    ("attack", "norm"), [(attack, norm) for attack in ATTACKS for norm in attack.norms], ids=str
)
def test_different_ways_find_the_same_distance(net: nn.Module, attack: Attack, norm: str) -> None:
    """Each against the best of all others: none may be far off for many samples."""
    rest = [other for other in ATTACKS if other is not attack and norm in other.norms]
    best = torch.stack([distances(net, other, norm) for other in rest]).amin(0)
    share = distances(net, attack, norm) / best
    assert bool(share.isfinite().all())
    assert float(share.median()) < (1.1 if isinstance(attack, DeepFool) else 1.02)


def test_sigma_zero_changes_fewer_pixels_than_the_way_in_l1(net: nn.Module) -> None:
    ours = distances(net, SigmaZero(steps=300), "l0")
    y = net(X).argmax(1)
    l1 = L0(1.0).distance(FMN()(net, X, y, NORMS["l1"](16.0)), X)
    assert bool(ours.isfinite().all())
    assert float(ours.mean()) < float(l1.mean())
    assert bool((ours <= l1 + 1).all())


def test_one_pixel_is_found_where_one_is_enough(net: nn.Module) -> None:
    """By trying all pixels, black and white."""
    y = net(X).argmax(1)
    enough = torch.zeros(N, dtype=torch.bool)
    for pixel in range(16):
        for colour in (0.0, 1.0):
            tried = X.flatten(1).clone()
            tried[:, pixel] = colour
            enough |= net(tried.reshape(X.shape)).argmax(1) != y
    assert 3 < int(enough.sum()) < N
    ours = distances(net, SigmaZero(steps=300), "l0")
    assert float((ours[enough] == 1).double().mean()) > 0.9
    assert float((ours[~enough] > 1).double().mean()) == 1.0


@pytest.mark.parametrize(
    ("attack", "each"),
    [
        (DDN(steps=7), Passes(8, 7)),
        (FMN(steps=7), Passes(8, 7)),
        (FAB(steps=7, rivals=3, until_fooled=True), Passes(8, 21)),
        (FABT(steps=7, targets=3, finalists=None), Passes(1 + 3 * 8, 21)),
        (FABT(steps=20, targets=3, finalists=1), Passes(1 + 3 * 3 + 21, 3 * 2 + 20)),
    ],
    ids=str,
)
def test_costs_are_as_said(net: nn.Module, attack: Attack, each: Passes) -> None:
    y = net(X).argmax(1)
    with counted() as passes:
        attack(net, X, y, L2(1e-9), batch_size=13)
    assert passes == Passes(N * each.forward, N * each.backward)


def test_deepfool_stops_where_it_is_fooled(net: nn.Module) -> None:
    y = (net(X).argmax(1) + 1) % 5
    with counted() as passes:
        x_adv = DeepFool()(net, X, y, Linf(0.1))
    assert torch.equal(x_adv, X)
    assert passes == Passes(N, 4 * N)


@pytest.mark.parametrize("attack", [*ATTACKS, CWL2(3, 50), SigmaZero(50)], ids=str)
def test_a_flagging_output_is_no_success(net: nn.Module, attack: Attack) -> None:
    norm = attack.norms[0]
    y = net(X).argmax(1)
    x_adv = attack(net, X, y, NORMS[norm](WIDE[norm]), goal=Evade(flag=3))
    answers = net(x_adv).argmax(1)
    changed = (x_adv != X).flatten(1).any(1)
    assert int(changed.sum()) > N // 2
    assert not (answers[changed] == 3).any()
    assert not (answers[changed] == y[changed]).any()


def test_images_that_are_wrong_already_come_back_as_they_are(net: nn.Module) -> None:
    y = (net(X).argmax(1) + 1) % 5
    for attack in (*ATTACKS, CWL2(2, 20), SigmaZero(20)):
        assert isinstance(attack, NearestAttack)
        x_adv = attack(net, X, y, NORMS[attack.norms[0]](1.0))
        assert torch.equal(x_adv, X)


def test_only_nearer_successes_are_kept() -> None:
    nearest = Nearest.start(torch.zeros(3, 1, 1, 1))
    rows, both = torch.tensor([2, 0]), torch.tensor([True, True])
    nearest.update(rows, torch.ones(2, 1, 1, 1), torch.tensor([2.0, 1.0]), both & (rows > 0))
    nearest.update(rows, torch.full((2, 1, 1, 1), 2.0), torch.tensor([3.0, 4.0]), both)
    assert nearest.distance.tolist() == [4.0, torch.inf, 2.0]
    assert nearest.x_adv.flatten().tolist() == [2.0, 0.0, 1.0]
