"""SmoothAdv against closed forms and the attack that it reduces to."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tempering.attacks import BIM
from tempering.core.errors import ThreatError, UsageError
from tempering.core.threats import L0, L2
from tempering.training import SmoothAdv
from tempering.training.objectives.smooth_adv import smoothed_loss
from tests.training.objectives.test_losses import Table, batch
from tests.training.toys import batch_of, maker, network


def test_the_loss_that_is_climbed_is_that_of_the_mean_probability() -> None:
    half, quarter = [0.0, 0.0], [0.0, math.log(3)]  # p of class 0: 1/2 and 1/4
    logits = torch.tensor([half, quarter])
    loss = smoothed_loss(logits, torch.tensor([0]))
    assert float(loss) == pytest.approx(-math.log(0.375))


def test_without_noise_it_is_projected_gradient_ascent_from_the_image() -> None:
    model = network().eval()
    objective = SmoothAdv(sigma=0.0, samples=1, steps=4)
    made = batch_of(maker(flag=None), objective, model=model)
    expected = made.attack(BIM(steps=4, until_fooled=False))
    torch.testing.assert_close(made.perturbed, expected)


def test_copies_share_one_perturbation_within_the_threat() -> None:
    objective, threat = SmoothAdv(sigma=0.3, samples=3, steps=2), L2(0.4)
    made = batch_of(maker(threat=threat, flag=None), objective)
    x_adv = (made.perturbed - objective.noise(made)).unflatten(0, (3, -1))
    torch.testing.assert_close(x_adv[0], x_adv[2])
    assert bool(threat.contains(x_adv[0], made.x).all())
    assert float(objective.noise(made).std()) == pytest.approx(0.3, rel=0.1)
    assert not torch.equal(*objective.noise(made).unflatten(0, (3, -1))[:2])


def test_the_loss_is_the_mean_over_copies() -> None:
    made = batch([0], 2)
    model = Table([1.0, 0.0], [0.0, 2.0])
    given = SmoothAdv(samples=2)(model, made.with_x_adv(torch.zeros(2, 1, 3, 3)))
    each = F.cross_entropy(model.logits, torch.tensor([0, 0]), reduction="none")
    assert float(given.per_sample) == pytest.approx(float(each.mean()))


def test_impossible_values_are_refused() -> None:
    with pytest.raises(UsageError, match="smooth-adv: samples = 0: give a whole number"):
        SmoothAdv(samples=0)
    with pytest.raises(ThreatError, match="smooth-adv does not train against l0:3"):
        SmoothAdv().require(L0(3), 10)
