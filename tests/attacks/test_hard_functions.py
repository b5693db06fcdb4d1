"""Functions without a gradient: values stay, and the replaced gradient has the right sign."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tempering.attacks.hard_functions import HardFunctions

RISING: list[Callable[[Tensor], Tensor]] = [
    lambda x: (x > 0.5).float(),
    lambda x: (0.5 < x).float(),  # noqa: SIM300
    lambda x: torch.ge(x, 0.5).to(x.dtype),
    lambda x: (x > 0.5).double().type_as(x),
    lambda x: (x > 0.5) * 1.0,
    lambda x: (x > 0.5) + 0.0,
    lambda x: (~(x <= 0.5)).type(torch.float32),
    lambda x: torch.where(x > 0.5, 1.0, 0.0),
    lambda x: torch.ones_like(x).where(x > 0.5, torch.zeros_like(x)),
    lambda x: torch.zeros_like(x).masked_fill(x > 0.5, 1.0),
    lambda x: ((x > 0.2).int() + (x > 0.7).int()).float() / 2,
    lambda x: torch.stack([x > 0.2, x > 0.7]).float().mean(0),
    lambda x: (x > 0.5).flatten().float().reshape(x.shape),
    lambda x: ((x > 0.5) & (x < 2.0)).float(),
    lambda x: ((x > 0.5) | (x < -1.0)).float(),
    lambda x: (x * 255).byte().float() / 255,
    lambda x: (x * 4).long() / 4,
    lambda x: torch.round(x * 4) / 4,
    lambda x: (x * 4).floor_() / 4,
    lambda x: x // 0.25 * 0.25,
    lambda x: x - x % 0.25,
    lambda x: (x - 0.5).sgn(),
    lambda x: torch.heaviside(x - 0.5, torch.tensor(0.0)),
]


@pytest.mark.parametrize("number", range(len(RISING)))
@pytest.mark.parametrize("falling", [False, True])
def test_values_stay_and_gradients_point_the_right_way(number: int, falling: bool) -> None:
    step = RISING[number]
    x = torch.linspace(0.01, 0.99, 12).reshape(3, 4).requires_grad_()
    expected = step(x.detach())
    with HardFunctions():
        out = 1 - step(x) if falling else step(x)
    assert out.dtype == expected.dtype
    assert torch.allclose(out, 1 - expected if falling else expected, rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert bool((-gradient if falling else gradient).gt(0).all())
    with pytest.raises((RuntimeError, AssertionError)):  # as it is without
        assert bool(torch.autograd.grad(step(x).sum(), x)[0].ne(0).any())


def test_what_has_a_gradient_keeps_it() -> None:
    x = torch.linspace(-2, 2, 12).requires_grad_()

    def smooth(x: Tensor) -> Tensor:
        return x.sin() * x.relu() + x.clamp(-1, 1).softmax(0) + x.where(torch.arange(12) > 5, -x)

    (plain,) = torch.autograd.grad(smooth(x).sum(), x)
    with HardFunctions():
        (passed,) = torch.autograd.grad(smooth(x).sum(), x)
    assert torch.equal(passed, plain)


def test_masks_still_choose() -> None:
    x = torch.linspace(-2, 2, 12).requires_grad_()
    with HardFunctions():
        chosen = x[x > 0.5]
        assert bool((x > 0.5).any())
        assert int((x > 0.5).sum()) == len(chosen)
        assert torch.equal(chosen, x.detach()[7:])


def test_without_gradients_nothing_is_touched() -> None:
    x = torch.linspace(0, 1, 5).requires_grad_()
    with HardFunctions(), torch.no_grad():
        assert not (x > 0.5).float().requires_grad
