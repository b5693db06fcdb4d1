"""FGSM-RS, N-FGSM, GradAlign and free training on models whose gradients are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks.ascent import random_start
from tempering.core.errors import ThreatError, UsageError
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.training import FGSMRS, NFGSM, Free, GradAlign, Objective, StepConfig, train_steps
from tempering.training.objectives.free import DELTA
from tempering.training.objectives.grad_align import alignment
from tests.training.toys import ENGINE, batch_of, dataset, maker

FLAT = torch.tensor([[1.0, -2.0, 3.0, -1.0, 1.0, 2.0, -3.0, 1.0, -1.0], [0.0] * 9])


def linear() -> nn.Sequential:
    """Two classes; the loss of class 0 grows against the first row of FLAT."""
    layer = nn.Linear(9, 2)
    with torch.no_grad():
        layer.weight.copy_(FLAT)
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer)


def uphill(y: Tensor) -> Tensor:
    """The sign of the loss's gradient in the image, shape (n, 1, 3, 3)."""
    sign = FLAT[0].sign().reshape(1, 1, 3, 3)
    return torch.where(y[:, None, None, None] == 0, -sign, sign)


def test_fgsm_rs_is_one_step_of_five_quarters_from_a_random_start() -> None:
    made = batch_of(maker(outputs=2, flag=None), FGSMRS(), model=linear())
    start = random_start(made.threat, made.x, made.streams.derive("attack", 0))
    expected = made.threat.project(start + 1.25 * 0.2 * uphill(made.y), made.x)
    torch.testing.assert_close(made.perturbed, expected)
    assert float((made.perturbed - start).abs().max()) > 0.2  # further than eps from the start


def test_n_fgsm_leaves_the_ball_by_its_noise() -> None:
    objective = NFGSM(noise=0.5, alpha=1.0)
    made = batch_of(maker(threat=Linf(0.1), outputs=2, flag=None), objective, model=linear())
    drawn = made.threat.sample(made.x, made.streams.derive("start")) - made.x
    torch.testing.assert_close(made.perturbed, made.x + 0.5 * drawn + 0.1 * uphill(made.y))
    distance = made.threat.distance(made.perturbed, made.x)
    assert 0.1 < float(distance.min()) <= float(distance.max()) <= 0.15 + 1e-6


@pytest.mark.parametrize("threat", [Linf(0.2), L2(0.5), L1(1.0)])
@pytest.mark.parametrize("objective", [FGSMRS(), NFGSM(), GradAlign()])
def test_single_steps_know_three_norms_and_climb(threat: Threat, objective: Objective) -> None:
    made = batch_of(maker(threat=threat, outputs=2, flag=None), objective, model=linear())
    with torch.no_grad():
        before, after = linear()(made.x), linear()(made.perturbed)
    loss = nn.functional.cross_entropy
    assert float(loss(after, made.y)) > float(loss(before, made.y)) + 0.1


@pytest.mark.parametrize("objective", [FGSMRS(), NFGSM(), GradAlign(), Free()])
def test_single_steps_refuse_what_no_gradient_climbs(objective: Objective) -> None:
    with pytest.raises(ThreatError, match="it knows linf, l2, l1"):
        objective.require(L0(3), 100)


def test_gradients_of_a_linear_model_are_aligned() -> None:
    objective = GradAlign(lam=5.0)
    made = batch_of(maker(outputs=2, flag=None), objective, model=linear())
    losses = objective(linear(), made)
    assert float(losses.scalars["misalignment"].detach()) == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(losses.per_sample.mean(), losses.scalars["adversarial_loss"])


class Bent(nn.Module):
    """Logits (a . x + (b . x)^2 / 2, 0): the gradient of a loss lies along a + b (b . x)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.linspace(-1, 1, 9))
        self.b = nn.Parameter(torch.linspace(-0.3, 0.6, 9))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        first = flat @ self.a + (flat @ self.b).square() / 2
        return torch.stack([first, torch.zeros_like(first)], 1)


def test_misalignment_is_one_minus_the_cosine_and_reaches_the_weights() -> None:
    model = Bent()
    generator = torch.Generator().manual_seed(0)
    x, near = (torch.rand(4, 1, 3, 3, generator=generator) for _ in range(2))
    targets = torch.eye(2)[[0, 1, 0, 1]]
    cosine = alignment(model, x, near, targets)
    for row in range(4):
        first, second = (model.a + model.b * (model.b @ part[row].flatten()) for part in (x, near))
        expected = first @ second / (first.norm() * second.norm())
        torch.testing.assert_close(cosine[row], expected)
    cosine.sum().backward()
    assert model.b.grad is not None
    assert float(model.b.grad.abs().max()) > 1e-3


def test_a_gradient_of_zero_counts_as_aligned() -> None:
    model = Bent()
    with torch.no_grad():
        model.a.zero_()
        model.b.zero_()
    x = torch.rand(3, 1, 3, 3)
    cosine = alignment(model, x, x, torch.eye(2)[[0, 1, 0]])
    torch.testing.assert_close(cosine, torch.ones(3))
    cosine.sum().backward()
    assert model.b.grad is not None
    assert bool(model.b.grad.isfinite().all())


def test_free_training_replays_a_batch_and_moves_its_perturbation() -> None:
    objective, model = Free(m=3), linear()
    made = batch_of(maker(outputs=2, flag=None), objective, model=model)
    assert torch.equal(made.perturbed, made.x)
    objective(model, made).per_sample.mean().backward()
    carried = objective.carry(made)
    expected = made.threat.project(made.x + 0.2 * uphill(made.y), made.x) - made.x
    torch.testing.assert_close(carried[DELTA], expected)
    again = objective.perturb(replace(made, x_adv=None, carried=carried))
    torch.testing.assert_close(again.perturbed, made.x + expected)


class Seen(Free):
    """Keeps the clean images of each step."""

    images: list[Tensor] = []  # noqa: RUF012

    def __call__(self, model: nn.Module, batch):  # type: ignore[no-untyped-def]
        self.images.append(batch.x)
        return super().__call__(model, batch)


def test_each_batch_is_used_m_times_and_training_goes_on_within_one() -> None:
    Seen.images.clear()
    config = StepConfig(Linf(0.2), batch_size=12, seed=3, total_steps=9)
    whole = train_steps(linear(), dataset(), Seen(m=3), 9, config=config, engine=ENGINE)
    seen = list(Seen.images)
    assert all(torch.equal(seen[step], seen[step - step % 3]) for step in range(9))
    assert not torch.equal(seen[0], seen[3])
    part = train_steps(linear(), dataset(), Free(m=3), 4, config=config, engine=ENGINE)
    again = train_steps(linear(), dataset(), Free(m=3), 5, part, config=config, engine=ENGINE)
    assert all(torch.equal(again.weights[name], whole.weights[name]) for name in whole.weights)
    assert not math.isclose(float(again.carried[DELTA].abs().max()), 0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FGSMRS(alpha=0), "fgsm-rs: alpha = 0: give a number of at least 1e-06"),
        (lambda: NFGSM(noise=-1), "n-fgsm: noise = -1: give a number of at least 0"),
        (lambda: NFGSM(alpha=math.nan), "n-fgsm: alpha = nan"),
        (lambda: GradAlign(lam=math.inf), "grad-align: lam = inf: give a finite number"),
        (lambda: Free(m=0), "free: m = 0: give a whole number of at least 1"),
    ],
)
def test_impossible_parameters_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
