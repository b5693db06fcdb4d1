"""Total-variation minimisation: closed forms, dropped pixels, and refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.defenses import TotalVariation


def variation(z: Tensor) -> Tensor:
    down = torch.nn.functional.pad(z.diff(dim=-2), (0, 0, 0, 1))
    right = torch.nn.functional.pad(z.diff(dim=-1), (0, 1))
    return (down.square() + right.square()).sqrt().flatten(1).sum(1)


def test_a_step_loses_height_as_the_closed_form_says() -> None:
    """Each side of a step moves by weight x length of the edge / pixels of that side."""
    x = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    x[..., 4:] = 1
    found = TotalVariation(1.0, 0.4, 3000)(x)
    assert torch.allclose(found[..., :4], torch.tensor(0.4 / 4, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(found[..., 4:], torch.tensor(1 - 0.4 / 8, dtype=torch.float64), atol=1e-4)


def test_few_iterations_come_close_to_the_minimum() -> None:
    x = torch.rand(4, 1, 16, 16, dtype=torch.float64)

    def cost(z: Tensor) -> Tensor:
        return (z - x).square().flatten(1).sum(1) / 2 + 0.1 * variation(z)

    best = cost(TotalVariation(1.0, 0.1, 2000)(x))
    assert (cost(TotalVariation(1.0, 0.1, 50)(x)) <= 1.01 * best).all()
    near = [TotalVariation(1.0, 0.1, 2000)(x) + 0.01 * torch.randn_like(x) for _ in range(5)]
    assert all((cost(z) > best).all() for z in near)


def test_its_gradient_is_that_of_what_it_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 5, 4, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(TotalVariation(1.0, 0.2, 13), x)


def test_dropped_pixels_are_filled_from_their_surroundings_and_not_seen() -> None:
    x = torch.full((1, 1, 12, 12), 0.3)
    mask = torch.ones_like(x)
    mask[..., 5:7, 5:7] = 0
    spoiled = torch.where(mask == 1, x, torch.tensor(0.9))
    solve = TotalVariation(0.5)._solved
    assert torch.allclose(solve(spoiled, mask), x, atol=1e-3)
    assert torch.equal(solve(spoiled, mask), solve(x, mask))


def test_each_image_has_its_own_mask_and_all_are_solved_at_once() -> None:
    x = torch.rand(1, 1, 10, 10).repeat(2, 1, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        both = TotalVariation(0.5)(x)
        torch.manual_seed(0)
        again = TotalVariation(0.5)(x)
    assert torch.equal(both, again)
    assert not torch.equal(both[0], both[1])
    assert (TotalVariation(0.5).random, TotalVariation(1.0).random) == (True, False)
    fixed = TotalVariation(1.0)(torch.cat([x[:1], torch.rand(1, 1, 10, 10)]))
    assert torch.allclose(fixed[:1], TotalVariation(1.0)(x[:1]), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "tv keep 0.0: give a number above 0 and at most 1"),
        ({"keep": 1.5}, "tv keep 1.5: give a number above 0 and at most 1"),
        ({"weight": float("nan")}, "tv weight nan: give a number above 0"),
        ({"iterations": 0}, "tv iterations 0: give a whole number from 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TotalVariation(**options)


def test_pixels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="tv on images with values that are not finite"):
        TotalVariation()(torch.full((1, 1, 4, 4), float("nan")))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_in_half_precision_are_finite(dtype: torch.dtype) -> None:
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    leaf = x.clone().requires_grad_(True)
    made = TotalVariation(keep=1.0)(leaf)
    (gradient,) = torch.autograd.grad(made.sum(), leaf)
    assert made.dtype == gradient.dtype == dtype
    assert bool(gradient.isfinite().all())
    near = TotalVariation(keep=1.0)(x.float())
    torch.testing.assert_close(made.detach().float(), near, rtol=0, atol=0.01)
