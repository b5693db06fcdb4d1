"""Guards of a training: faults that are seen as they happen, on held-back samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tempering.attacks.fgsm import FGSM
from tempering.attacks.pgd import PGD
from tempering.core.engine import Engine
from tempering.core.notes import note
from tempering.core.probe import probing
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.training.learner import Learner
from tempering.training.step_values import Weights, copied

HELD_BACK = 128
"""Validation samples that guards look at."""
STRONG = PGD(10, until_fooled=False)
"""The multi-step attack beside FGSM."""
_GAP, _WIDE_GAP = 0.2, 0.5
"""Single-step less multi-step accuracy that is overfitting: after a fall by half, and alone."""
_PATIENCE, _LEAST = 1 / 3, 200
"""Share of the training, and steps at least, for which a fault lasts before training stops."""


@dataclass
class GuardState:
    """What guards have seen.

    Attributes:
        checked: Step of the last check.
        good: Weights of the last check without overfitting.
        share: Share of the full eps at the last check.
        best: Best multi-step accuracy so far at this eps, a fraction.
        switched: Step at which a multi-step objective took over; -1 if none did.
        constant_since: Step since which all predictions are one class; -1 if they are not.
        uncertified_since: Step since which nothing is certified at full eps; -1 if something is.
        stop: Why training must stop; empty to go on.
    """

    checked: int = 0
    good: Weights = field(default_factory=dict)
    share: float = 0.0
    best: float = 0.0
    switched: int = -1
    constant_since: int = -1
    uncertified_since: int = -1
    stop: str = ""


@dataclass(frozen=True)
class Guard:
    """Looks at held-back samples every few steps.

    Catastrophic overfitting (Wong, Rice and Kolter, 2020): a network that withstands the single
    step it is trained with, and nothing else. The last good weights are restored, and a
    multi-step objective takes over. Collapse, a constant prediction or bounds that certify
    nothing past the ramp, ends training.

    Attributes:
        data: Held-back samples.
        engine: Where to compute.
        every: Steps between checks; 0 for none.
    """

    data: Dataset
    engine: Engine
    every: int

    @classmethod
    def of(cls, validation: Dataset, engine: Engine, every: int) -> Guard:
        """A guard that looks at the first validation samples."""
        return cls(validation.first(min(HELD_BACK, len(validation))), engine, every)

    def due(self, step: int, state: GuardState) -> bool:
        """Whether a step is to be checked, and was not."""
        return self.every > 0 and step > 0 and step % self.every == 0 and state.checked != step

    def check(self, learner: Learner, state: GuardState) -> None:
        """Look at the weights of a training; restore and switch, or say why it must stop."""
        state.checked = learner.step
        x = self.data.images(torch.arange(len(self.data))).to(self.engine.device)
        y = self.data.y.to(self.engine.device)
        share = learner.objective.ramp(learner.step - 1, learner.batches.steps)
        full = learner.config.threat
        threat = full.with_eps(full.eps * share) if share < 1 else full
        self._collapse(learner, state, x, y, threat, share)
        if learner.objective.multi_step() is not None and threat.eps > 0 and FGSM().knows(threat):
            self._overfitting(learner, state, x, y, threat, share)

    def _overfitting(
        self,
        learner: Learner,
        state: GuardState,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        share: float,
    ) -> None:
        single, multi = self.engine.broadcast(
            tuple(
                _accuracy(learner.model, attack(learner.model, x, y, threat), y)
                for attack in (FGSM(), STRONG)
            )
        )
        gap = single - multi
        if not (gap > _WIDE_GAP or (gap > _GAP and multi < state.best / 2)):
            grown, state.share = share > state.share, share
            state.best = multi if grown else max(state.best, multi)
            if multi >= 0.9 * state.best:
                state.good = copied(learner.model.state_dict())
            return
        after = learner.objective.multi_step()
        if after is None:
            return
        before, learner.objective = learner.objective.name, after
        state.switched = learner.step
        restored = "restores the last good weights" if state.good else "keeps the weights"
        note(
            f"catastrophic overfitting at step {learner.step}: {100 * single:.0f} % withstand one "
            f"step of attack, {100 * multi:.0f} % withstand {STRONG.steps}: training {restored} "
            f"and goes on with {after.spec()} in place of {before}"
        )
        learner.return_to(state.good or copied(learner.model.state_dict()))

    def _collapse(
        self,
        learner: Learner,
        state: GuardState,
        x: Tensor,
        y: Tensor,
        threat: Threat,
        share: float,
    ) -> None:
        step, patience = learner.step, max(_LEAST, _PATIENCE * learner.batches.steps)
        with probing(learner.model) as probe:
            answers = probe.logits(x).argmax(1)
            proven = learner.objective.certifies(probe.model, x, y, threat)
        constant = bool((answers == answers[0]).all()) and bool((y != y[0]).any())
        state.constant_since = _since(constant, state.constant_since, step)
        nothing = proven is not None and share == 1 and not bool(proven.any())
        state.uncertified_since = _since(nothing, state.uncertified_since, step)
        if constant and step - state.constant_since >= patience:
            state.stop = (
                f"Collapse(constant prediction): class {int(answers[0])} for all {len(y)} "
                f"held-back samples since step {state.constant_since}: lower the learning rate, "
                "or let eps grow over more steps"
            )
        elif nothing and step - state.uncertified_since >= patience:
            state.stop = (
                f"Collapse(nothing certified): 0 of {len(y)} held-back samples at {threat} since "
                f"step {state.uncertified_since}: let eps grow over more steps (ramp_end), or "
                "lower kappa, eps or the learning rate"
            )


def _since(now: bool, since: int, step: int) -> int:
    """The step at which something began that is still so; -1 if it is not."""
    return (since if since >= 0 else step) if now else -1


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with probing(model) as probe:
        return float((probe.logits(x).argmax(1) == y).float().mean())
