"""The box search finds what trying all images finds, and claims nothing else."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import PGD, Box, parse_attack
from tempering.core.errors import UsageError
from tempering.core.goals import Targeted
from tempering.core.passes import counted
from tempering.core.protocols import Transform
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.defenses import BitDepth, MedianFilter, Squeeze, Threshold

SHAPE = (1, 3, 4)
THREAT = Linf(0.3)


def net(stage: nn.Module | None, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3)]
        return nn.Sequential(*([] if stage is None else [stage]), *layers).eval()


def images(n: int = 60) -> Tensor:
    return RandomStreams.of(7, n).uniform(SHAPE).float()


def fooled(model: nn.Module, x_adv: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x_adv).argmax(1) != y


def reachable(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Samples with an adversarial image behind a threshold of 0.5, by trying all of them."""
    bits = torch.tensor(list(product((0.0, 1.0), repeat=12))).reshape(-1, *SHAPE)
    with torch.no_grad():
        wrong = model[1:](bits).argmax(1)
    low, high = ((x + way).clamp(0, 1) > 0.5 for way in (-THREAT.eps, THREAT.eps))
    inside = ((bits[:, None] >= low.float()) & (bits[:, None] <= high.float())).flatten(2).all(2)
    return (inside & (wrong[:, None] != y)).any(0)


def test_it_finds_what_trying_all_images_finds() -> None:
    exact, found, straight = 0, 0, 0
    for seed in range(4):
        model, x = net(Threshold(0.5), seed), images()
        y = model(x).argmax(1)
        possible = reachable(model, x, y)
        broken = fooled(model, Box()(model, x, y, THREAT), y)
        assert not bool((broken & ~possible).any())
        exact, found = exact + int(possible.sum()), found + int(broken.sum())
        straight += int(fooled(model, PGD(steps=40)(model, x, y, THREAT), y).sum())
    assert found >= 0.99 * exact
    assert found > straight


@pytest.mark.parametrize(
    "stage",
    [Threshold(0.4), BitDepth(2), Squeeze(0.3, 0.7), MedianFilter(3), None],
    ids=lambda stage: type(stage).__name__,
)
def test_images_lie_in_the_ball_whatever_comes_first(stage: Transform | None) -> None:
    model, x = net(stage, 1), images()
    y = model(x).argmax(1)
    with counted() as passes:
        x_adv = Box(steps=5, flips=3, starts=2)(model, x, y, THREAT)
    assert bool(THREAT.contains(x_adv, x).all())
    assert float(fooled(model, x_adv, y).float().mean()) > 0.1
    assert passes.backward <= 2 * (5 + 3) * len(x)
    assert passes.forward <= (1 + 2 * (2 * 5 + 3 + 1)) * len(x)
    assert not model[0]._forward_hooks


class Beside(nn.Module):
    """A weak network behind a threshold, and a strong one that sees the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.behind, self.beside = Threshold(0.5), net(None, 0), net(None, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 0.1 * self.behind(self.stage(x)) + self.beside(x)
        return logits


def test_binary_images_are_attacked_where_a_part_sees_them_beside_the_stage() -> None:
    model, x = Beside().eval(), images().round()
    y = model(x).argmax(1)
    x_adv = Box(steps=5, flips=0, starts=1)(model, x, y, THREAT)
    assert float(fooled(model, x_adv, y).float().mean()) > 0.3


def test_what_is_found_does_not_depend_on_the_first_image() -> None:
    model, x = Beside().eval(), images(8)
    x[0] = x[0].round()
    y, attack = model(x).argmax(1), Box(steps=5, flips=3, starts=1)
    index = torch.arange(8)
    forth = attack(model, x, y, THREAT, random=RandomStreams(0, index))
    back = attack(model, x.flip(0), y.flip(0), THREAT, random=RandomStreams(0, index.flip(0)))
    assert torch.equal(forth, back.flip(0))


def test_pixels_that_need_not_change_keep_their_value() -> None:
    model, x = net(Threshold(0.5), 0), images()
    y = model(x).argmax(1)
    x_adv = Box()(model, x, y, THREAT)
    same = (x_adv > 0.5) == (x > 0.5)
    assert torch.equal(x_adv[same], x[same])
    assert not bool(same.all())


def test_a_target_is_reached() -> None:
    model, x = net(Threshold(0.5), 0), images()
    y = model(x).argmax(1)
    rows = (y != 2).nonzero()[:, 0]
    x_adv = Box()(model, x[rows], y[rows], Linf(0.4), goal=Targeted(2))
    with torch.no_grad():
        assert float((model(x_adv).argmax(1) == 2).float().mean()) > 0.4


def test_its_text_and_what_it_refuses() -> None:
    assert parse_attack("box:flips=0,starts=2") == Box(flips=0, starts=2)
    with pytest.raises(UsageError, match="flips = -1: give a whole number of at least 0"):
        Box(flips=-1)


def test_a_form_for_training_takes_the_end_of_its_ascent() -> None:
    model, x = net(Threshold(0.5), 1), images()
    y = model(x).argmax(1)
    with counted() as passes:
        x_adv = Box(steps=3, flips=0, starts=1, until_fooled=False)(model, x, y, THREAT)
    assert (passes.forward, passes.backward) == (3 * len(x), 3 * len(x))
    z, low, high = (model[0]((x + way).clamp(0, 1)) for way in (0.0, -THREAT.eps, THREAT.eps))
    z = low + (high - low) / 2
    for _ in range(3):
        z.requires_grad_()
        loss = nn.functional.cross_entropy(model[1:](z), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, z)
        z = (z.detach() + 2.5 / 3 / 2 * (high - low) * gradient.sign()).clamp(low, high)
    assert torch.equal(model[0](x_adv), torch.where(z > 0.5, high, low))
    assert bool(THREAT.contains(x_adv, x).all())
