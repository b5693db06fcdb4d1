"""Abstention where a model is not sure: after temperature scaling, or by conformal sets."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, ModelError
from tempering.core.frozen import frozen
from tempering.core.protocols import register_defense
from tempering.core.user_code import device_of
from tempering.defenses.features import BATCH_SIZE, require_network
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples
from tempering.defenses.temperature import fit_temperature


class Confidence(FittedDetector):
    """A detector that goes by the logits of a classifier, divided by a temperature.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        threshold: Score above which an image is flagged.
        sizes: Classes, set by `fit`.

    Raises:
        ModelError: If an option makes no sense, or `network` is no module.
    """

    size_names = ("classes",)
    held_out: ClassVar[bool] = True
    temperature: Tensor

    def __init__(
        self, network: nn.Module, threshold: float | None = None, sizes: Sequence[int] = ()
    ) -> None:
        super().__init__(threshold)
        self.network = require_network(self, network)
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:  # noqa: ARG002
        """The temperature."""
        self.reserve(temperature=())

    def learn(self, samples: DetectorSamples, seed: int) -> None:  # noqa: ARG002
        """Fit the temperature to samples that the network was not trained on."""
        logits = class_logits(self.network, all_logits(self.network, samples.x))
        self.declare((logits.shape[1],))
        self.fill(temperature=torch.tensor(fit_temperature(logits, samples.y)))

    def measure(self, x: Tensor) -> Tensor:
        """Score, shape (n,)."""
        logits: Tensor = self.network(x.clone())
        return self.doubt(logits[:, : self.sizes[0]] / self.temperature)

    @abstractmethod
    def doubt(self, scaled: Tensor) -> Tensor:
        """Scores from scaled logits, shape (n, classes): shape (n,), larger for less sure."""


@register_defense("max_softmax")
class MaxSoftmax(Confidence):
    """1 minus the largest probability after temperature scaling.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        threshold: Score, 0 to 1, above which an image is flagged.
        sizes: Classes, set by `fit`.

    Raises:
        ModelError: If `network` is no module.
    """

    source = "Hendrycks and Gimpel, 2017; Guo et al., 2017"

    def doubt(self, scaled: Tensor) -> Tensor:
        """1 minus the largest probability, as the sum of the others: it is exact near 0."""
        ranked = scaled.sort(1, descending=True).values
        return torch.sigmoid(ranked[:, 1:].logsumexp(1) - ranked[:, 0])


@register_defense("energy")
class Energy(Confidence):
    """Free energy of the logits after temperature scaling; it has no fixed range.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        threshold: Score above which an image is flagged.
        sizes: Classes, set by `fit`.

    Raises:
        ModelError: If `network` is no module.
    """

    source = "Liu et al., 2020; Guo et al., 2017"

    def doubt(self, scaled: Tensor) -> Tensor:
        """Negative logarithm of the sum of exponentials."""
        return -scaled.logsumexp(1)


@register_defense("conformal")
class Conformal(Confidence):
    """Abstention where a conformal set does not hold exactly one class.

    A set holds all classes whose probability, after temperature scaling, is at least 1 minus the
    quantile. Split conformal prediction: sets hold the true class of a new sample from the same
    distribution with probability 1 - alpha. That does not hold for adversarial images. A score
    above 0 means that the set holds no class or several; 0 is the threshold that `fit` sets.

    Args:
        network: From images in [0, 1] to logits; shared, not copied.
        alpha: Share of sets that may miss the true class, above 0 and below 1.
        threshold: Score above which an image is flagged.
        sizes: Classes, set by `fit`.

    Raises:
        ModelError: If alpha is out of range, or `network` is no module.
    """

    source = "Vovk, Gammerman and Shafer, 2005; Sadinle, Lei and Wasserman, 2019"
    quantile: Tensor

    def __init__(
        self,
        network: nn.Module,
        alpha: float = 0.05,
        threshold: float | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        if not 0 < alpha < 1:
            raise ModelError(f"alpha {alpha}: give a share above 0 and below 1, such as 0.05")
        self.alpha = float(alpha)
        super().__init__(network, threshold, sizes)

    def allocate(self, *sizes: int) -> None:
        """The temperature and the quantile."""
        super().allocate(*sizes)
        self.reserve(quantile=())

    def learn(self, samples: DetectorSamples, seed: int) -> None:
        """Fit the temperature to half of the samples, and the quantile to the other half.

        Raises:
            DataError: If there are too few samples for alpha.
        """
        order = torch.randperm(len(samples.y), generator=torch.Generator().manual_seed(seed))
        first, second = order[::2], order[1::2]
        fewest = conformal_fewest(self.alpha)
        if len(second) < fewest:
            raise DataError(
                f"{len(samples.y)} samples to calibrate temperature and conformal sets on, half of "
                f"them each, for alpha {self.alpha:g}: give at least {2 * fewest}"
            )
        logits = class_logits(self.network, all_logits(self.network, samples.x))
        self.declare((logits.shape[1],))
        temperature = fit_temperature(logits[first], samples.y[first])
        quantile = conformal_quantile(logits[second] / temperature, samples.y[second], self.alpha)
        self.fill(temperature=torch.tensor(temperature), quantile=torch.tensor(quantile))
        self.threshold.fill_(0.0)

    def sets(self, x: Tensor) -> Tensor:
        """Whether each class is in the set of each image, shape (n, classes), bool.

        Raises:
            ModelError: If it is not fitted.
        """
        self.require_fitted()
        scaled: Tensor = self.network(x.clone())[:, : self.sizes[0]] / self.temperature
        return 1 - scaled.softmax(1) <= self.quantile

    def doubt(self, scaled: Tensor) -> Tensor:
        """By how much the second class is within the set, or the first one outside."""
        least = 1 - self.quantile
        first, second = scaled.softmax(1).topk(2, dim=1).values.unbind(1)
        return torch.maximum(second - least, least - first)


def conformal_rank(n: int, alpha: float) -> int:
    """The rank, from 1, of the calibration score that bounds a set.

    Raises:
        DataError: If there are too few samples for alpha.
    """
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)
    if rank > n:
        raise DataError(
            f"{n} samples to calibrate conformal sets on, for alpha {alpha:g}: "
            f"give at least {conformal_fewest(alpha)}"
        )
    return rank


def conformal_fewest(alpha: float) -> int:
    """Samples to calibrate on at least: with fewer, sets hold every class.

    Example:
        >>> conformal_fewest(0.05)
        19
    """
    return math.ceil(1 / alpha - 1e-9) - 1


def conformal_quantile(scaled: Tensor, y: Tensor, alpha: float) -> float:
    """The bound on 1 minus the probability of a class, below which it is in the set.

    Args:
        scaled: Logits over the temperature, shape (n, classes), of calibration samples.
        y: Labels, shape (n,).
        alpha: Share of sets that may miss the true class.

    Raises:
        DataError: If there are too few samples for alpha.

    Example:
        >>> logits = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]]).log()
        >>> round(conformal_quantile(logits, torch.tensor([0, 0, 0]), alpha=0.25), 2)
        0.4
    """
    rank = conformal_rank(len(y), alpha)
    scores = 1 - scaled.softmax(1).gather(1, y[:, None])[:, 0]
    return float(scores.sort().values[rank - 1])


def class_logits(network: nn.Module, logits: Tensor) -> Tensor:
    """Logits without that of an adversarial class, shape (n, classes)."""
    flag = getattr(network, "adversarial_class", None)
    return logits[:, :flag] if isinstance(flag, int) else logits


def all_logits(network: nn.Module, x: Tensor) -> Tensor:
    """Logits of many images, without gradients, on the CPU, float32.

    Raises:
        DataError: If there are no images.
        ModelError: If they are not finite.
    """
    device = device_of(network)
    with frozen(network) as view, torch.no_grad():
        parts = [view(part.to(device)).float().cpu() for part in torch.split(x, BATCH_SIZE)]
    if not parts:
        raise DataError("no images to compute logits of: give at least 1")
    logits = torch.cat(parts)
    bad = (~logits.isfinite().all(1)).nonzero()[:, 0]
    if len(bad):
        raise ModelError(
            f"logits of {type(network).__name__} for image {int(bad[0])} are not finite: "
            "give a network with finite logits"
        )
    return logits
