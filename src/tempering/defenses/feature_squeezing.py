"""How much a prediction changes when the image is squeezed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import Detector, Transform, register_defense
from tempering.defenses.bit_depth import BitDepth
from tempering.defenses.features import require_network
from tempering.defenses.median import MedianFilter


@register_defense("feature_squeezing")
class FeatureSqueezing(Detector):
    """Largest L1 distance between the probabilities of an image and of its squeezed versions.

    Squeezers are the transforms `bit_depth` and `median`; with both, detection is joint. Nothing
    is fitted but the threshold. Gradients pass straight through the bit depth. The defaults are
    those for MNIST; for natural images 5 bits are usual.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        bits: Bits a pixel, 1 to 8; None for no bit depth.
        window: Side of the median filter in pixels, at least 2; None for no median.
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
        squeezers: list[Transform] = [] if bits is None else [BitDepth(bits)]
        self.squeezers = nn.ModuleList(
            squeezers + ([] if window is None else [MedianFilter(window)])
        )
        self.network, self.bits, self.window = require_network(self, network), bits, window

    def score(self, x: Tensor) -> Tensor:
        """Largest distance, 0 to 2, shape (n,)."""
        first = self._probabilities(x)
        parts = [(first - self._probabilities(part(x))).abs().sum(1) for part in self.squeezers]
        return torch.stack(parts).amax(0)

    def approximation(self, x: Tensor) -> Tensor:
        """The same score, with the gradients that the squeezers declare."""
        return self.score(x)

    def _probabilities(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.clone())
        return logits.softmax(1)
