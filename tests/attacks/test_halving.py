"""APGD's reviews, and its last point, on states that are made by hand."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks.adaptive_ascent import AdaptiveState
from tempering.attacks.apgd import ascend, untargeted
from tempering.attacks.base import Problem
from tempering.attacks.halving import Halving
from tempering.core.goals import Untargeted
from tempering.core.probe import probing
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf

THREAT = Linf(0.1)
STEPS, AT = 100, 57
"""The third checkpoint of 100 steps; its window is 16 steps long."""


def state(rises: int, mark: float, shortened: bool) -> AdaptiveState:
    """One sample after `AT` steps, whose best loss is 1."""
    image, number = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1)
    given: dict[str, Tensor] = {
        field.name: number.clone() for field in fields(AdaptiveState) if field.name != "ids"
    }
    given |= {name: image.clone() for name in ("x", "x_adv", "previous", "best_gradient")}
    given |= {
        "ids": torch.zeros(1).long(),
        "best": image + 0.05,
        "best_gradient": image * 2,
        "best_loss": torch.tensor([1.0]),
        "mark": torch.tensor([mark]),
        "rises": torch.tensor([rises]),
        "shortened": torch.tensor([shortened]),
        "step": torch.tensor([0.2]),
        "done": torch.tensor([AT]),
    }
    return AdaptiveState(**given)


@pytest.mark.parametrize(
    ("rises", "mark", "shortened", "cut"),
    [
        (13, 0.5, False, False),  # more than three quarters of 16 rose, and the best is better
        (12, 0.5, False, True),  # three quarters are too few
        (13, 1.0, False, True),  # nothing has improved since the last review
        (13, 1.0, True, False),  # the step was shortened at that review
    ],
)
def test_steps_are_halved_where_progress_has_stopped(
    rises: int, mark: float, shortened: bool, cut: bool
) -> None:
    row, gradient = state(rises, mark, shortened), torch.zeros(1, 1, 2, 2)
    kept = Halving().review(row, gradient, THREAT, STEPS)
    assert float(row.step) == pytest.approx(0.1 if cut else 0.2)
    assert torch.equal(row.x_adv, row.best if cut else row.x)
    assert torch.equal(kept, row.best_gradient if cut else gradient)
    assert bool(row.shortened) is cut
    assert int(row.rises) == 0


def test_a_review_compares_with_the_review_before() -> None:
    row, gradient = state(13, 0.5, False), torch.zeros(1, 1, 2, 2)
    Halving().review(row, gradient, THREAT, STEPS)
    row.done, row.rises = torch.tensor([70]), torch.tensor([13])
    Halving().review(row, gradient, THREAT, STEPS)
    assert float(row.step) == pytest.approx(0.1), "the best loss is that of the review before"


class Jumps(nn.Module):
    """From probabilities (0.4, 0.3, 0.3) of its classes to (0.45, 0.46, 0.09)."""

    def forward(self, x: Tensor) -> Tensor:
        far = (x.flatten(1)[:, :1] > 0.55).detach()
        near, beyond = torch.tensor([[0.4, 0.3, 0.3]]), torch.tensor([[0.45, 0.46, 0.09]])
        way = torch.tensor([[0.0, 1e-4, 0.0]]) * x.flatten(1)[:, :1]
        return torch.where(far, beyond, near).log() + way


def test_the_last_point_is_kept_if_it_fools_though_its_loss_is_smaller() -> None:
    x, y = torch.full((3, 1, 1, 1), 0.5), torch.zeros(3).long()
    problem = Problem(x, y, Linf(0.2), RandomStreams.of(0, 3), Untargeted(), 2)
    with probing(Jumps()) as probe:
        result = ascend(probe, problem, untargeted("cross-entropy"), 1, points=x)
    assert result.fooled.tolist() == [True] * 3
    assert bool((Jumps()(result.points).argmax(1) == 1).all())
