"""How steady a prediction stays when other images are added to the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import register_defense
from tempering.defenses.features import require_network
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples


@register_defense("strip")
class Strip(FittedDetector):
    """Low entropy of the predictions on an image with clean images added to it.

    An image with a trigger is classified as the target whatever is added to it. The score is the
    negative mean entropy in nats, so it is at most 0. It is made for backdoors, not for
    adversarial perturbations. The images that are added are kept, and are the same at each call.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        overlays: Clean images that are added, at least 1; each costs a forward pass.
        threshold: Score above which an image is flagged.
        sizes: Images kept, channels, height and width, set by `fit`.

    Raises:
        ModelError: If an option makes no sense, or `network` is no module.
    """

    source = "Gao et al., 2019"
    size_names = ("overlays", "channels", "height", "width")
    kept: Tensor

    def __init__(
        self,
        network: nn.Module,
        overlays: int = 20,
        threshold: float | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        if overlays < 1:
            raise ModelError(f"overlays {overlays}: give at least 1")
        self.network, self.overlays = require_network(self, network), overlays
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """Images that are added."""
        self.reserve(kept=tuple(sizes))

    def learn(self, samples: DetectorSamples, seed: int) -> None:
        """Keep some clean images."""
        self.require(samples.x, self.overlays)
        draw = torch.Generator().manual_seed(seed)
        kept = samples.x[torch.randperm(len(samples.x), generator=draw)[: self.overlays]]
        self.declare(tuple(kept.shape))
        self.fill(kept=kept)

    def measure(self, x: Tensor) -> Tensor:
        """Negative mean entropy, at most 0, shape (n,)."""
        if x.shape[1:] != self.kept.shape[1:]:
            raise ModelError(
                f"images of shape {tuple(x.shape[1:])} for Strip, which was fitted to "
                f"{tuple(self.kept.shape[1:])}: give images of that shape"
            )
        total = x.new_zeros(len(x))
        for overlay in self.kept:
            logits: Tensor = self.network((x + overlay).clamp(0.0, 1.0))
            probability = logits.softmax(1)
            total = total + (probability * logits.log_softmax(1)).sum(1)
        return total / len(self.kept)
