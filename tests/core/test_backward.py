"""The one way to declare a gradient: honoured everywhere, refused where it contradicts itself."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tempering.core.backward import (
    adaptive_stages,
    declared_backward,
    random_stages,
    true_gradient,
)
from tempering.core.errors import ModelError
from tempering.core.probe import probing
from tempering.core.protocols import Detector, Transform

X = torch.tensor([[[[0.2, 0.6]]], [[[0.7, 0.4]]]])


class Rounding(Transform):
    input_gradient = "straight-through"

    def transform(self, x: Tensor) -> Tensor:
        return x.round()


class Squaring(Transform):
    """Rounded squares; the approximation leaves the rounding out."""

    input_gradient = "approximation"

    def transform(self, x: Tensor) -> Tensor:
        return (x * x * 10).round() / 10

    def approximation(self, x: Tensor) -> Tensor:
        return x * x


class PlainRounding(nn.Module):
    input_gradient = "straight-through"

    def forward(self, x: Tensor) -> Tensor:
        return x.round()


class PlainSquaring(nn.Module):
    input_gradient = "approximation"

    def forward(self, x: Tensor) -> Tensor:
        return (x * x * 10).round() / 10

    def approximation(self, x: Tensor) -> Tensor:
        return x * x


def slope(stage: nn.Module, x: Tensor = X) -> Tensor:
    """Gradient of the sum of a stage's outputs, as attacks see it."""
    with probing(nn.Sequential(stage, nn.Flatten())) as probe:
        logits, gradient = probe.gradient(x, lambda logits: logits.sum(1))
    assert torch.equal(logits, stage(x).flatten(1).detach())
    return gradient


@pytest.mark.parametrize("stage", [Rounding(), PlainRounding()])
def test_straight_through_is_the_gradient_of_the_identity(stage: nn.Module) -> None:
    assert torch.equal(slope(stage), torch.ones_like(X))
    with true_gradient():
        assert torch.equal(slope(stage), torch.zeros_like(X))
    assert not stage._forward_hooks


@pytest.mark.parametrize("stage", [Squaring(), PlainSquaring()])
def test_an_approximation_gives_its_own_gradient(stage: nn.Module) -> None:
    assert torch.equal(slope(stage), 2 * X)
    with true_gradient():
        assert torch.equal(slope(stage), torch.zeros_like(X))


def test_training_sees_the_declared_gradient_too() -> None:
    leaf = X.clone().requires_grad_()
    Squaring()(leaf).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, 2 * X)


def test_stages_are_listed_by_what_they_declare() -> None:
    class Noise(Transform):
        random = True

        def transform(self, x: Tensor) -> Tensor:
            return x + torch.randn_like(x)

    model = nn.Sequential(Noise(), nn.ReLU(), PlainRounding())
    assert adaptive_stages(model) == ["2"]
    assert random_stages(model) == ["0"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"input_gradient": "none"}, "input_gradient = 'none': give one of true, straight-through"),
        ({"input_gradient": True}, "input_gradient = True: give one of"),
        ({"input_gradient": "approximation"}, r"without a method approximation\(x\)"),
        (
            {"input_gradient": "true", "approximation": lambda self, x: x},
            "contradict each other",
        ),
        ({"input_gradient": "true", "random": 0.5}, "random = 0.5: give True or False"),
    ],
)
@pytest.mark.parametrize("base", [nn.Module, Transform])
def test_contradictions_are_refused(
    base: type[nn.Module], attributes: dict[str, Any], message: str
) -> None:
    body = {**attributes, "forward" if base is nn.Module else "transform": lambda self, x: x}
    kind = type("Mine", (base,), body)
    with pytest.raises(ModelError, match=f"^Mine: .*{message}"), probing(kind()):
        pass


def test_a_shape_that_the_declaration_does_not_fit_is_refused() -> None:
    class Shrinking(Transform):
        input_gradient = "straight-through"

        def transform(self, x: Tensor) -> Tensor:
            return x[..., :1].round()

    with pytest.raises(ModelError, match=r"returns shape \(2, 1, 1, 1\) and its stand-in"):
        slope(Shrinking())


def test_a_forward_that_bypasses_the_declaration_is_refused() -> None:
    class Bypassing(Rounding):
        def forward(self, x: Tensor) -> Tensor:
            return x.round()

    with pytest.raises(ModelError, match=r"Bypassing overrides forward.*into transform\(x\)"):
        Bypassing()


def test_detectors_may_have_no_gradient_but_not_the_identitys() -> None:
    class Counting(Detector):
        input_gradient = "none"

        def score(self, x: Tensor) -> Tensor:
            return x.flatten(1).sum(1)

    leaf = X.clone().requires_grad_()
    assert not Counting()(leaf).requires_grad
    declaration = declared_backward(Counting())
    assert declaration is not None
    assert declaration.input_gradient == "none"
    Counting.input_gradient = "straight-through"
    with pytest.raises(ModelError, match="give one of true, approximation, none"):
        Counting()
