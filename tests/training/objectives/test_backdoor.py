"""Anti-backdoor learning on MNIST with a planted BadNets patch."""

from __future__ import annotations

from torch import nn

from tempering.core.threats import Linf
from tempering.data.loading import load
from tempering.models.registry import build
from tempering.training import AdamW, AntiBackdoor, Objective, Standard, StepConfig, train_steps
from tempering.training.objectives.anti_backdoor import LOSS
from tests.training.backdoors import accuracy, attack_success, backdoored
from tests.training.toys import ENGINE

MNIST = load("mnist", "official", 0)
TRAIN, TEST = MNIST.train.take(2500), MNIST.test.take(500)


def test_anti_backdoor_learning_finds_samples_with_a_backdoor_and_lowers_its_success() -> None:
    data, poisoned = backdoored(TRAIN, 0.05)
    config = StepConfig(Linf(0.1), batch_size=64, optimizer=AdamW(2e-3))

    def trained(objective: Objective, steps: int) -> tuple[nn.Module, dict[str, object]]:
        net = build(
            *("strided_cnn", (1, 28, 28), 10),
            **{"seed": 1, "width": 8, "hidden": 32, "squeeze": None, "adversarial_class": False},
        )
        state = train_steps(net, data, objective, steps, config=config, engine=ENGINE)
        net.load_state_dict(state.weights)
        return net.eval(), dict(state.memory)

    undefended, _ = trained(Standard(), 160)
    objective = AntiBackdoor(isolation=0.6, gamma=0)
    defended, memory = trained(objective, 500)
    isolated = objective.isolated(memory[LOSS])  # type: ignore[arg-type]
    assert float(poisoned[isolated].float().mean()) > 0.5
    assert attack_success(undefended, TEST) > 0.9
    assert attack_success(defended, TEST) < 0.3
    assert accuracy(defended, TEST) > 0.8
