"""How far the Gram matrix of an image's features lies outside the range of its class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, ModelError
from tempering.core.frozen import frozen
from tempering.core.protocols import register_defense
from tempering.core.user_code import device_of
from tempering.defenses.features import BATCH_SIZE, require_network
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples
from tempering.defenses.gram_matrices import gram_features, observed

FEWEST = 5
"""Samples of a class that a range needs."""
LEAST_SPREAD = 0.1
"""Least deviation of an entry within a class, in deviations over all classes."""


@register_defense("gram")
class Gram(FittedDetector):
    """Deviation of Gram matrices from the range of clean samples of the predicted class.

    The run-time part of Beatrix: Gram matrices of features raised to several powers, and for each
    entry and class the range of clean samples. The score is the logarithm of 1 + the mean squared
    excess. Ranges are standard deviations around the median: Beatrix's median absolute deviations
    vanish for entries that are mostly zero. Its test of whole classes (regularised MMD) is left
    out.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        powers: Highest power of the features, at least 1.
        width: Half the range, in standard deviations, above 0.
        layer: Layer whose input are the features; None for the last linear layer.
        threshold: Score above which an image is flagged.
        sizes: Classes and entries, set by `fit`.

    Raises:
        ModelError: If an option makes no sense, or `network` is no module.
    """

    source = "Ma et al., 2023"
    size_names = ("classes", "entries")
    medians: Tensor
    spreads: Tensor

    def __init__(
        self,
        network: nn.Module,
        powers: int = 4,
        width: float = 2.0,
        layer: str | None = None,
        threshold: float | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        if powers < 1 or not width > 0:
            raise ModelError(f"powers {powers}, width {width}: give at least 1, and more than 0")
        self.network = require_network(self, network)
        self.powers, self.width, self.layer = powers, float(width), layer
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """Median and deviation of each class and entry."""
        self.reserve(medians=tuple(sizes), spreads=tuple(sizes))

    def learn(self, samples: DetectorSamples, seed: int) -> None:  # noqa: ARG002
        """Medians and deviations of clean samples, by their labels."""
        device, held = device_of(self.network), []
        with frozen(self.network) as view, observed(view, self.layer) as ask, torch.no_grad():
            for part in torch.split(samples.x, BATCH_SIZE):
                held.append(gram_features(ask(part.to(device))[1], self.powers).cpu())
        entries = torch.cat(held).float()
        counts = samples.y.bincount()
        if int(counts.min()) < FEWEST:
            few = int(counts.argmin())
            raise DataError(
                f"Gram: {int(counts[few])} samples of class {few}: give at least {FEWEST} a class"
            )
        parts = [entries[samples.y == label] for label in range(len(counts))]
        medians = torch.stack([part.median(0).values for part in parts])
        spreads = torch.stack([part.std(0) for part in parts])
        self.declare((len(counts), entries.shape[1]))
        overall = entries.std(0)
        floor = (LEAST_SPREAD * overall).maximum(LEAST_SPREAD**2 * overall.mean())
        if not float(floor.min()) > 0:
            raise DataError("Gram: features do not vary: give other samples")
        self.fill(medians=medians, spreads=spreads.maximum(floor))

    def measure(self, x: Tensor) -> Tensor:
        """Logarithm of 1 + the mean squared excess, at least 0, shape (n,)."""
        with observed(self.network, self.layer) as ask:
            logits, features = ask(x)
        entries = gram_features(features, self.powers)
        if entries.shape[1] != self.medians.shape[1]:
            raise ModelError(
                f"Gram was fitted to {self.medians.shape[1]} entries and its network gives "
                f"{entries.shape[1]}: give the network that it was fitted with"
            )
        predicted = logits[:, : len(self.medians)].argmax(1)
        away = (entries - self.medians[predicted]).abs() / self.spreads[predicted]
        return (away - self.width).clamp_min(0).square().mean(1).log1p()
