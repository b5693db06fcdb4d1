"""Distance to the k-th nearest clean training sample in feature space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import register_defense
from tempering.defenses.distances import distances
from tempering.defenses.features import features, finite_features, require_network, require_width
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples


@register_defense("knn_distance")
class KNNDistance(FittedDetector):
    """Distance of normalised penultimate features to their k-th nearest clean neighbour.

    Deep k-nearest neighbours (Papernot and McDaniel, 2018) with the distance of Sun et al.
    (2022). It is differentiable almost everywhere.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        k: Which neighbour, at least 1.
        samples: Clean training samples to keep at most; drawn by seed if there are more.
        layer: Layer whose input are the features; None for the last linear layer.
        threshold: Distance, 0 to 2, above which an image is flagged.
        sizes: Neighbours kept and width, set by `fit`.

    Raises:
        ModelError: If an option makes no sense, `network` is no module, or it has other features.
    """

    source = "Sun et al., 2022; Papernot and McDaniel, 2018"
    size_names = ("neighbours", "width")
    neighbours: Tensor

    def __init__(
        self,
        network: nn.Module,
        k: int = 10,
        samples: int = 2000,
        layer: str | None = None,
        threshold: float | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        if not 1 <= k <= samples:
            raise ModelError(f"k {k} of {samples} samples: give 1 <= k <= samples")
        self.network = require_network(self, network)
        self.k, self.samples, self.layer = k, samples, layer
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """Normalised features of clean samples."""
        neighbours, width = sizes
        require_width(self, self.network, self.layer, width)
        if neighbours and neighbours < self.k:
            raise ModelError(f"KNNDistance: {neighbours} neighbours for k {self.k}: give k or more")
        self.reserve(neighbours=(neighbours, width))

    def learn(self, samples: DetectorSamples, seed: int) -> None:
        """Keep clean features."""
        self.require(samples.x, self.k)
        draw = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(samples.x), generator=draw)[: self.samples]
        embedded = finite_features(self.network, samples.x[rows], self.layer)
        self.declare(tuple(embedded.shape))
        self.fill(neighbours=nn.functional.normalize(embedded))

    def measure(self, x: Tensor) -> Tensor:
        """Distance to the k-th neighbour, shape (n,)."""
        embedded = nn.functional.normalize(features(self.network, x, self.layer))
        return distances(embedded, self.neighbours).kthvalue(self.k, 1).values
