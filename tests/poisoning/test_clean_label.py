from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from tempering.core.threats import Linf
from tempering.data import Dataset
from tempering.defenses.features import features
from tempering.poisoning import FeatureCollision, GradientMatching, Perturbation


def test_copies_stay_within_the_eps_that_the_truth_tells(data: Dataset, network: nn.Module) -> None:
    poison = Perturbation(attacks=("fgsm", "pgd:steps=3"), grid=(0.05, 0.2))
    done = poison.poison(data, 0.5, model=network)
    eps = done.detail["eps"]
    assert {round(value, 3) for value in eps[done.poisoned].tolist()} == {0.05, 0.2}
    size = (done.data.x - data.x).abs().flatten(1).amax(1)
    assert bool((size <= eps + 0.51 / 255).all())
    single_step = done.poisoned & (done.detail["attack"] == 0)
    assert bool((size[single_step] > eps[single_step] - 0.51 / 255).all())
    counts = (2 * done.detail["attack"] + (eps > 0.1))[done.poisoned].bincount()
    assert counts.tolist() == [15, 15, 15, 15]


def test_copies_are_those_of_the_attack(data: Dataset, network: nn.Module) -> None:
    from tempering.attacks import FGSM

    done = Perturbation(attacks=("fgsm",), grid=(0.1,)).poison(data, 0.1, model=network)
    x = data.x[done.poisoned]
    x_adv = FGSM()(network, x, network(x).argmax(1), Linf(0.1))
    assert float((done.data.x[done.poisoned] - x_adv).abs().max()) <= 0.501 / 255


def test_features_collide_while_images_stay_nearer_to_their_own(
    data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    poison = FeatureCollision("owl", steps=60)
    done = poison.poison(data, 0.1, test=test_data, model=network)
    assert done.victims is not None
    assert set(data.y[done.poisoned].tolist()) == {2}
    assert 2 not in done.victims.y
    victim = done.victims.x
    with torch.no_grad():
        wanted, rows = features(network, victim), done.poisoned
        before = (features(network, data.x[rows]) - wanted).norm(dim=1)
        after = (features(network, done.data.x[rows]) - wanted).norm(dim=1)
    assert bool((after < 0.5 * before).all())
    own = (done.data.x - data.x)[rows].flatten(1).norm(dim=1)
    other = (done.data.x[rows] - victim).flatten(1).norm(dim=1)
    assert bool((own < other).all())


def test_several_victims_share_the_poisons(
    data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    poison = FeatureCollision(0, victims=3, steps=2)
    done = poison.poison(data, 0.1, test=test_data, model=network)
    assert done.detail["victim"][done.poisoned].bincount().tolist() == [4, 4, 4]


def test_matched_gradients_train_towards_the_target(
    data: Dataset, test_data: Dataset, network: nn.Module
) -> None:
    poison = GradientMatching("owl", eps=0.2, steps=40)
    done = poison.poison(data, 0.1, test=test_data, model=network)
    assert done.victims is not None
    size = (done.data.x - data.x).abs().flatten(1).amax(1)
    assert float(size.max()) <= 0.2 + 0.51 / 255
    victim = done.victims

    def loss_after_a_step(train: Dataset) -> float:
        net = copy.deepcopy(network)
        rows = done.poisoned
        loss = F.cross_entropy(net(train.x[rows]), train.y[rows])
        slopes = torch.autograd.grad(loss, list(net.parameters()))
        norm = sum(slope.square().sum() for slope in slopes) ** 0.5
        with torch.no_grad():
            for weight, slope in zip(net.parameters(), slopes, strict=True):
                weight -= 0.05 * slope / norm
        return float(F.cross_entropy(net(victim.x), torch.tensor([2])).detach())

    assert loss_after_a_step(done.data) < loss_after_a_step(data)
