"""The generator that learns beside the network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tempering.core.errors import ThreatError, UsageError
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.training import GeneratorPartner, StepConfig, train_steps
from tests.training.objectives.test_losses import Table, batch
from tests.training.toys import ENGINE, batch_of, dataset, maker, network, same


def bright() -> nn.Sequential:
    """A network that counts brightness, and is never trained here."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([-1.0, 1.0, 0.0])[:, None].expand(3, 9))
        net[1].bias.copy_(torch.tensor([4.5, -4.5, -50.0]))
    return net


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.3), L1(0.5)])
def test_the_generator_learns_to_fool_the_network_within_the_threat(threat: Threat) -> None:
    model, objective, carried = bright(), GeneratorPartner(), {}
    batches, losses = maker(threat=threat), []
    for step in range(40):
        made = batches.make(step, batches.order(step // 5), 1.0, model.eval(), ENGINE)
        object.__setattr__(made, "carried", carried)
        made = objective.perturb(made)
        carried = dict(objective.carry(made))
        assert bool(threat.contains(made.perturbed, made.x).all())
        with torch.no_grad():
            losses.append(float(F.cross_entropy(model(made.perturbed), made.y)))
    assert sum(losses[-5:]) > sum(losses[:5]) + 0.2


def test_a_step_goes_on_from_the_generator_of_the_step_before() -> None:
    config = StepConfig(Linf(0.2), batch_size=12, seed=3, total_steps=8)
    given = {"config": config, "engine": ENGINE}
    whole = train_steps(network(), dataset(), GeneratorPartner(), 8, **given)  # type: ignore[arg-type]
    part = train_steps(network(), dataset(), GeneratorPartner(), 3, **given)  # type: ignore[arg-type]
    again = train_steps(network(), dataset(), GeneratorPartner(), 5, part, **given)  # type: ignore[arg-type]
    assert same(again.weights, whole.weights)
    assert same(again.carried, whole.carried)
    assert not same(part.carried, whole.carried)


def test_both_losses_have_their_weight() -> None:
    model = Table([1.0, 0.0], [0.0, 3.0])
    losses = GeneratorPartner(clean=0.25)(model, batch([0], 2))
    natural, attacked = F.cross_entropy(model.logits, torch.tensor([0, 0]), reduction="none")
    assert float(losses.per_sample[0]) == pytest.approx(float(0.25 * natural + 0.75 * attacked))


def test_nothing_moves_while_eps_is_zero() -> None:
    made = batch_of(maker(threat=Linf(0.0)), GeneratorPartner())
    assert torch.equal(made.perturbed, made.x)


def test_impossible_values_are_refused() -> None:
    with pytest.raises(UsageError, match="generator: width = 0: give a whole number"):
        GeneratorPartner(width=0)
    with pytest.raises(UsageError, match="generator: clean = 2: give a number from 0 to 1"):
        GeneratorPartner(clean=2)
    with pytest.raises(ThreatError, match="generator does not attack in l0"):
        GeneratorPartner().require(L0(3), 10)
