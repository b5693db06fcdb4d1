"""CROWN-IBP, SABR and MTL-IBP against certificates, intervals and limits that are known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tempering.attacks import PGD
from tempering.certification import certify
from tempering.core.errors import ModelError, ThreatError, UsageError
from tempering.core.threats import L2, TOLERANCE, Linf
from tempering.data.loading import load
from tempering.defenses.squeeze import Squeeze
from tempering.training import MTLIBP, SABR, CrownIBP, Interval, Objective
from tempering.training.backward_bounds import crown_worst_logits
from tempering.training.interval_bounds import worst_logits
from tests.training.toys import batch_of, maker

SOON = {"ramp_start": 0.0, "ramp_end": 0.1}


def small(*front: nn.Module, slope: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(
            *front,
            nn.Conv2d(1, 4, 3, padding=1),
            nn.LeakyReLU(slope) if slope else nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 5),
        ).eval()


def images(n: int = 6) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_one_hidden_layer_has_the_margins_that_crown_certifies(slope: float) -> None:
    model, x, eps = small(slope=slope), images(), 0.1  # where intervals certify nothing
    y = model(x).argmax(1)
    worst = crown_worst_logits(model, x, y, eps + TOLERANCE).scatter(1, y[:, None], -torch.inf)
    proof = certify(model, x, y, Linf(eps), methods=("crown",))
    torch.testing.assert_close(-worst.amax(1).double(), proof.margin, atol=1e-3, rtol=0)


@torch.no_grad()
def test_backward_bounds_hold_and_are_tighter_than_intervals() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 5)
    )
    x, y, eps = images(), torch.tensor([0, 1, 2, 3, 4, 0]), 0.05
    backward, forward = crown_worst_logits(model, x, y, eps), worst_logits(model, x, y, eps)
    assert float(backward.mean()) < float(forward.mean())
    torch.testing.assert_close(backward.gather(1, y[:, None]), torch.zeros(6, 1))
    for seed in range(50):
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        logits = model((x + eps * noise.sign()).clamp(0, 1))
        gaps = logits - logits.gather(1, y[:, None])
        assert bool((gaps <= backward + 1e-4).all())


def test_the_gradient_in_the_weights_is_that_of_finite_differences() -> None:
    model, x = small().double(), images(2).double()
    y = torch.tensor([0, 1])
    weight = model[0].weight
    crown_worst_logits(model, x, y, 0.05).sum().backward()
    slope, step = float(weight.grad[1, 0, 0, 2]), 1e-6
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 0, 0, 2] += sign * step
            ends.append(float(crown_worst_logits(model, x, y, 0.05).sum()))
            weight[1, 0, 0, 2] -= sign * step
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_transforms_at_the_input_bound_the_box_that_goes_in() -> None:
    squeezed, x, y = small(Squeeze(0.3, 0.7)), images(), torch.tensor([0, 1, 2, 3, 4, 0])
    low, high = (squeezed[0]((x + sign * 0.05).clamp(0, 1)) for sign in (-1, 1))
    middle, bound = squeezed[1:], crown_worst_logits(squeezed, x, y, 0.05)
    with torch.no_grad():
        for end in (low, high, (low + high) / 2):
            logits = middle(end)
            assert bool((logits - logits.gather(1, y[:, None]) <= bound + 1e-4).all())


def test_crown_ibp_moves_from_backward_bounds_to_intervals() -> None:
    objective = CrownIBP(kappa=0.0, ramp_start=0.0, ramp_end=0.5)
    batches = maker(data=load("digits", "official", 0).train, outputs=10, flag=None)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    for step, grown in ((25, 0.5), (50, 1.0)):
        made = batch_of(batches, objective, step, net)
        forward = worst_logits(net, made.x, made.y, 0.2 * grown)
        backward = crown_worst_logits(net, made.x, made.y, 0.2 * grown)
        bounds = grown * forward + (1 - grown) * backward
        worst = F.cross_entropy(bounds, made.y, reduction="none")
        clean = F.cross_entropy(net(made.x), made.y, reduction="none")
        expected = (1 - grown) * clean + grown * worst
        torch.testing.assert_close(objective(net, made).per_sample, expected)


def test_sabr_at_its_ends_is_interval_training_and_adversarial_training() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 3))
    whole, none = SABR(share=1.0, steps=2, **SOON), SABR(share=0.0, steps=2, **SOON)
    made = batch_of(maker(flag=None), whole, 50, net)
    same = Interval(kappa=0.0, **SOON)(net, batch_of(maker(flag=None), Interval(), 50, net))
    torch.testing.assert_close(whole(net, made).per_sample, same.per_sample)
    made = batch_of(maker(flag=None), none, 50, net)
    attacked = F.cross_entropy(net(made.perturbed), made.y, reduction="none")
    torch.testing.assert_close(none(net, made).per_sample, attacked)
    assert float(made.threat.distance(made.perturbed, made.x).max()) > 0.19


def test_the_small_box_lies_in_the_threat() -> None:
    made = batch_of(maker(flag=None), SABR(share=0.4, steps=2, **SOON), 50)
    reached = made.threat.distance(made.perturbed, made.x)
    assert float(reached.max()) == pytest.approx(0.6 * 0.2, abs=1e-5)


def test_expressive_losses_lie_between_attack_and_bound() -> None:
    generator = torch.Generator().manual_seed(3)
    gaps = torch.randn(6, 4, generator=generator)
    bounds = gaps + torch.rand(6, 4, generator=generator)
    y = torch.zeros(6, dtype=torch.int64)
    gaps[:, 0] = bounds[:, 0] = 0.0
    low, high = (F.cross_entropy(part, y, reduction="none") for part in (gaps, bounds))
    losses = [MTLIBP(0.3, kind).combined(gaps, bounds, y) for kind in ("mtl", "cc", "exp")]
    mtl, cc, exp = losses
    torch.testing.assert_close(mtl, 0.7 * low + 0.3 * high)
    torch.testing.assert_close(exp, low**0.7 * high**0.3)
    mixed = F.cross_entropy(0.7 * gaps + 0.3 * bounds, y, reduction="none")
    torch.testing.assert_close(cc, mixed)
    for loss in losses:
        assert bool(((low <= loss) & (loss <= high)).all())
    assert bool((cc <= mtl + 1e-6).all())
    for kind in ("mtl", "cc", "exp"):
        ends = [MTLIBP(alpha=a, combination=kind).combined(gaps, bounds, y) for a in (0.0, 1.0)]
        torch.testing.assert_close(ends[0], low)
        torch.testing.assert_close(ends[1], high)


def test_mtl_ibp_attacks_the_whole_threat() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    objective = MTLIBP(alpha=0.25, steps=3, **SOON)
    made = batch_of(maker(flag=None), objective, 50, net)
    assert torch.equal(made.perturbed, made.attack(PGD(3, until_fooled=False)))
    low = F.cross_entropy(net(made.perturbed), made.y, reduction="none")
    high = F.cross_entropy(worst_logits(net, made.x, made.y, 0.2), made.y, reduction="none")
    torch.testing.assert_close(objective(net, made).per_sample, 0.75 * low + 0.25 * high)


@pytest.mark.parametrize("objective", [CrownIBP(), SABR(), MTLIBP()], ids=lambda value: value.name)
def test_other_norms_and_layers_are_refused_by_name(objective: Objective) -> None:
    with pytest.raises(ThreatError, match=f"{objective.name} does not train against l2:1"):
        objective.require(L2(1), 10)
    with pytest.raises(ModelError, match=r"for 1 \(GELU\)"):
        objective.require_model(nn.Sequential(nn.Flatten(), nn.GELU()))


def test_crown_ibp_names_a_layer_without_backward_bounds() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    SABR().require_model(model)
    with pytest.raises(ModelError, match=r"crown-ibp has no backward bounds for 1 \(MaxPool2d\)"):
        CrownIBP().require_model(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrownIBP(beta_start=2), "crown-ibp: beta_start = 2: give a number from 0 to 1"),
        (lambda: SABR(share=1.5), "sabr: share = 1.5: give a number from 0 to 1"),
        (lambda: SABR(steps=0), "pgd: steps = 0"),
        (lambda: MTLIBP(alpha=-1), "mtl-ibp: alpha = -1"),
        (lambda: MTLIBP(combination="sum"), "combination = 'sum': give one of mtl, cc, exp"),
        (lambda: SABR(ramp_end=1.5), "sabr: ramp_end = 1.5, a share of the training"),
    ],
)
def test_impossible_parameters_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
