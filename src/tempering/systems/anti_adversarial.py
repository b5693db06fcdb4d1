"""The anti-adversarial module: a small network that adds the opposite perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from tempering.attacks.fgsm import FGSM
from tempering.attacks.pgd import PGD
from tempering.core.module_copies import copied_module
from tempering.core.random import derive
from tempering.defenses.counter_perturbation import CounterPerturbation
from tempering.defenses.pipeline import Pipeline
from tempering.models.seeded import seeded
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System
from tempering.training.objective import Batch, InnerMaximization, Losses, Objective


@dataclass(frozen=True, eq=False)
class CounterObjective(Objective):
    """Cross-entropy on clean images and on images that were made against the bare classifier.

    Attributes:
        victim: The classifier that is attacked; its weights stay as they are.
        steps: Of PGD, which attacks one third of the images; FGSM attacks another third.
    """

    name: ClassVar[str] = "counter-perturbation"
    source: ClassVar[str] = "Qin et al."
    inner_maximization: ClassVar[InnerMaximization] = "none"

    victim: nn.Module
    steps: int = 7

    def perturb(self, batch: Batch) -> Batch:
        """A third clean, a third by FGSM, a third by PGD, on the bare classifier."""
        x = batch.x.clone()
        for part, attack in ((1, FGSM()), (2, PGD(steps=self.steps))):
            rows = (batch.rows % 3 == part).nonzero()[:, 0].to(x.device)
            if len(rows):
                random = batch.streams[rows.cpu()].derive("attack", part)
                x[rows] = attack(
                    self.victim, batch.x[rows], batch.y[rows], batch.threat, random=random
                )
        return batch.with_x_adv(x)

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy behind the module."""
        logits = model(batch.perturbed).float()
        loss = nn.functional.cross_entropy(logits, batch.y, reduction="none")
        return Losses(loss, logits.detach())


class AntiAdversarial(System):
    """A module before an undefended classifier, trained on attacks that do not know it."""

    name = "anti-adversarial"
    builds_on_undefended = True
    title = "Anti-adversarial module"
    source = "Qin et al."
    how = "A small network adds a perturbation against the attacker's before classification."
    gaps = (
        "Architecture and losses are inferred: three convolutions, changes up to eps, and "
        "cross-entropy on thirds of clean, FGSM and PGD images; the classifier is frozen."
    )
    weakness = "Gradients through the module."

    def fit(self, setting: Setting) -> Fitted:
        """Train the module before the frozen undefended network."""
        undefended = setting.undefended
        limit = min(1.0, setting.threat.eps) if setting.threat.name == "linf" else 0.5
        with seeded(derive(setting.seed, self.name)):
            module = CounterPerturbation(setting.data.shape[0], limit)
        classifier = copied_module(undefended)
        for parameter in classifier.parameters():
            parameter.requires_grad_(False)
        model = Pipeline(classifier, [module], classes=setting.data.train.num_classes)
        net = setting.train(
            model,
            CounterObjective(undefended, min(7, setting.budget.attack_steps)),
            setting.budget.adversarial_steps,
            what=self.title,
        )
        return Fitted(net, undefended, undefended)
