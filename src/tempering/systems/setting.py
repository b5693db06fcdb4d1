"""What all systems share: data, threat, network, and how much they may train."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property

from torch import nn

from tempering.core.engine import Engine
from tempering.core.progress import track
from tempering.core.random import derive
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.models.registry import build
from tempering.models.seeded import seeded
from tempering.training.objective import Objective
from tempering.training.objectives.standard import Standard
from tempering.training.optimizers import Adam
from tempering.training.schedules import Linear
from tempering.training.step_values import StepConfig, StepState
from tempering.training.steps import train_steps

CHUNK = 20
"""Steps between two reports of progress."""


@dataclass(frozen=True)
class Budget:
    """How much is trained and evaluated.

    Attributes:
        name: As people ask for it.
        standard_steps: Mini-batch steps of a training on clean or fixed images.
        adversarial_steps: Mini-batch steps of a training that attacks at every step.
        attack_steps: Gradient steps of the attack in such a training, where a system asks for
            many.
        samples: Test images.
        width: Share of the filters of a network that is too large to train in the time.
    """

    name: str
    standard_steps: int
    adversarial_steps: int
    attack_steps: int
    samples: int
    width: float


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("10m", 200, 150, 7, 100, 0.125),
        Budget("60m", 1000, 1000, 10, 400, 0.25),
        Budget("full", 2000, 2000, 40, 1000, 1.0),
    )
}
"""Name -> budget, smallest first."""


@dataclass(frozen=True)
class Setting:
    """The data, threat and network that every system gets.

    Attributes:
        data: Training, validation and test data.
        threat: What an attacker may change.
        engine: Where to compute.
        seed: Of all draws.
        budget: How much is trained.
        batch_size: Images of a mini-batch.
        rate: Learning rate of Adam; it falls to 0 linearly.
    """

    data: Splits
    threat: Threat
    engine: Engine
    seed: int
    budget: Budget
    batch_size: int = 128
    rate: float = 2e-3
    _seconds: dict[str, float] = field(default_factory=dict, compare=False)

    def network(self, purpose: str = "network", adversarial_class: bool = False) -> nn.Module:
        """A fresh small network, the same for every system.

        Args:
            purpose: What it is for: each has weights of its own.
            adversarial_class: Whether it has an output for adversarial images.
        """
        return build(
            "strided_cnn",
            self.data.shape,
            self.data.train.num_classes,
            seed=derive(self.seed, purpose),
            width=32,
            hidden=200,
            squeeze=None,
            adversarial_class=adversarial_class,
        )

    def train(
        self,
        model: nn.Module,
        objective: Objective,
        steps: int,
        *,
        what: str,
        data: Dataset | None = None,
        rate: float | None = None,
    ) -> nn.Module:
        """Train a network by an objective.

        Args:
            model: Its weights are the start; trained in place.
            objective: What is minimized; see its `prepare` where it needs an undefended model.
            steps: Mini-batch steps.
            what: Of the progress bar, and of all draws.
            data: Training data; None for that of the setting.
            rate: Learning rate; None for that of the setting.

        Returns:
            The network, in evaluation mode.
        """
        config = StepConfig(
            threat=self.threat,
            batch_size=self.batch_size,
            seed=derive(self.seed, what),
            optimizer=Adam(self.rate if rate is None else rate),
            schedule=Linear(),
            total_steps=steps,
        )
        state: StepState | None = None
        with track(what, steps) as advance, seeded(derive(self.seed, what, "torch")):
            for start in range(0, steps, CHUNK):
                state = train_steps(
                    model,
                    self.data.train if data is None else data,
                    objective,
                    min(CHUNK, steps - start),
                    state,
                    config=config,
                    engine=self.engine,
                )
                advance(state.step, f"loss {state.totals.mean_loss:.3f}")
        if state is not None:
            model.load_state_dict(state.weights)
        return model.eval()

    @cached_property
    def undefended(self) -> nn.Module:
        """The network after standard training; trained once, and asked for by many systems."""
        began = time.perf_counter()
        model = self.train(
            self.network("undefended"),
            Standard(),
            self.budget.standard_steps,
            what="undefended",
        )
        self._seconds["undefended"] = time.perf_counter() - began
        return model

    @property
    def undefended_seconds(self) -> float:
        """How long the undefended network trained; 0 before it has."""
        return self._seconds.get("undefended", 0.0)
