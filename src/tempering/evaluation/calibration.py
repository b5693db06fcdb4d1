"""How honest a model's probabilities are, and what abstention by conformal sets gains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.calibration_records import CalibrationFigures
from tempering.core.record import Count
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset
from tempering.defenses.confidence import Conformal, all_logits, class_logits, conformal_fewest
from tempering.defenses.fitting_samples import DetectorSamples
from tempering.defenses.temperature import calibration_error, fit_temperature

ALPHA = 0.05
"""Share of conformal sets that may miss the true class if nothing else is said."""


def fewest(alpha: float) -> int:
    """Images to calibrate on at least: with fewer, sets hold every class.

    Example:
        >>> fewest(0.05)
        38
    """
    return 2 * conformal_fewest(alpha)


def calibration(
    network: nn.Module, held: Dataset, test: Dataset, alpha: float = ALPHA, seed: int = 0
) -> CalibrationFigures:
    """Calibrate on held-out images, and measure on test images; all of them clean.

    Temperature scaling (Guo et al., 2017), and conformal sets of least ambiguous classes. Coverage
    holds for images of the same distribution, and not for adversarial ones.

    Args:
        network: From images in [0, 1] to logits.
        held: Images that the network was not trained on, at least `fewest(alpha)`.
        test: Other images.
        alpha: Share of conformal sets that may miss the true class, above 0 and below 1.
        seed: Of ties.

    Returns:
        The figures.

    Raises:
        DataError: If there are too few images for alpha.
    """
    device = device_of(network)
    conformal = Conformal(network, alpha).to(device)
    conformal.fit(DetectorSamples(held.x, held.y), seed)
    logits = class_logits(network, all_logits(network, test.x))
    temperature = fit_temperature(class_logits(network, all_logits(network, held.x)), held.y)
    right = logits.argmax(1) == test.y
    inside = torch.cat([conformal.sets(x.to(device)).cpu() for x in test.chunks()])
    sizes, accepted = inside.sum(1), inside.sum(1) == 1
    coverage = _count(inside.gather(1, test.y[:, None])[:, 0])
    return CalibrationFigures(
        calibrated_on=len(held),
        accuracy=_count(right),
        temperature=temperature,
        calibration_error=calibration_error(logits, test.y),
        calibration_error_scaled=calibration_error(logits, test.y, temperature),
        alpha=alpha,
        coverage=coverage,
        coverage_interval=coverage.interval,
        mean_set_size=float(sizes.double().mean()),
        empty=int((sizes == 0).sum()),
        accepted=_count(accepted),
        accuracy_accepted=_count(right[accepted]),
        seed=seed,
    )


def _count(hits: Tensor) -> Count:
    return Count(hits=int(hits.sum()), n=len(hits))
