"""Training attacks go through the backward pass that a transform declares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from tempering.attacks import PGD
from tempering.core.backward import true_gradient
from tempering.core.threats import Linf
from tempering.data.loading import load
from tempering.defenses.build import build_pipeline
from tempering.training import AdamW, Mart, Objective, Paper, StepConfig, Trades, train_steps
from tests.training.toys import ENGINE

THREAT = Linf(0.15)
SHORT = PGD(steps=3, until_fooled=False)


def robust_after(
    objective: Objective, gradient: Callable[[], AbstractContextManager[None]]
) -> float:
    """Accuracy under an adaptive attack of a network behind 2 bits, trained for a moment."""
    data = load("digits", "official", 0)
    bits = {"defense": "bit_depth", "options": {"bits": 2}}
    classifier = {"name": "strided_cnn", "options": {"width": 8, "hidden": 32, "squeeze": None}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_pipeline(
            (1, 8, 8), 10, classifier, transforms=[bits], adversarial_class=False
        )
    config = StepConfig(THREAT, batch_size=64, optimizer=AdamW(5e-3))
    with gradient():
        state = train_steps(model, data.train, objective, 100, config=config, engine=ENGINE)
    model.load_state_dict(state.weights)
    x, y = data.test.x[:100], data.test.y[:100]
    x_adv = PGD(steps=20)(model.eval(), x, y, THREAT)
    return float((model(x_adv).argmax(1) == y).float().mean())


@pytest.mark.parametrize(
    "objective",
    [
        Paper(attacks=(SHORT,), clean=0.0, noisy=0.0, adversarial=1.0),
        Trades(steps=3),
        Mart(steps=3),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_a_declared_backward_makes_training_attacks_count(objective: Objective) -> None:
    declared, blind = robust_after(objective, nullcontext), robust_after(objective, true_gradient)
    assert declared >= blind + 0.1, (declared, blind)
