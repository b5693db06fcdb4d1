"""The study of FGSM by Wibawa: how far accuracy falls with eps."""

from __future__ import annotations

import torch

from tempering.attacks.fgsm import FGSM
from tempering.core.published import FGSM_EPS, FGSM_FALL
from tempering.core.threats import Linf
from tempering.core.user_code import device_of
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System

RADII = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


class FGSMStudy(System):
    """No defense: the accuracy of an undefended network under FGSM, against eps."""

    name = "fgsm-study"
    builds_on_undefended = True
    title = "FGSM study"
    source = "Wibawa, 2023"
    how = "FGSM against an undefended network, eps 0 to 0.3."
    gaps = (
        f"Accuracy falls '{FGSM_FALL:.0%}' at eps {FGSM_EPS:g}: to {FGSM_FALL:.0%}, or by "
        f"{FGSM_FALL:.0%} to {1 - FGSM_FALL:.0%} of what it was."
    )
    weakness = "A single step: iterative attacks break more."

    def fit(self, setting: Setting) -> Fitted:
        """Attack the undefended network at each eps, on validation images."""
        net, part = setting.undefended, setting.data.validation
        part = part.take(min(setting.budget.samples, len(part)))
        device = device_of(net)
        x, y = part.images(torch.arange(len(part))).to(device), part.y.to(device)
        right: dict[str, int] = {}
        for eps in RADII:
            x_adv = FGSM()(net, x, y, Linf(eps)) if eps else x
            with torch.no_grad():
                right[f"{eps:g}"] = int((net(x_adv).argmax(1) == y).sum())
        details = {"fgsm_on_validation": right, "n": len(part)}
        return Fitted(net, net, net, details=details)
