"""The protection layer: an estimator on CNN features in front of the classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import tempering.defenses.neighbour_vote
import tempering.defenses.trees  # noqa: F401  registers its estimators
from tempering.core.errors import ModelError
from tempering.core.protocols import register_defense
from tempering.defenses.distillation import distil, surrogate_network
from tempering.defenses.estimators import ESTIMATORS, Estimator
from tempering.defenses.features import features, finite_features, require_network, require_width
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples


@register_defense("protection_layer")
class ProtectionLayer(FittedDetector):
    """Probability that an image is adversarial, by an estimator on features of a CNN.

    The layer of AEDPL-DL. It is fitted to clean and adversarial samples, 1:1. Trees and votes
    have no gradient; attacks use that of a small network on the same features, distilled from
    the estimator's scores in `fit` and saved with it. XGBoost and Fuzzy ARTMAP are left out.

    Args:
        network: CNN whose features are used: the classifier, or a CNN of the layer's own, such
            as `Discriminator.network`; shared, not copied.
        estimator: `random_forest`, `knn` or `gradient_boosting`.
        members: Trees, or neighbours that vote; by default 50 trees or 5 neighbours.
        samples: Pairs of a clean and an adversarial image to learn from at most, drawn by seed.
        layer: Layer whose input are the features; None for the last linear layer.
        threshold: Probability above which an image is flagged.
        sizes: Those of the estimator, set by `fit`.

    Raises:
        UnknownNameError: If there is no such estimator.
        ModelError: If an option makes no sense, `network` is no module, or it has other features.
    """

    input_gradient = "approximation"
    source = "Al-Andoli et al., 2024"
    needs_attacks = True
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        estimator: str = "random_forest",
        members: int | None = None,
        samples: int = 2000,
        layer: str | None = None,
        threshold: float | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        self.size_names = ESTIMATORS[estimator].size_names  # type: ignore[misc]
        if members is None:
            members = 5 if estimator == "knn" else 50
        for name, value in (("members", members), ("samples", samples)):
            if value < 1:
                raise ModelError(f"{name} {value}: give at least 1")
        self.network = require_network(self, network)
        self.estimator, self.members, self.samples = estimator, members, samples
        self.layer = layer
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """Scale of the features, the estimator, and the network that imitates it."""
        width = sizes[0]
        require_width(self, self.network, self.layer, width)
        self.reserve(mean=(width,), deviation=(width,))
        if width:
            device = self.threshold.device
            self.judge: Estimator = ESTIMATORS[self.estimator].blank(sizes).to(device)
            self.surrogate = surrogate_network(width).to(device)

    def learn(self, samples: DetectorSamples, seed: int) -> None:
        """Fit the estimator, then the network that imitates it."""
        x_adv, _ = samples.adversarial()
        draw = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(x_adv), generator=draw)[: self.samples]
        pairs = (samples.x[rows], x_adv[rows])
        both = [finite_features(self.network, x, self.layer) for x in pairs]
        embedded = torch.cat(both)
        labels = torch.cat([torch.full((len(part),), at) for at, part in enumerate(both)])
        mean, deviation = embedded.mean(0), embedded.std(0)
        deviation = torch.where(deviation > 0, deviation, 1.0)
        scaled = (embedded - mean) / deviation
        judge = ESTIMATORS[self.estimator].fitted(scaled, labels, self.members, seed)
        surrogate = surrogate_network(scaled.shape[1])
        distil(surrogate, judge, scaled, seed)
        self.declare(judge.sizes)
        self.fill(mean=mean, deviation=deviation)
        self.judge.load_state_dict(judge.state_dict())
        self.surrogate.load_state_dict(surrogate.state_dict())

    def scaled(self, x: Tensor) -> Tensor:
        """Features of mean 0 and deviation 1 on the training samples, shape (n, width)."""
        return (features(self.network, x, self.layer) - self.mean) / self.deviation

    def measure(self, x: Tensor) -> Tensor:
        """Probability, shape (n,)."""
        probability: Tensor = self.judge(self.scaled(x))
        return probability

    def approximation(self, x: Tensor) -> Tensor:
        """Log odds from the network that imitates the estimator, shape (n,)."""
        odds: Tensor = self.surrogate(self.scaled(x))
        return odds[:, 0]
