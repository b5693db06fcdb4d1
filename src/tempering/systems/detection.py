"""Detectors before an undefended classifier: AEDPL-DL's protection layer, and ML-Filter."""

from __future__ import annotations

from dataclasses import replace

from tempering.attacks.base import Attack
from tempering.attacks.bim import BIM
from tempering.attacks.fgsm import FGSM
from tempering.attacks.pgd import PGD
from tempering.attacks.square import Square
from tempering.core.random import derive
from tempering.data.splits import Splits
from tempering.defenses.fitting import fit_detector
from tempering.defenses.pipeline import Pipeline
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System

RATE = 0.05
"""Share of clean validation images that may be flagged."""
SAMPLES = 2000
"""Clean training images of a detector, and as many adversarial ones."""

ATTACKS: tuple[Attack, ...] = (FGSM(), BIM(steps=40), PGD(steps=40), Square(queries=200))
"""What detectors learn from, against the undefended network."""


def some(data: Splits) -> Splits:
    """The data with few enough training images for a detector."""
    return replace(data, train=data.train.take(min(SAMPLES, len(data.train))))


class ProtectionLayer(System):
    """Features of the classifier, and a random forest that rejects."""

    name = "aedpl-dl"
    builds_on_undefended = True
    title = "AEDPL-DL protection layer"
    source = "Al-Andoli et al., 2024"
    claimed = 0.9862
    claim = "accuracy, Table V of the paper"
    how = (
        "A random forest on the features of a CNN rejects what resembles FGSM, BIM, PGD and Square "
        "images."
    )
    gaps = (
        "The CNN of the features learns to tell clean images from attacks; half of its images are "
        f"adversarial; the threshold flags {RATE:.0%} of clean validation images; the authors "
        "leave rejected images out of accuracy."
    )
    weakness = "Attacks through a differentiable copy of the detector."

    def fit(self, setting: Setting) -> Fitted:
        """Fit the forest on attacks against the undefended network."""
        net, some_data = setting.undefended, some(setting.data)
        seed = derive(setting.seed, self.name)
        told = fit_detector(
            "discriminator", net, some_data, setting.threat, ATTACKS, RATE, derive(seed, "features")
        )
        detector = fit_detector(
            "protection_layer",
            net,
            some_data,
            setting.threat,
            ATTACKS,
            RATE,
            seed,
            network=told.network,
        )
        model = Pipeline(net, detector=detector, classes=setting.data.train.num_classes).eval()
        return Fitted(model, net, net)


class MLFilter(System):
    """Distances from clean data, within bounds that the attacks' distances set."""

    name = "ml-filter"
    builds_on_undefended = True
    title = "ML-Filter, evasion copies"
    source = "Lavanya Sanapala and Gondi, 2024"
    claimed = 0.9963
    claim = "known attacks that are detected"
    how = "Images whose distance to clean data exceeds a statistical bound are quarantined."
    gaps = "Whitened PCA, nearest clean distance and the 99th percentile are inferred."
    weakness = "False positives on clean images, and small eps."

    def fit(self, setting: Setting) -> Fitted:
        """Fit the bounds on training images and attacked copies."""
        net = setting.undefended
        detector = fit_detector(
            "ml_filter",
            net,
            some(setting.data),
            setting.threat,
            ATTACKS[:3],
            RATE,
            derive(setting.seed, self.name),
        )
        model = Pipeline(net, detector=detector, classes=setting.data.train.num_classes).eval()
        return Fitted(model, net, net)
