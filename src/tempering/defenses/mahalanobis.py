"""Distance to the nearest class in feature space, under one covariance of all classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, ModelError
from tempering.core.protocols import register_defense
from tempering.defenses.features import features, finite_features, require_network, require_width
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples


@register_defense("mahalanobis")
class Mahalanobis(FittedDetector):
    """Squared Mahalanobis distance of penultimate features to the nearest class mean.

    Classes are Gaussians with a tied covariance, fitted to clean training data. The method's
    combination of several layers and its input preprocessing are left out.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        ridge: Share of the mean variance that is added to each variance, above 0: features
            that never vary have none.
        layer: Layer whose input are the features; None for the last linear layer.
        threshold: Squared distance above which an image is flagged.
        sizes: Classes and width, set by `fit`.

    Raises:
        ModelError: If an option makes no sense, `network` is no module, or it has other features.
    """

    source = "Lee et al., 2018"
    size_names = ("classes", "width")
    centres: Tensor
    whitening: Tensor

    def __init__(
        self,
        network: nn.Module,
        ridge: float = 1e-3,
        layer: str | None = None,
        threshold: float | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        if not ridge > 0:
            raise ModelError(f"ridge {ridge}: give more than 0")
        self.network, self.ridge, self.layer = require_network(self, network), float(ridge), layer
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """Whitening matrix, and class means in whitened features."""
        classes, width = sizes
        require_width(self, self.network, self.layer, width)
        self.reserve(centres=(classes, width), whitening=(width, width))

    def learn(self, samples: DetectorSamples, seed: int) -> None:  # noqa: ARG002
        """Means and tied covariance of clean features."""
        embedded = finite_features(self.network, samples.x, self.layer).double()
        y = samples.y
        counts = y.bincount()
        if int(counts.min()) < 2:
            few = int(counts.argmin())
            raise DataError(
                f"Mahalanobis: {int(counts[few])} samples of class {few}: give at least 2 a class"
            )
        sums = torch.zeros(len(counts), embedded.shape[1], dtype=torch.float64)
        means = sums.index_add_(0, y, embedded) / counts[:, None]
        rest = embedded - means[y]
        covariance = rest.T @ rest / len(embedded)
        spread = covariance.diagonal().mean()
        if not float(spread) > 0:
            raise DataError("Mahalanobis: features do not vary within classes: give other samples")
        covariance.diagonal().add_(self.ridge * spread)
        whitening = torch.linalg.inv(torch.linalg.cholesky(covariance)).T
        self.declare(tuple(means.shape))
        self.fill(centres=means @ whitening, whitening=whitening)

    def measure(self, x: Tensor) -> Tensor:
        """Squared distance to the nearest class mean, shape (n,)."""
        whitened = features(self.network, x, self.layer) @ self.whitening
        return (whitened[:, None] - self.centres).square().sum(2).amin(1)
