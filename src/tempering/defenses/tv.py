"""Total-variation minimisation, with or without dropped pixels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import number_above_zero, require_finite, whole_number

_STEP = 1 / math.sqrt(8)
"""Step size of both variables: the squared norm of the image gradient is at most 8."""
_TOGETHER = 10
"""Iterations whose intermediate values are in memory at a time."""


@register_defense("tv")
class TotalVariation(Transform):
    """Replace an image by a smooth one that agrees with it on the pixels that are kept.

    Guo, Rana, Cisse and van der Maaten, 'Countering adversarial images using input
    transformations', 2018, section 3: each pixel is kept with a probability, and the image z
    that minimises 1/2 |mask (z - x)|^2 + weight TV(z) is classified. TV is isotropic, and the
    problem is solved for all images at once by a fixed number of iterations of Chambolle and
    Pock (2011), algorithm 1. With keep = 1 nothing is dropped and nothing is random.

    The iterations are differentiated as they are: the true gradient knows which pixels were
    dropped and how far smoothing spreads a change, and it breaks more images than the identity
    with which Athalye, Carlini and Wagner (2018) replaced it (tested). With dropped pixels,
    average it over draws (`attacks.EOT`).

    Attributes:
        keep: Probability with which a pixel is kept, above 0 and at most 1.
        weight: Of the total variation, above 0 and at most 100.
        iterations: Of the solver, 1 to 10,000.
        random: Whether pixels are dropped.

    Raises:
        ModelError: If an option is no such number; when run, if pixels are not finite.

    Example:
        >>> even = torch.full((1, 1, 4, 4), 0.5)
        >>> bool(torch.allclose(TotalVariation(keep=1)(even), even))
        True
    """

    random = True
    source = "Guo, Rana, Cisse and van der Maaten, 2018"

    def __init__(self, keep: float = 0.5, weight: float = 0.03, iterations: int = 50) -> None:
        super().__init__()
        self.keep = number_above_zero("tv keep", keep, 1)
        self.weight = number_above_zero("tv weight", weight, 100)
        self.iterations = whole_number("tv iterations", iterations, 1, 10_000)
        self.random = self.keep < 1

    def transform(self, x: Tensor) -> Tensor:
        """Smoothed images, shape and dtype of x."""
        require_finite("tv", x)
        # lengths of gradients vanish in half precision
        held = x.float() if x.dtype.itemsize < 4 else x
        if self.keep == 1:
            return self._solved(held, torch.ones_like(held[:, :1])).to(x.dtype)
        kept = torch.rand_like(x[:, :1]) < self.keep
        return self._solved(held, kept.to(held.dtype)).to(x.dtype)

    def _solved(self, x: Tensor, mask: Tensor) -> Tensor:
        image = _filled(x, mask)
        ahead, down, right = image, torch.zeros_like(x), torch.zeros_like(x)
        for done in range(0, self.iterations, _TOGETHER):
            more = min(_TOGETHER, self.iterations - done)
            # the backward pass computes these iterations again, which saves memory
            image, ahead, down, right = checkpoint(
                self._iterated, more, mask, mask * x, image, ahead, down, right, use_reentrant=False
            )
        return image.clamp(0, 1)

    def _iterated(
        self, times: int, mask: Tensor, kept: Tensor, *state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        image, ahead, down, right = state
        for _ in range(times):
            down = down + _STEP * F.pad(ahead.diff(dim=-2), (0, 0, 0, 1))
            right = right + _STEP * F.pad(ahead.diff(dim=-1), (0, 1))
            length = (down.square() + right.square()).clamp_min(1e-20).sqrt()
            shrink = (length / self.weight).clamp_min(1)
            down, right = down / shrink, right / shrink
            moved = image + _STEP * (_divergence(down, right) + kept)
            before, image = image, moved / (1 + _STEP * mask)
            ahead = 2 * image - before
        return image, ahead, down, right


def _filled(x: Tensor, mask: Tensor) -> Tensor:
    """Dropped pixels as the mean of their kept neighbours, so that nothing of them is seen."""
    seen = F.avg_pool2d(mask, 3, 1, 1)
    near = F.avg_pool2d(mask * x, 3, 1, 1) / seen.clamp_min(1e-6)
    return mask * x + (1 - mask) * near


def _divergence(down: Tensor, right: Tensor) -> Tensor:
    """The negative adjoint of differences to the next row and column."""
    rows = torch.cat([down[..., :1, :], down[..., 1:, :] - down[..., :-1, :]], -2)
    columns = torch.cat([right[..., :1], right[..., 1:] - right[..., :-1]], -1)
    return rows + columns
