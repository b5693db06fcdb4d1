"""Anastasiou's attacker-defender architecture: a discriminator routes to a bank of defenses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.attacks.bim import BIM
from tempering.attacks.fgsm import FGSM
from tempering.attacks.pgd import PGD
from tempering.core.protocols import Transform
from tempering.core.random import RandomStreams, derive
from tempering.core.user_code import device_of
from tempering.defenses.bit_depth import BitDepth
from tempering.defenses.discriminator import Discriminator
from tempering.defenses.jpeg import Jpeg
from tempering.defenses.median import MedianFilter
from tempering.defenses.routing import Routed
from tempering.defenses.tv import TotalVariation
from tempering.systems.adversarial_training import warmup
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System
from tempering.systems.watched import by_name, watched
from tempering.training.objectives.paper import Paper

SAMPLES = 300
"""Validation images on which routes are chosen."""


def bank(channels: int) -> list[Transform | None]:
    """No transform, median filter, JPEG, bit depth and total variation."""
    coded: list[Transform | None] = [Jpeg(50)] if channels in (1, 3) else []
    return [None, MedianFilter(3), *coded, BitDepth(2), TotalVariation(keep=1.0, iterations=20)]


class AttackerDefender(System):
    """A discriminator, a bank of input defenses, and adversarial training behind them."""

    name = "attacker-defender"
    builds_on_undefended = True
    title = "Attacker-defender architecture"
    source = "Anastasiou et al., 2022"
    how = (
        "A network tells clean images and attacks apart; each image goes through the input "
        "defense that was best for its kind, then to an adversarially trained classifier."
    )
    gaps = (
        "The authors give no figures; the discriminator knows FGSM, BIM and PGD, and routes are "
        "chosen on validation images."
    )
    weakness = "Attacks through the chosen defense, and images that the discriminator misroutes."

    def fit(self, setting: Setting) -> Fitted:
        """Train the classifier, then the discriminator, then choose the routes."""
        budget, undefended = setting.budget, setting.undefended
        steps = min(7, budget.attack_steps)
        attacks: tuple[Attack, ...] = (
            FGSM(),
            BIM(steps=steps, until_fooled=False),
            PGD(steps=steps, until_fooled=False),
        )
        net = setting.train(
            setting.network(self.name),
            Paper(attacks=attacks, eps_warmup_steps=warmup(budget.adversarial_steps)),
            budget.adversarial_steps,
            what=self.title,
        )
        fit = by_name("discriminator", setting, undefended, derive(setting.seed, self.name))
        watch = watched("discriminator", setting, undefended, attacks, fit)
        discriminator = watch.detector
        if not isinstance(discriminator, Discriminator):
            raise TypeError(type(discriminator).__name__)
        parts = bank(setting.data.shape[0])
        routes = chosen_routes(setting, net, undefended, attacks, parts)
        model = Routed(net, discriminator, parts, routes, setting.data.train.num_classes).eval()
        names = ["none" if part is None else type(part).__name__ for part in parts]
        kinds = ["clean", *(attack.label() for attack in attacks)]
        details = {"routes": {kind: names[at] for kind, at in zip(kinds, routes, strict=True)}}
        return Fitted(
            model, undefended, undefended, details=details, watched=replace(watch, rejects=False)
        )


def chosen_routes(
    setting: Setting,
    classifier: nn.Module,
    victim: nn.Module,
    attacks: tuple[Attack, ...],
    parts: list[Transform | None],
) -> list[int]:
    """For clean images and each attack the transform with the best validation accuracy."""
    part = setting.data.validation
    part = part.take(min(SAMPLES, len(part)))
    device = device_of(classifier)
    x, y = part.images(torch.arange(len(part))).to(device), part.y.to(device)
    routes = []
    for number, attack in enumerate((None, *attacks)):
        shown = x
        if attack is not None:
            streams = RandomStreams(derive(setting.seed, "routes", number), part.ids.keys)
            shown = attack(victim, x, y, setting.threat, random=streams)
        right = [_right(classifier, shown if one is None else one(shown), y) for one in parts]
        routes.append(right.index(max(right)))
    return routes


def _right(classifier: nn.Module, x: Tensor, y: Tensor) -> int:
    with torch.no_grad():
        return int((classifier(x).argmax(1) == y).sum())
