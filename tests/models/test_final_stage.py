"""The logits before the increasing functions that a model ends with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tempering.core.probe import probing
from tempering.models.final_stage import FinalStage
from tempering.models.logits import BeforeFinalStage, as_logits_model

LOGITS = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]])


@pytest.mark.parametrize(
    "end",
    [
        lambda z: z.softmax(1).clamp(min=1e-7).log(),
        lambda z: torch.log(torch.maximum(torch.softmax(z, dim=-1), torch.tensor(1e-7))),
        lambda z: torch.log(z.softmax(1).clamp_(1e-7)),
        lambda z: nn.functional.relu(z + 1, inplace=True),
        lambda z: 2 * torch.tanh(z / 3) - 1,
        lambda z: z.sigmoid().max(torch.tensor(0.1)),
        lambda z: nn.functional.hardtanh(z, -9, 9),
    ],
)
def test_increasing_functions_are_peeled(end: Callable[[Tensor], Tensor]) -> None:
    logits = LOGITS.clone()
    with FinalStage() as stage:
        outputs = end(logits)
    assert stage.flattens(outputs)
    assert torch.equal(stage.logits_of(outputs), LOGITS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "end",
    [
        lambda z: -torch.tanh(z),
        lambda z: torch.tanh(z) * -2,
        lambda z: torch.tanh(z) * torch.tensor([1.0, 2.0, 3.0]),
        lambda z: torch.tanh(z) + torch.tensor([1.0, 2.0, 3.0]),
        lambda z: z.softmax(0),
        lambda z: torch.tanh(z) / torch.tanh(z).sum(1, keepdim=True),
        lambda z: torch.tanh(z).zero_(),
    ],
)
def test_other_functions_are_not(end: Callable[[Tensor], Tensor]) -> None:
    with FinalStage() as stage:
        outputs = end(LOGITS.clone())
    assert stage.logits_of(outputs) is None


def test_a_layer_within_the_model_is_no_final_stage() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert as_logits_model(net, torch.rand(2, 1, 2, 2)) is net


def test_predictions_are_those_of_the_model_where_clipping_makes_classes_equal() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Hardtanh())
    x = torch.tensor([[[[2.0, 5.0, 0.0]]], [[[0.0, 0.5, 0.25]]]])
    peeled = as_logits_model(model, x)
    assert isinstance(peeled, BeforeFinalStage)
    assert peeled(x).argmax(1).tolist() == model(x).argmax(1).tolist() == [0, 1]
    assert torch.equal(peeled(x)[1], x[1].flatten())


def test_the_gradient_is_that_of_the_logits() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    x = torch.rand(5, 1, 2, 2)
    with torch.no_grad():
        net[1].weight.mul_(50)  # type: ignore[operator]
    squashed = as_logits_model(nn.Sequential(net, nn.Tanh(), nn.Hardtanh(-0.9, 0.9)), x)
    same = squashed(x).argmax(1) == net(x).argmax(1)
    with probing(squashed) as probe, probing(net) as plain:
        found = probe.gradient(x, lambda logits: logits[:, 0])[1]
        expected = plain.gradient(x, lambda logits: logits[:, 0])[1]
    equal = (squashed(x) == net(x)).all(1)
    assert bool(equal.any())
    assert bool((equal == same).all())
    assert torch.equal(found[equal], expected[equal])
