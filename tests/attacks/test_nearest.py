"""Attacks that look for the smallest perturbation, on a network that is not linear."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import (
    CWL2,
    DDN,
    FAB,
    FABT,
    FMN,
    Attack,
    CWLinfNearest,
    DeepFool,
    SigmaZero,
    Transfer,
)
from tempering.attacks.momentum import MomentumProbe
from tempering.attacks.nearest import Nearest, NearestAttack
from tempering.core.errors import UsageError
from tempering.core.goals import EvadeDetector
from tempering.core.passes import Passes, counted
from tempering.core.probe import Loss
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L2, NORMS, Linf

N = 40
X = RandomStreams.of(0, N).uniform((1, 4, 4)).double()
WIDE = {"linf": 1.0, "l2": 4.0, "l1": 16.0, "l0": 16.0}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 5))
    nn.init.normal_(model[1].weight, std=1.0)
    return model.double().requires_grad_(False)


Distances = Callable[[Attack, str], Tensor]


@pytest.fixture(scope="module")
def distances(net: nn.Module) -> Distances:
    """Distance of each image that an attack finds, inf where it finds none; each run once."""

    @cache
    def run(attack: Attack, norm: str) -> Tensor:
        y = net(X).argmax(1)
        x_adv = attack(net, X, y, NORMS[norm](WIDE[norm]))
        away = NORMS[norm](1.0).distance(x_adv, X)
        return away.masked_fill(net(x_adv).argmax(1) == y, torch.inf)

    return run


ATTACKS = [DeepFool(), DDN(), FMN(), FAB(), FABT(until_fooled=False), CWL2(), CWLinfNearest()]


@pytest.mark.parametrize(
    ("attack", "norm"), [(attack, norm) for attack in ATTACKS for norm in attack.norms], ids=str
)
def test_different_ways_find_the_same_distance(
    distances: Distances, attack: Attack, norm: str
) -> None:
    """Each against the best of all others: none may be far off for many samples."""
    rest = [other for other in ATTACKS if other is not attack and norm in other.norms]
    best = torch.stack([distances(other, norm) for other in rest]).amin(0)
    share = distances(attack, norm) / best
    assert bool(share.isfinite().all())
    assert float(share.median()) < (1.1 if isinstance(attack, DeepFool) else 1.02)
    assert float(share.quantile(0.9)) < 1.3


def test_sigma_zero_changes_fewer_pixels_than_the_way_in_l1(
    net: nn.Module, distances: Distances
) -> None:
    ours = distances(SigmaZero(steps=300), "l0")
    y = net(X).argmax(1)
    l1 = L0(1.0).distance(FMN()(net, X, y, NORMS["l1"](16.0)), X)
    assert bool(ours.isfinite().all())
    assert float(ours.mean()) < float(l1.mean())
    assert bool((ours <= l1 + 1).all())


def test_one_pixel_is_found_where_one_is_enough(net: nn.Module, distances: Distances) -> None:
    """By trying all pixels, black and white."""
    y = net(X).argmax(1)
    enough = torch.zeros(N, dtype=torch.bool)
    for pixel in range(16):
        for colour in (0.0, 1.0):
            tried = X.flatten(1).clone()
            tried[:, pixel] = colour
            enough |= net(tried.reshape(X.shape)).argmax(1) != y
    assert 3 < int(enough.sum()) < N
    ours = distances(SigmaZero(steps=300), "l0")
    assert float((ours[enough] == 1).double().mean()) > 0.9
    assert float((ours[~enough] > 1).double().mean()) == 1.0


@pytest.mark.parametrize(
    ("attack", "per_sample"),
    [
        (DDN(steps=7), Passes(8, 7)),
        (FMN(steps=7), Passes(8, 7)),
        (FAB(steps=7, rivals=3, until_fooled=True), Passes(8, 21)),
        (FABT(steps=7, targets=3, top_targets=None), Passes(1 + 3 * 8, 21)),
        (FABT(steps=20, targets=3, top_targets=1), Passes(1 + 3 * 3 + 21, 3 * 2 + 20)),
    ],
    ids=str,
)
def test_costs_are_as_said(net: nn.Module, attack: Attack, per_sample: Passes) -> None:
    y = net(X).argmax(1)
    with counted() as passes:
        attack(net, X, y, L2(1e-9), batch_size=13)
    assert passes == Passes(N * per_sample.forward, N * per_sample.backward)


def test_deepfool_stops_where_it_is_fooled(net: nn.Module) -> None:
    y = (net(X).argmax(1) + 1) % 5
    with counted() as passes:
        x_adv = DeepFool()(net, X, y, Linf(0.1))
    assert torch.equal(x_adv, X)
    assert passes == Passes(N, 4 * N)


@pytest.mark.parametrize("norm", DeepFool.norms)
def test_steps_that_stop_short_end_nearer_from_saturated_images(
    net: nn.Module, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.where(X < 0.7, (X > 0.4).double(), X)
    y, threat = net(x).argmax(1), NORMS[norm](WIDE[norm])
    short = DeepFool()(net, x, y, threat)
    monkeypatch.setattr("tempering.attacks.deepfool._SHARE", 1.0)
    whole = DeepFool()(net, x, y, threat)
    fooled = (net(short).argmax(1) != y) & (net(whole).argmax(1) != y)
    assert int(fooled.sum()) > 0.9 * N
    share = threat.distance(short, x)[fooled] / threat.distance(whole, x)[fooled]
    assert float(share.mean()) < 0.97


@pytest.mark.parametrize("attack", [*ATTACKS, SigmaZero(50)], ids=str)
def test_a_flagging_output_is_no_success(net: nn.Module, attack: Attack) -> None:
    norm = attack.norms[0]
    y = net(X).argmax(1)
    x_adv = attack(net, X, y, NORMS[norm](WIDE[norm]), goal=EvadeDetector(flag=3))
    answers = net(x_adv).argmax(1)
    changed = (x_adv != X).flatten(1).any(1)
    assert int(changed.sum()) > N // 2
    assert not (answers[changed] == 3).any()
    assert not (answers[changed] == y[changed]).any()


def test_images_that_are_wrong_already_come_back_as_they_are(net: nn.Module) -> None:
    y = (net(X).argmax(1) + 1) % 5
    for attack in (*ATTACKS, SigmaZero(20)):
        assert isinstance(attack, NearestAttack)
        x_adv = attack(net, X, y, NORMS[attack.norms[0]](1.0))
        assert torch.equal(x_adv, X)


def test_an_image_that_is_wrong_already_costs_cw_one_look(net: nn.Module) -> None:
    y = (net(X).argmax(1) + 1) % 5
    for attack in (CWL2(), CWL2(abort_early=False), CWLinfNearest()):
        with counted() as passes:
            attack(net, X, y, NORMS[attack.norms[0]](1.0))
        assert passes == Passes(N, N)


def test_cw_pays_every_step_unless_it_may_end_early(net: nn.Module) -> None:
    y = net(X).argmax(1)
    with counted() as whole:
        far = CWL2(3, 60, abort_early=False)(net, X, y, L2(4.0), batch_size=13)
    with counted() as early:
        near = CWL2(9, 200)(net, X, y, L2(4.0), batch_size=13)
    assert whole == Passes(N * 180, N * 180)
    assert early.forward == early.backward < 0.5 * N * 1800
    assert float((L2(1.0).distance(near, X) / L2(1.0).distance(far, X)).median()) < 1


def test_a_search_after_a_failed_one_goes_on_from_where_that_ended(net: nn.Module) -> None:
    """With a const that holds nothing, and too few steps to get anywhere, there is no other way."""
    y, threat = net(X).argmax(1), L2(4.0)
    short = CWL2(1, 4, abort_early=False, initial_const=1.0)
    again = CWL2(2, 4, abort_early=False, initial_const=1.0)
    moved, further = (attack(net, X, y, threat) for attack in (short, again))
    changed, more = ((images != X).flatten(1).any(1) for images in (moved, further))
    assert bool(more[changed].all())
    away = L2(1.0).distance(further, X)[more & ~changed]
    assert len(away) > 3
    # Adam takes at most about its rate a pixel and step: four steps lead no further than this
    assert float(away.max()) > 4 * 0.01 * 16**0.5


class Bright(nn.Module):
    """A model whose gradient is one number, shared by all pixels in memory too."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1)
        return torch.stack([torch.zeros_like(total), total - 8], 1)


@pytest.mark.parametrize("attack", [*ATTACKS, SigmaZero(50)], ids=str)
def test_a_gradient_that_shares_its_memory_is_no_obstacle(attack: Attack) -> None:
    x, norm = X.float(), attack.norms[0]
    y = Bright()(x).argmax(1)
    x_adv = attack(Bright(), x, y, NORMS[norm](WIDE[norm]))
    assert float((Bright()(x_adv).argmax(1) != y).double().mean()) > 0.9


def test_cw_does_not_write_into_gradients_that_others_keep(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Copying(MomentumProbe):
        def gradient(
            self, x: Tensor, loss: Loss, index: Tensor | None = None
        ) -> tuple[Tensor, Tensor]:
            logits, gradient = super().gradient(x, loss, index)
            return logits, gradient.clone()

    attack, y = Transfer(CWL2(3, 100), net, momentum=0.9), net(X).argmax(1)
    given = attack(net, X, y, L2(4.0))
    monkeypatch.setattr("tempering.attacks.transfer.MomentumProbe", Copying)
    assert torch.equal(given, attack(net, X, y, L2(4.0)))


class Saturated(nn.Module):
    """Probabilities: their slope is nothing at the image and large at the border."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(120.0, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        side = (x.flatten(1).mean(1) - 0.5) * self.scale
        return torch.stack([-side, side], 1).softmax(1)


@pytest.mark.parametrize(
    "attack", [CWL2(9, 200), CWLinfNearest(), DDN(), FMN(), FAB(), DeepFool()], ids=str
)
def test_slopes_that_come_and_go_are_no_accident(attack: Attack) -> None:
    x = torch.tensor([0.45, 0.3, 0.2, 0.12, 0.1])[:, None, None, None].expand(5, 1, 4, 4)
    threat = NORMS[attack.norms[0]](WIDE[attack.norms[0]])
    x_adv = attack(Saturated(), x, torch.zeros(5).long(), threat)
    assert bool(x_adv.isfinite().all())
    assert int(Saturated()(x_adv)[0].argmax()) == 1


def test_the_nearest_image_of_cw_linf_lies_beyond_a_plain() -> None:
    """A margin that falls by next to nothing, and then by a cliff."""

    class Cliff(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            bright = x.flatten(1).mean(1)
            margin = 1 - 0.01 * bright - 40 * (bright - 0.8).relu()
            return torch.stack([margin, torch.zeros_like(margin)], 1)

    x = torch.full((2, 1, 4, 4), 0.05)
    x_adv = CWLinfNearest()(Cliff(), x, torch.zeros(2).long(), Linf(1.0))
    away = Linf(1.0).distance(x_adv, x)
    assert torch.allclose(away, torch.tensor(0.7748), rtol=0.05)


def test_cw_knows_models_in_half_precision_that_cannot_be_fooled() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(3.0, dtype=torch.float16))

        def forward(self, x: Tensor) -> Tensor:
            bright = x.flatten(1).mean(1) * self.slope
            return torch.stack([5 + bright, bright * 0.5], 1)

    x = torch.rand(3, 1, 4, 4)
    for attack in (CWL2(9, 30), CWLinfNearest(60)):
        threat = NORMS[attack.norms[0]](1.0)
        assert torch.equal(attack(Stubborn(), x, torch.zeros(3).long(), threat), x)


def test_a_first_const_beyond_the_last_is_refused() -> None:
    with pytest.raises(UsageError, match=r"initial_const = 1e\+20: give .* at most 1e\+10"):
        CWL2(initial_const=1e20)


def test_only_nearer_successes_are_kept() -> None:
    nearest = Nearest.start(torch.zeros(3, 1, 1, 1))
    rows, both = torch.tensor([2, 0]), torch.tensor([True, True])
    nearest.update(rows, torch.ones(2, 1, 1, 1), torch.tensor([2.0, 1.0]), both & (rows > 0))
    nearest.update(rows, torch.full((2, 1, 1, 1), 2.0), torch.tensor([3.0, 4.0]), both)
    assert nearest.distance.tolist() == [4.0, torch.inf, 2.0]
    assert nearest.x_adv.flatten().tolist() == [2.0, 0.0, 1.0]
