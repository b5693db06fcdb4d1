"""Non-local means: each pixel becomes the mean of pixels whose surroundings look alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tempering.core.protocols import Transform, register_defense
from tempering.defenses.requirements import number_above_zero, odd_number, require_side


@register_defense("nlm")
class NonLocalMeans(Transform):
    """Average pixels over a search window, weighted by how alike the patches around them are.

    Buades, Coll and Morel, 'A non-local algorithm for image denoising', 2005, equations 1 and 2,
    with patches weighted evenly as in OpenCV: the weight of a pixel is exp(-d / strength^2),
    where d is the mean squared difference of the two patches over pixels and channels. As a
    defense: Xu, Evans and Qi, 2018, with strengths of 2/255 and 4/255 for photographs.

    Weights and means are smooth in the pixels, so the true gradient is declared: it knows how a
    change moves the weights, too, which the identity does not.

    Attributes:
        search: Side of the search window in pixels, odd, at least 3.
        patch: Side of a patch in pixels, odd, at least 1.
        strength: Difference of patches, in pixel values, at which the weight is 1/e; above 0
            and at most 10.

    Raises:
        ModelError: If an option is no such number; when run, if images are too small for the
            windows.

    Example:
        >>> even = torch.full((1, 1, 16, 16), 0.5)
        >>> bool(torch.allclose(NonLocalMeans()(even), even))
        True
    """

    source = "Xu, Evans and Qi, 2018"

    def __init__(self, search: int = 13, patch: int = 3, strength: float = 0.1) -> None:
        super().__init__()
        self.search = odd_number("nlm search", search, 3)
        self.patch = odd_number("nlm patch", patch, 1)
        self.strength = number_above_zero("nlm strength", strength, 10)

    def transform(self, x: Tensor) -> Tensor:
        """Denoised images, shape and dtype of x."""
        around, inner = self.search // 2, self.patch // 2
        windows = f"nlm with search {self.search} and patch {self.patch}"
        require_side(windows, x, around + inner + 1)
        height, width = x.shape[-2], x.shape[-1]
        wide = F.pad(x, (around + inner,) * 4, mode="reflect")
        rows, columns = height + 2 * inner, width + 2 * inner
        centre = wide[..., around : around + rows, around : around + columns]
        total, weights = torch.zeros_like(x), torch.zeros_like(x[:, :1])
        for top in range(self.search):
            strip = wide[..., top : top + rows, :]
            # the backward pass computes a strip again, so that memory holds one at a time
            parts = checkpoint(self._summed, strip, centre, use_reentrant=False)
            total, weights = total + parts[0], weights + parts[1]
        return total / weights

    def _summed(self, strip: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of pixels, and the sum of weights, over one row of the search window."""
        inner, columns = self.patch // 2, centre.shape[-1]
        total, weights = strip.new_zeros(()), strip.new_zeros(())
        for left in range(self.search):
            other = strip[..., left : left + columns]
            difference = (other - centre).square().mean(1, keepdim=True)
            weight = torch.exp(-F.avg_pool2d(difference, self.patch, 1) / self.strength**2)
            pixels = other[..., inner : other.shape[-2] - inner, inner : columns - inner]
            total, weights = total + weight * pixels, weights + weight
        return total, weights
