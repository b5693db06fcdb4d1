"""APGD's steps in L1, on states that are made by hand."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from tempering.attacks.adaptive_ascent import AdaptiveState
from tempering.attacks.sparsity import Sparsity
from tempering.core.threats import L1

GRADIENT = torch.tensor([3.0, -8.0, 1.0, 5.0, -2.0, 7.0, -4.0, 6.0]).reshape(1, 1, 2, 4)
THREAT = L1(0.4)


def state(share: float, x: Tensor) -> AdaptiveState:
    given: dict[str, Tensor] = {field.name: torch.zeros(1) for field in fields(AdaptiveState)}
    given |= {name: x.clone() for name in ("x", "x_adv", "previous", "best", "best_gradient")}
    given |= {"share": torch.tensor([share]), "step": torch.tensor([0.4])}
    return AdaptiveState(**given)


@pytest.mark.parametrize("kept", [1, 2, 3, 8])
def test_a_step_is_shared_equally_by_the_steepest_pixels(kept: int) -> None:
    x = torch.full((1, 1, 2, 4), 0.5)
    moved = Sparsity().move(state(kept / 8, x), GRADIENT, THREAT) - x
    steepest = GRADIENT.flatten().abs().argsort(descending=True)[:kept]
    expected = torch.zeros(8)
    expected[steepest] = GRADIENT.flatten()[steepest].sign() * 0.4 / kept
    assert torch.allclose(moved.flatten(), expected, atol=1e-6)


def test_pixels_that_cannot_move_leave_their_place_to_others() -> None:
    x = torch.full((1, 1, 2, 4), 0.5)
    x.view(-1)[1], x.view(-1)[5], x.view(-1)[7] = 0.0, 1.0, 0.0  # the last one can still rise
    moved = (Sparsity().move(state(2 / 8, x), GRADIENT, THREAT) - x).flatten()
    expected = torch.zeros(8)
    expected[7], expected[3] = 0.2, 0.2
    assert torch.allclose(moved, expected, atol=1e-6)
