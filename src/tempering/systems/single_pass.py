"""Single-pass adversarial training, the 'adversarial training technique' of the paper's Table V."""

from __future__ import annotations

from tempering.core.random import derive
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System
from tempering.training.objectives.single_pass import SinglePass


class SinglePassTraining(System):
    """Adversarial copies are made once, then the network is trained on both."""

    name = "single-pass"
    builds_on_undefended = True
    title = "Single-pass adversarial training"
    source = "Goodfellow, Shlens and Szegedy, 2015, without retraining"
    claimed = 0.985
    claim = "clean accuracy, Table V of the paper"
    how = "The undefended model is attacked once; training uses the clean images and these copies."
    gaps = "No attack is named: half of the copies are made by PGD, half by its margin variant."
    weakness = "New adversarial images of the new weights."

    def fit(self, setting: Setting) -> Fitted:
        """Train on clean images and copies."""
        undefended, train = setting.undefended, setting.data.train
        seen = setting.budget.standard_steps * setting.batch_size
        data, objective = SinglePass().prepare(
            train.take(min(seen, len(train))),
            undefended,
            setting.threat,
            derive(setting.seed, self.name),
        )
        net = setting.train(
            setting.network(self.name),
            objective,
            setting.budget.standard_steps,
            what=self.title,
            data=data,
        )
        return Fitted(net, undefended, undefended)
