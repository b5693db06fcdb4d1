"""How much a prediction changes when the image is squeezed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import Detector, register_defense
from tempering.defenses.features import require_network


@register_defense("feature_squeezing")
class FeatureSqueezing(Detector):
    """Largest L1 distance between the probabilities of an image and of its squeezed versions.

    Squeezers are a lower bit depth and a median filter; with both, detection is joint. Nothing
    is fitted but the threshold. Gradients pass straight through the bit depth. The defaults are
    those for MNIST; for natural images 5 bits are usual.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        bits: Bits a pixel, 1 to 8; None for no bit depth.
        window: Side of the median filter in pixels, 2 or 3; None for no median.
        threshold: Distance, 0 to 2, above which an image is flagged.

    Raises:
        ModelError: If there is no squeezer, or an option is out of range.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        >>> FeatureSqueezing(net)(torch.rand(2, 1, 4, 4)).shape
        torch.Size([2])
    """

    input_gradient = "approximation"
    source = "Xu, Evans and Qi, 2018"

    def __init__(
        self,
        network: nn.Module,
        bits: int | None = 1,
        window: int | None = 2,
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold)
        if bits is None and window is None:
            raise ModelError("feature squeezing without a squeezer: give bits or window")
        if bits is not None and not 1 <= bits <= 8:
            raise ModelError(f"bits {bits}: give 1 to 8, or None")
        if window not in (None, 2, 3):
            raise ModelError(f"window {window}: give 2 or 3, or None")
        self.network, self.bits, self.window = require_network(self, network), bits, window

    def score(self, x: Tensor) -> Tensor:
        """Largest distance, 0 to 2, shape (n,)."""
        return self._distance(x, straight_through=False)

    def approximation(self, x: Tensor) -> Tensor:
        """The same score, with the gradient of the identity for the bit depth."""
        return self._distance(x, straight_through=True)

    def _distance(self, x: Tensor, straight_through: bool) -> Tensor:
        squeezed = []
        if self.bits is not None:
            rounded = _round_to_bits(x, self.bits)
            squeezed.append(x + (rounded - x).detach() if straight_through else rounded)
        if self.window is not None:
            squeezed.append(_median(x, self.window))
        first = self._probabilities(x)
        parts = [(first - self._probabilities(image)).abs().sum(1) for image in squeezed]
        return torch.stack(parts).amax(0)

    def _probabilities(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.clone())
        return logits.softmax(1)


def _round_to_bits(x: Tensor, bits: int) -> Tensor:
    levels: int = 2**bits - 1
    return torch.round(x * levels) / levels


def _median(x: Tensor, window: int) -> Tensor:
    """The median of a window; of an even number of pixels the upper one, as in SciPy."""
    before, after = window // 2, window - window // 2 - 1
    padded = nn.functional.pad(x, (before, after, before, after), mode="replicate")
    height, columns = x.shape[2:]
    sides = range(window)
    seen = [padded[:, :, i : i + height, j : j + columns] for i in sides for j in sides]
    middle: Tensor = torch.stack(seen).kthvalue(len(seen) // 2 + 1, dim=0).values
    return middle
