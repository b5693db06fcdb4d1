"""The detector of a system, and what it is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import nn

from tempering.attacks.base import Attack
from tempering.core.protocols import Detector
from tempering.data.splits import Splits
from tempering.defenses.fitting import fit_detector
from tempering.systems.setting import Setting

RATE = 0.05
"""Share of clean validation images that may be flagged."""
SAMPLES = 2000
"""Clean training images of a detector, and as many adversarial ones."""
LEAST, TO_TEST = 200, 2
"""Training images of a detector that is fitted again: at least, and for each test image."""
CALIBRATED_ON = 1000
"""Clean validation images, at most, for the threshold of a detector that is fitted again."""


class Fit(Protocol):
    """Fits a detector to training images, and sets its threshold on validation images."""

    def __call__(self, data: Splits, known: Sequence[Attack], **options: str) -> Detector:
        """A calibrated detector; options are those of its constructor."""
        ...


class Refit(Protocol):
    """Fits a detector again, to fewer images."""

    def __call__(self, known: Sequence[Attack], **options: str) -> Detector:
        """A calibrated detector; options are those of its constructor."""
        ...


@dataclass(frozen=True, eq=False)
class Watched:
    """A detector within a system.

    Attributes:
        detector: Fitted and calibrated.
        name: As messages and tables call it.
        network: What was attacked for its fit.
        attacks: What it was fitted to.
        refit: From attacks to a detector like it.
        fitted_on: How many clean training images it was fitted to.
        refit_on: To how many a detector like it is.
        available: How many there are.
        rejects: Whether the system abstains where it flags.
        unknown: Attacks that it was not fitted to.
        shares: Parts of the threat's radius at which it is measured too.
        estimators: Values of its option `estimator` to compare; none if it has no such option.
    """

    detector: Detector
    name: str
    network: nn.Module
    attacks: tuple[Attack, ...]
    refit: Refit
    fitted_on: int
    refit_on: int
    available: int
    rejects: bool = True
    unknown: tuple[Attack, ...] = ()
    shares: tuple[float, ...] = ()
    estimators: tuple[str, ...] = ()

    @property
    def shortened(self) -> tuple[str, ...]:
        """How its fits differ from those on all training images, in words."""
        said = []
        if self.fitted_on < self.available:
            said.append(f"the detector was fitted to {self.fitted_on} training images")
        if self.refit_on < self.fitted_on:
            said.append(f"detectors without one attack were fitted to {self.refit_on}")
        return tuple(said)


def some(data: Splits, samples: int = SAMPLES) -> Splits:
    """The data with few enough training images for a detector."""
    return replace(data, train=data.train.take(min(samples, len(data.train))))


def by_name(name: str, setting: Setting, network: nn.Module, seed: int) -> Fit:
    """Fits a detector of `DEFENSES` to attacks on a network."""

    def fit(data: Splits, known: Sequence[Attack], **options: str) -> Detector:
        return fit_detector(name, network, data, setting.threat, known, RATE, seed, **options)

    return fit


def watched(
    name: str, setting: Setting, network: nn.Module, attacks: tuple[Attack, ...], fit: Fit
) -> Watched:
    """Fit a detector, so that it can be fitted again to other attacks.

    Args:
        name: As messages and tables call it.
        setting: Data and budget.
        network: What attacks attack.
        attacks: What it is fitted to.
        fit: Fits it.
    """
    enough = some(setting.data)
    few = some(setting.data, min(SAMPLES, max(LEAST, TO_TEST * setting.budget.samples)))
    validation = few.validation
    few = replace(few, validation=validation.take(min(CALIBRATED_ON, len(validation))))

    def refit(known: Sequence[Attack], **options: str) -> Detector:
        return fit(few, known, **options)

    return Watched(
        detector=fit(enough, attacks),
        name=name,
        network=network,
        attacks=attacks,
        refit=refit,
        fitted_on=len(enough.train),
        refit_on=len(few.train),
        available=len(setting.data.train),
    )
