"""In L2, L1, L0 and patches the box search finds what trying all sets of flips finds."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import PGD, Box
from tempering.core.goals import Targeted
from tempering.core.input_levels import InputLevels
from tempering.core.input_stages import InputStages
from tempering.core.passes import counted
from tempering.core.patches import Patch
from tempering.core.probe import probing
from tempering.core.protocols import Transform
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Threat
from tempering.defenses import BitDepth, Squeeze, Threshold

WIDE, SMALL = (1, 3, 4), (1, 2, 3)
THREATS = [L0(2), L2(0.5), L1(0.5), Patch(4 / 12)]


def net(stage: nn.Module, seed: int, shape: tuple[int, int, int] = WIDE) -> nn.Module:
    pixels = shape[0] * shape[1] * shape[2]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(pixels, 24), nn.ReLU(), nn.Linear(24, 3)]
        return nn.Sequential(stage, *layers).eval()


def images(n: int = 40, shape: tuple[int, int, int] = WIDE) -> Tensor:
    return RandomStreams.of(7, n).uniform(shape).float()


def fooled(model: nn.Module, x_adv: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x_adv).argmax(1) != y


def reachable(model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """Samples with an adversarial image, by trying all outputs of the first layer."""
    with probing(model) as probe:
        levels = InputLevels.of(InputStages.of(probe, x), x, 4)
    assert levels is not None
    near, here = levels.images(x).flatten(2), levels.outputs.flatten(1)
    choices = torch.tensor(list(product(range(len(here)), repeat=here.shape[1])))
    with torch.no_grad():
        wrong = model[1:](here.gather(0, choices).unflatten(1, x.shape[1:])).argmax(1)
    possible = torch.zeros(len(x), dtype=torch.bool)
    for row in range(len(x)):
        image = near[row].gather(0, choices).unflatten(1, x.shape[1:]).double()
        at = x[row : row + 1].double().expand_as(image)
        possible[row] = ((threat.distance(image, at) <= threat.eps) & (wrong != y[row])).any()
    return possible


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_behind_a_threshold_it_finds_what_trying_all_sets_finds(threat: Threat) -> None:
    exact, found, straight, gradients, budget = 0, 0, 0, 0, 0
    for seed in range(3):
        model, x = net(Threshold(0.5), seed), images()
        y = model(x).argmax(1)
        possible = reachable(model, x, y, threat)
        with counted() as passes:
            broken = fooled(model, Box()(model, x, y, threat), y)
        assert not bool((broken & ~possible).any())
        exact, found = exact + int(possible.sum()), found + int(broken.sum())
        gradients += passes.backward
        if PGD().knows(threat):
            with counted() as passes:
                straight += int(fooled(model, PGD(steps=60)(model, x, y, threat), y).sum())
            budget += passes.backward
    assert exact > 60
    assert found >= 0.95 * exact
    if PGD().knows(threat):
        assert gradients < budget
        assert straight < found


@pytest.mark.parametrize("threat", [L2(0.3), L1(0.5), L0(2), Patch(4 / 6)], ids=str)
@pytest.mark.parametrize("stage", [BitDepth(2), Threshold([[0.2, 0.7]])], ids=["bits", "levels"])
def test_behind_several_levels_too(stage: Transform, threat: Threat) -> None:
    exact, found = 0, 0
    for seed in range(6):
        model, x = net(stage, seed, SMALL), images(20, SMALL)
        y = model(x).argmax(1)
        possible = reachable(model, x, y, threat)
        broken = fooled(model, Box()(model, x, y, threat), y)
        assert not bool((broken & ~possible).any())
        exact, found = exact + int(possible.sum()), found + int(broken.sum())
    assert exact > 20
    assert found >= 0.93 * exact


@pytest.mark.parametrize("threat", [L0(2), L2(0.6), L1(0.8), Patch(4 / 12, at=(1, 1))], ids=str)
@pytest.mark.parametrize("stage", [Threshold(0.4), BitDepth(2), Squeeze(0.3, 0.7), nn.Identity()])
def test_images_lie_in_the_ball_and_passes_are_those_of_its_cost(
    stage: nn.Module, threat: Threat
) -> None:
    model, x = net(stage, 1), images()
    y = model(x).argmax(1)
    with counted() as passes:
        x_adv = Box(steps=5, flips=3, starts=2)(model, x, y, threat)
    assert x_adv.dtype == torch.float32
    assert bool((threat.distance(x_adv.double(), x.double()) <= threat.eps * (1 + 1e-6)).all())
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1
    assert bool(fooled(model, x_adv, y).any())
    assert passes.backward <= 2 * (5 + 3) * len(x)
    assert passes.forward <= (1 + 2 * (2 * 5 + 3 + 1)) * len(x)
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_neither_batch_nor_repetition_changes_an_image(threat: Threat) -> None:
    model, x = net(Threshold(0.5), 2), images(20)
    y = model(x).argmax(1)
    attack = Box(steps=4, flips=4, starts=2)
    whole = attack(model, x, y, threat)
    assert not torch.equal(whole, x)
    assert torch.equal(attack(model, x, y, threat, batch_size=7), whole)
    part = attack(model, x[5:9], y[5:9], threat, random=RandomStreams.of(0, len(x))[5:9])
    assert torch.equal(part, whole[5:9])


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_only_flips_change_pixels(threat: Threat) -> None:
    model, x = net(Threshold(0.5), 0), images()
    y = model(x).argmax(1)
    x_adv = Box()(model, x, y, threat)
    same = (x_adv > 0.5) == (x > 0.5)
    assert torch.equal(x_adv[same], x[same])
    assert not bool(same.all())


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_few_steps_without_flips_spend_the_budget_on_the_largest_margin(threat: Threat) -> None:
    model, x = net(Threshold(0.5), 0), images()
    y = model(x).argmax(1)
    short = Box(steps=3, flips=0, starts=1, until_fooled=False)
    with counted() as passes:
        x_adv = short(model, x, y, threat)
    assert passes.backward == 3 * len(x)
    assert passes.forward == 7 * len(x)
    first = fooled(model, Box(steps=3, flips=0, starts=1)(model, x, y, threat), y)
    broken = fooled(model, x_adv, y)
    assert torch.equal(broken, first)
    assert int(broken.sum()) > 0.7 * int(reachable(model, x, y, threat).sum())


def test_a_target_is_reached() -> None:
    model, x = net(Threshold(0.5), 0), images()
    y = model(x).argmax(1)
    rows = (y != 2).nonzero()[:, 0]
    x_adv = Box()(model, x[rows], y[rows], L2(0.8), goal=Targeted(2))
    with torch.no_grad():
        assert float((model(x_adv).argmax(1) == 2).float().mean()) > 0.4


@pytest.mark.parametrize("stage", [nn.Identity(), Squeeze(0.3, 0.7), BitDepth(5)])
@pytest.mark.parametrize("threat", [L2(0.5), L1(1.0)], ids=str)
def test_without_a_staircase_of_few_levels_it_is_pgd(stage: nn.Module, threat: Threat) -> None:
    model, x = net(stage, 0), images(6)
    y = model(x).argmax(1)
    expected = PGD(steps=4)(model, x, y, threat)
    assert not torch.equal(expected, x)
    assert torch.equal(Box(steps=4, starts=1)(model, x, y, threat), expected)
