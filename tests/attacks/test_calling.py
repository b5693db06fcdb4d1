"""Calls that cannot be answered: one line, with the value and what would be right."""

from typing import Any

import pytest
import torch
from torch import nn

from tempering.attacks import FGSM, PGD
from tempering.attacks.steps import default_step
from tempering.core.errors import AttackError, DataError, TemperingError
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf

NET = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
X = torch.full((3, 1, 2, 2), 0.5)
Y = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": X * 255}, DataError, r"images from 127\.5 to 127\.5: .*\[0, 1\]"),
        ({"x": X - 1}, DataError, r"images from -0\.5 to -0\.5"),
        ({"x": X / 0}, DataError, "images from inf to inf"),
        ({"x": X.where(torch.eye(2) > 0, torch.nan)}, DataError, "images from nan to nan"),
        ({"x": X.half()}, DataError, "images of type torch.float16: give float32 or float64"),
        ({"x": X.bfloat16()}, DataError, "images of type torch.bfloat16: .* half precision too"),
        ({"x": X[:, 0]}, AttackError, r"images \(3, 2, 2\) and labels \(3,\) do not fit"),
        ({"y": Y[:2]}, AttackError, r"labels \(2,\) do not fit"),
        ({"y": Y.float()}, DataError, r"labels of type torch\.float32: give int64"),
        ({"y": Y + 1}, DataError, "labels from 1 to 3 for a model of 3 outputs: .*0 to 2"),
        ({"y": Y - 1}, DataError, "labels from -1 to 1 for a model of 3 outputs"),
        ({"random": RandomStreams.of(0, 2)}, AttackError, "2 random streams for 3 images"),
    ],
)
def test_what_does_not_fit_is_named(
    change: dict[str, Any], error: type[TemperingError], message: str
) -> None:
    call = {"model": NET, "x": X, "y": Y, "threat": Linf(0.1), **change}
    with pytest.raises(error, match=message) as caught:
        PGD(steps=2)(**call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("steps", "step"), [(1, 0.6), (2, 0.375), (10, 0.075), (40, 0.01875)])
def test_default_steps_reach_through_the_ball_and_no_step_leaps_it(steps: int, step: float) -> None:
    assert default_step(None, Linf(0.3), steps) == pytest.approx(step)
    assert default_step(0.5, L2(0.3), steps) == 0.5


def test_streams_default_to_seed_0() -> None:
    made = PGD(steps=2)(NET, X, Y, Linf(0.1), random=RandomStreams.of(0, 3))
    assert torch.equal(PGD(steps=2)(NET, X, Y, Linf(0.1)), made)
    assert not torch.equal(PGD(steps=2)(NET, X, Y, Linf(0.1), random=RandomStreams.of(1, 3)), made)


def test_what_comes_back_holds_no_graph() -> None:
    for eps in (0.0, 0.1):
        x_adv = FGSM()(NET, X.clone().requires_grad_(), Y, Linf(eps))
        assert not x_adv.requires_grad
