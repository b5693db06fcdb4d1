"""Detectors before an undefended classifier: AEDPL-DL's protection layer, and ML-Filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tempering.attacks.base import Attack
from tempering.attacks.bim import BIM
from tempering.attacks.cw_linf import CWLinf
from tempering.attacks.deepfool import DeepFool
from tempering.attacks.fgsm import FGSM
from tempering.attacks.pgd import PGD
from tempering.attacks.square import Square
from tempering.core.protocols import Detector
from tempering.core.random import derive
from tempering.data.splits import Splits
from tempering.defenses.estimators import ESTIMATORS
from tempering.defenses.fitting import fit_detector
from tempering.defenses.pipeline import Pipeline
from tempering.systems.layer_attacks import layer_attacks
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System
from tempering.systems.watched import RATE, Watched, by_name, watched

LONG = ("60m", "full")
"""Budgets in which estimators are compared."""
SHARES = (1 / 30, 1 / 6, 1 / 3, 2 / 3, 1.0)
"""Radii at which ML-Filter is measured: 0.01, 0.05, 0.1, 0.2 and 0.3 of a threat of 0.3."""
ATTACKS: tuple[Attack, ...] = (FGSM(), BIM(steps=40), PGD(steps=40), Square(queries=200))
"""What detectors learn from, against the undefended network."""


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
    weakness = (
        "Attacks through the network of its features, and through differentiable copies of it."
    )

    def fit(self, setting: Setting) -> Fitted:
        """Fit the forest on attacks against the undefended network."""
        net, threat = setting.undefended, setting.threat
        seed = derive(setting.seed, self.name)
        fit_features = by_name("discriminator", setting, net, derive(seed, "features"))

        def fit(data: Splits, known: Sequence[Attack], **options: str) -> Detector:
            told = fit_features(data, known)
            return fit_detector(
                "protection_layer",
                net,
                data,
                threat,
                known,
                RATE,
                seed,
                network=told.network,
                **options,
            )

        layer = watched("protection_layer", setting, net, ATTACKS, fit)
        if setting.budget.name in LONG:
            layer = replace(layer, estimators=tuple(ESTIMATORS))
        attacks = layer_attacks(layer.detector, setting)
        return replace(_behind(layer, setting), attacks=attacks)


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
        fit = by_name("ml_filter", setting, net, derive(setting.seed, self.name))
        bounds = watched("ml_filter", setting, net, ATTACKS[:3], fit)
        candidates = (CWLinf(steps=40), DeepFool())
        unknown = tuple(attack for attack in candidates if attack.knows(setting.threat))
        return _behind(replace(bounds, unknown=unknown, shares=SHARES), setting)


def _behind(watch: Watched, setting: Setting) -> Fitted:
    """The undefended network behind a detector that rejects."""
    net, classes = watch.network, setting.data.train.num_classes
    model = Pipeline(net, detector=watch.detector, classes=classes).eval()
    return Fitted(model, net, net, watched=watch)
