"""Adversarial training by PGD (Madry et al., 2018) and TRADES (Zhang et al., 2019)."""

from __future__ import annotations

from tempering.attacks.pgd import PGD
from tempering.core.threats import Linf
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System
from tempering.training.objectives.paper import Paper
from tempering.training.objectives.trades import Trades

WARMUP = 0.3
"""Share of the steps over which eps grows."""


def warmup(steps: int) -> int:
    """Steps over which eps grows to the threat's."""
    return int(WARMUP * steps)


class Madry(System):
    """Every image of every mini-batch is attacked by PGD."""

    name = "madry"
    title = "Adversarial training (PGD)"
    source = "Madry et al., 2018"
    claimed = 0.885
    claim = "robust accuracy under AutoAttack, L-inf eps 0.3, of the authors' network"
    how = "Cross-entropy on images that PGD with 40 steps of 0.01 attacks at every step."
    gaps = "A smaller network than the authors'; eps grows over the first third of the steps."
    weakness = "None: the figure stands under adaptive attacks."

    def fit(self, setting: Setting) -> Fitted:
        """Train on adversarial images alone."""
        budget = setting.budget
        attack_steps = min(40, budget.attack_steps)
        size = 0.01 if attack_steps == 40 and setting.threat == Linf(0.3) else None
        objective = Paper(
            clean=0.0,
            noisy=0.0,
            adversarial=1.0,
            alpha=0.0,
            attacks=(PGD(steps=attack_steps, step_size=size, until_fooled=False),),
            eps_warmup_steps=warmup(budget.adversarial_steps),
        )
        net = setting.train(
            setting.network(self.name), objective, budget.adversarial_steps, what=self.title
        )
        shortened = () if attack_steps == 40 else (f"PGD has {attack_steps} steps instead of 40",)
        return Fitted(net, setting.undefended, setting.undefended, shortened=shortened)


class TradesTraining(System):
    """TRADES."""

    name = "trades"
    title = "TRADES"
    source = "Zhang et al., 2019"
    claimed = 0.9401
    claim = "robust accuracy under AutoAttack, L-inf eps 0.3, of a network of 0.31 M parameters"
    how = "Clean cross-entropy, and a divergence between the answers on an image and near it."
    gaps = "Inner steps are limited by the budget; the authors make 40."
    weakness = "None: the figure stands under adaptive attacks."

    def fit(self, setting: Setting) -> Fitted:
        """Train with beta 6."""
        budget = setting.budget
        steps = min(10, budget.attack_steps)
        objective = Trades(steps=steps, eps_warmup_steps=warmup(budget.adversarial_steps))
        net = setting.train(
            setting.network(self.name), objective, budget.adversarial_steps, what=self.title
        )
        return Fitted(
            net,
            setting.undefended,
            setting.undefended,
            shortened=(f"{steps} inner steps instead of 40",),
        )
