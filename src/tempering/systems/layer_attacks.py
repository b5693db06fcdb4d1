"""Attacks on the protection layer through the network whose features it judges."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.attacks.apgd import APGDCE
from tempering.attacks.base import Attack
from tempering.attacks.transfer import Transfer
from tempering.core.protocols import Detector
from tempering.defenses.calibration import calibrate
from tempering.defenses.pipeline import Pipeline
from tempering.defenses.protection_layer import ProtectionLayer
from tempering.systems.setting import Setting

RATES = (0.8, 0.95, 0.99)
"""Shares of clean validation images that the attacker's copies of the layer flag."""
STEPS, IMAGES = 300, 2000
"""Gradient steps on each copy; validation images on which its threshold is set."""


class AttackOdds(Detector):
    """Log odds, from a network that tells clean images from attacks, that an image is no clean one.

    Args:
        network: From images to logits, of which the first stands for clean images.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def score(self, x: Tensor) -> Tensor:
        """Log odds, shape (n,)."""
        logits: Tensor = self.network(x)
        odds: Tensor = logits[:, 1:].logsumexp(1) - logits[:, 0]
        return odds


def layer_attacks(layer: Detector, setting: Setting) -> tuple[Attack, ...]:
    """APGD on copies of the system that are differentiable, and stricter than the layer itself.

    A forest has no gradient, but the network of its features has: images that its own logits take
    for very clean have features that the forest takes for clean.

    Args:
        layer: The protection layer, on features of a network with logits of its own.
        setting: Of the system; validation images set the thresholds.
    """
    if not isinstance(layer, ProtectionLayer):
        return ()
    data = setting.data.validation
    x = data.images(torch.arange(min(IMAGES, len(data))))
    attacks = []
    for rate in RATES:
        copy = AttackOdds(layer.network).to(setting.engine.device).eval()
        calibrate(copy, x, rate)
        net, classes = setting.undefended, setting.data.train.num_classes
        system = Pipeline(net, detector=copy, classes=classes).eval()
        attacks.append(Transfer(APGDCE(steps=STEPS), system))
    return tuple(attacks)
