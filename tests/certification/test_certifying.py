"""Certificates: closed forms, attacks that must not beat them, and what they are asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import APGDCE, FAB, PGD, Restarts
from tempering.attacks.base import Attack
from tempering.certification import METHODS, AlphaCrown, Branching, certify
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.core.errors import DataError, ModelError, ThreatError, UnknownNameError, UsageError
from tempering.core.goals import EvadeDetector, Targeted
from tempering.core.patches import Patch
from tempering.core.progress import reporting
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, TOLERANCE, Linf, Threat
from tests.attacks.linear import Linear, linear_case
from tests.certification.nets import answers, build, each_beside, images, points

THREATS = {"linf": Linf, "l2": L2, "l1": L1}
BOUNDS = METHODS[:4]
THOROUGH = ("relu", "max pool", "ours", "residual")


class MatrixProduct(nn.Module):
    """The linear model of the attacks' tests, with a layer that has bounds."""

    def __init__(self, model: Linear) -> None:
        super().__init__()
        weight = model.weights.detach().flatten()
        self.layer = nn.Linear(len(weight), 2).to(weight.dtype)
        self.layer.weight.data = torch.stack([torch.zeros_like(weight), weight])
        self.layer.bias.data = torch.stack([torch.zeros_like(model.bias), model.bias]).detach()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


@pytest.mark.parametrize("norm", THREATS)
@pytest.mark.parametrize("saturated", [0.0, 0.5])
def test_on_linear_networks_exactly_those_farther_than_eps_are_certified(
    norm: str, saturated: float
) -> None:
    case = linear_case(n=40, size=4, saturated=saturated)
    needed = case.needed(norm)
    finite = needed[needed.isfinite()]
    threat = THREATS[norm](float(finite.median()))
    certificates = certify(MatrixProduct(case.model), case.x, case.y, threat, methods=("interval",))
    # the tolerance of the threat counts as the attacker's
    slack = 40 * TOLERANCE * max(1.0, threat.eps)
    clear = (needed - threat.eps).abs() > slack
    assert int(clear.sum()) > 30
    expected = needed > threat.eps
    assert 5 < int(expected.sum()) < 35
    assert certificates.certified[clear].tolist() == expected[clear].tolist()


@pytest.mark.parametrize(("name", "threat"), each_beside([Linf(0.03), L2(0.15), L1(0.3)]), ids=str)
def test_no_attack_beats_a_certificate(name: str, threat: Threat) -> None:
    net, x = build(name), images(8)
    y = answers(net, x)
    alpha = AlphaCrown(steps=2, hidden_steps=2)
    certificates = certify(net, x, y, threat, methods=BOUNDS, alpha=alpha)
    kept = certificates.certified
    attacks: list[Attack] = [PGD(steps=6)]
    if name in THOROUGH:
        attacks += [FAB(steps=5), APGDCE(steps=10), Restarts(PGD(steps=10), 2)]
    for attack in attacks:
        x_adv = attack(net, x, y, threat)
        assert not bool(((answers(net, x_adv) != y) & kept).any()), attack
    for point in points(threat, x, 10):
        assert not bool(((answers(net, point) != y) & kept).any())
    assert certificates.unsupported is None
    assert (certificates.margin > 0).tolist() == kept.tolist()


def test_the_networks_of_the_property_test_have_samples_of_both_kinds() -> None:
    certified, broken = 0, 0
    for name in ("relu", "max pool", "residual", "tanh"):
        net, x = build(name), images(12)
        y = answers(net, x)
        certified += int(certify(net, x, y, Linf(0.03), methods=BOUNDS[:3]).certified.sum())
        broken += int((answers(net, APGDCE(steps=20)(net, x, y, Linf(0.03))) != y).sum())
    assert certified > 4
    assert broken > 4


@pytest.mark.parametrize("threat", [L2(0.05), L1(0.1)], ids=str)
def test_intervals_of_first_sums_know_the_ball(threat: Threat) -> None:
    net, x = build("relu", torch.float64), images(4).double() * 0.2 + 0.4
    graph = graph_of(net, x)
    region = Region.around(x, threat)
    first = propagate(graph, region).intervals[1]
    with torch.no_grad():
        weight = torch.autograd.functional.jacobian(net[0], x[:1]).reshape(-1, 72)
        length = weight.norm(dim=1) if isinstance(threat, L2) else weight.abs().amax(1)
        reach = (region.radius * length).reshape(first.low.shape[1:])
        assert torch.allclose(first.low, net[0](x) - reach, atol=1e-7)
        assert torch.allclose(first.high, net[0](x) + reach, atol=1e-7)


def cancelling(gap: float) -> nn.Sequential:
    """Two sums of the same large numbers, one larger by a gap below what float32 can tell."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, last = torch.rand(64, 64) * 100, torch.rand(64) * 100
    net[1].weight.data, net[1].bias.data = first, torch.zeros(64)
    net[3].weight.data = torch.stack([last, last.flip(0).flip(0)])
    net[3].weight.data[1, ::2] += 0.01
    net[3].weight.data[1, 1::2] -= 0.01
    net[3].bias.data.zero_()
    with torch.no_grad():
        exact = net.double()(torch.full((1, 1, 8, 8), 0.5).double())[0]
    net.float()
    net[3].bias.data[0] = float(exact[1] - exact[0] + gap)
    return net


def test_what_float32_cannot_tell_is_not_certified() -> None:
    x = torch.full((1, 1, 8, 8), 0.5)
    moved = torch.cat([x + 4e-6 * RandomStreams.of(k, 1).normal((1, 8, 8)) for k in range(400)])
    moved = moved.clamp(0.5 - TOLERANCE / 2, 0.5 + TOLERANCE / 2)
    claimed, wrong = 0, 0
    for gap in (1e-2, 1.0, 1e2, 1e3, 1e4, 1e5, 1e6):
        net = cancelling(gap)
        certificates = certify(net, x, torch.zeros(1, dtype=torch.int64), Linf(0.0), methods=BOUNDS)
        broken = bool((answers(net, moved) != 0).any())
        wrong += broken
        claimed += bool(certificates.certified[0])
        assert not (broken and bool(certificates.certified[0])), gap
    assert wrong > 0
    assert claimed > 0


def test_equal_logits_are_no_certificate() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(net[1].weight)
    nn.init.zeros_(net[1].bias)
    x, y = torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)
    for dtype in (torch.float32, torch.float64):
        certificates = certify(net.to(dtype), x.to(dtype), y, Linf(0.1))
        assert not bool(certificates.certified.any())
        assert bool((certificates.margin <= 0).all())


def test_verdicts_do_not_depend_on_the_batch() -> None:
    net, x = build("residual", torch.float64), images(20).double()
    y = answers(net, x)
    whole = certify(net, x, y, Linf(0.03), methods=BOUNDS)
    assert 0 < int(whole.certified.sum()) < 20
    for size in (1, 7):
        other = certify(net, x, y, Linf(0.03), methods=BOUNDS, batch_size=size)
        assert other.certified.tolist() == whole.certified.tolist()
        assert other.settled_by == whole.settled_by


def test_the_model_is_left_as_found() -> None:
    net = build("dropout")
    net.train()
    net[2].eval()
    net[0].weight.requires_grad_(False)
    net[6].weight.grad = torch.ones_like(net[6].weight)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    certify(net, images(4), torch.zeros(4, dtype=torch.int64), Linf(0.02))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net[0].weight.requires_grad
    assert torch.equal(net[6].weight.grad, torch.ones_like(net[6].weight))
    assert net[6].bias.grad is None


def test_clean_errors_are_refuted_by_the_image_itself() -> None:
    net, x = build("relu"), images(6)
    y = (answers(net, x) + 1) % 3
    certificates = certify(net, x, y, Linf(0.01))
    assert set(certificates.settled_by) == {"clean"}
    assert torch.equal(certificates.counterexamples[2], x[2])
    assert not bool(certificates.certified.any())
    assert bool((certificates.margin == -torch.inf).all())


def test_a_flag_that_wins_protects_too() -> None:
    x = torch.full((2, 1, 1, 2), 0.5)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    net[1].weight.data = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    net[1].bias.data = torch.tensor([0.1, 0.0, 0.0])
    y = torch.tensor([0, 1])
    assert not bool(certify(net, x, y, Linf(0.2)).certified.any())
    assert certify(net, x, y, Linf(0.2), goal=EvadeDetector(2)).certified.tolist() == [True, True]
    # every output but the target may win
    assert certify(net, x, y, Linf(0.2), goal=Targeted(0)).certified.tolist() == [True, True]
    assert not bool(certify(net, x, y, Linf(0.2), goal=Targeted(2)).certified.any())


class Weighted(L0):
    """A user's own."""


class Sticker(Patch):
    """A user's own."""


@pytest.mark.parametrize("threat", [Weighted(3), Sticker(0.1)], ids=str)
def test_other_threats_abstain_by_name(threat: Threat) -> None:
    net, x = build("linear"), images(3)
    certificates = certify(net, x, answers(net, x), threat)
    assert not bool(certificates.certified.any())
    assert str(threat) in str(certificates.unsupported)
    assert certificates.reasons[0] == certificates.unsupported


@pytest.mark.parametrize("place", ["weight", "bias"])
def test_weights_that_are_no_numbers_are_an_error(place: str) -> None:
    net = build("relu")
    getattr(net[2], place).data.flatten()[0] = float("nan")
    with pytest.raises(ModelError, match="finite"):
        certify(net, images(2), torch.zeros(2, dtype=torch.int64), Linf(0.1))


def test_wrong_calls_say_what_would_be_right() -> None:
    net, x, y = build("linear"), images(2), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(UnknownNameError, match="did you mean crown"):
        certify(net, x, y, Linf(0.1), methods=("crwn",))
    with pytest.raises(DataError, match="pixels in"):
        certify(net, x * 255, y, Linf(0.1))
    with pytest.raises(DataError, match="do not fit"):
        certify(net, x, y[:1], Linf(0.1))
    with pytest.raises(DataError, match="int64"):
        certify(net, x, y.float(), Linf(0.1))
    with pytest.raises(UsageError, match="more than 0"):
        certify(net, x, y, Linf(0.1), seconds=0)
    with pytest.raises(UsageError, match="at least 1 node"):
        Branching(nodes=0)
    with pytest.raises(UsageError, match="at least 1 step"):
        AlphaCrown(steps=0)


def test_no_images_are_no_error() -> None:
    certificates = certify(
        build("linear"), images(2)[:0], torch.zeros(0, dtype=torch.int64), L2(0.1)
    )
    assert certificates.certified.shape == (0,)
    assert certificates.settled_by == ()


def test_time_that_is_up_abstains() -> None:
    net, x = build("relu"), images(8)
    certificates = certify(net, x, answers(net, x), Linf(0.1), seconds=1e-9)
    assert not bool(certificates.certified.any())
    assert set(certificates.reasons) == {"time is up"}


def test_progress_counts_every_sample_once() -> None:
    seen: list[int] = []

    @contextmanager
    def bar(what: str, total: int) -> Iterator:
        assert (what, total) == ("certifying", 10)
        yield lambda done, _note: seen.append(done)

    net, x = build("relu"), images(10)
    with reporting(bar):
        certify(net, x, answers(net, x), Linf(0.05), methods=BOUNDS, batch_size=3)
    assert sum(seen) == 10
    assert len(seen) > 3


def test_a_model_or_threat_that_is_none_is_refused() -> None:
    net, x, y = build("relu"), images(2), torch.zeros(2, dtype=torch.int64)

    def wrong_model(z: Tensor) -> Tensor:
        return z.flatten(1)

    wrong: Any = wrong_model
    with pytest.raises(ModelError, match=r"a model of type function: give a torch\.nn\.Module"):
        certify(wrong, x, y, Linf(0.1))
    wrong = "linf:0.1"
    with pytest.raises(ThreatError, match="threat of type str: give one"):
        certify(net, x, y, wrong)
