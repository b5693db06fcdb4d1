"""Non-local means against the definition, pixel by pixel, and its refusals."""

from typing import Any

import numpy as np
import pytest
import torch

from tempering.core.errors import ModelError
from tempering.defenses import NonLocalMeans


def by_definition(image: np.ndarray, search: int, patch: int, strength: float) -> np.ndarray:
    """One image, shape (c, h, w): a sum over the search window of each pixel."""
    around, inner = search // 2, patch // 2
    edge = around + inner
    wide = np.pad(image, ((0, 0), (edge, edge), (edge, edge)), mode="reflect")
    out = np.zeros_like(image)

    def patch_at(row: int, column: int) -> np.ndarray:
        return wide[:, row - inner : row + inner + 1, column - inner : column + inner + 1]

    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            here = patch_at(row + edge, column + edge)
            total = 0.0
            for down in range(-around, around + 1):
                for right in range(-around, around + 1):
                    there = row + edge + down, column + edge + right
                    distance = ((patch_at(*there) - here) ** 2).mean()
                    weight = np.exp(-distance / strength**2)
                    total += weight
                    out[:, row, column] += weight * wide[:, there[0], there[1]]
            out[:, row, column] /= total
    return out


@pytest.mark.parametrize(("search", "patch", "strength"), [(5, 3, 0.2), (3, 5, 0.5), (7, 1, 0.05)])
def test_it_is_what_the_definition_says(search: int, patch: int, strength: float) -> None:
    x = torch.rand(2, 3, 7, 8, dtype=torch.float64)
    expected = np.stack([by_definition(image, search, patch, strength) for image in x.numpy()])
    found = NonLocalMeans(search, patch, strength)(x)
    assert torch.allclose(found, torch.from_numpy(expected), atol=1e-12)


def test_its_gradient_is_that_of_what_it_computes() -> None:
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(NonLocalMeans(3, 3, 0.3), x)


def test_it_removes_noise_and_keeps_an_edge() -> None:
    clean = (torch.arange(16) >= 8).float().expand(1, 1, 16, 16) * 0.8 + 0.1
    noisy = clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    found = NonLocalMeans(7, 3, 0.1)(noisy)
    assert (found - clean).square().mean() < 0.3 * (noisy - clean).square().mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": 4}, "nlm search 4: give an odd whole number of at least 3"),
        ({"patch": 0}, "nlm patch 0: give an odd whole number of at least 1"),
        ({"strength": 0.0}, "nlm strength 0.0: give a number above 0"),
        ({"strength": float("nan")}, "nlm strength nan: give a number above 0"),
        ({"strength": float("inf")}, "nlm strength inf: give a number above 0"),
        ({"strength": "much"}, "nlm strength 'much': give a number above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        NonLocalMeans(**options)


def test_images_smaller_than_the_windows_are_refused() -> None:
    with pytest.raises(ModelError, match="search 13 and patch 3 on images of 7 x 9 pixels"):
        NonLocalMeans()(torch.rand(1, 1, 7, 9))
