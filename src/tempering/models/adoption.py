"""What people bring as a model, made a network that returns logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tempering.core.errors import FailedModelError, ModelError
from tempering.core.notes import note
from tempering.core.outputs import logits_in, taken_from
from tempering.core.probe import probing
from tempering.core.references import refers_to
from tempering.core.user_code import device_of, users_code
from tempering.models.seeded import seeded


class FunctionModel(nn.Module):
    """A function from images to logits, as a network.

    Attributes:
        function: The function; modules that it refers to are parts of the network.
        name: What records call it.

    Example:
        >>> FunctionModel(lambda x: x.flatten(1))(torch.zeros(2, 1, 2, 2)).shape
        torch.Size([2, 4])
    """

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function
        self.name = str(getattr(function, "__qualname__", type(function).__name__))
        parts: list[nn.Module] = []

        def collect(module: nn.Module) -> bool:
            parts.append(module)
            return False

        refers_to(function, collect)
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> object:
        """What the function returns."""
        return self.function(x)


class FirstOutput(nn.Module):
    """Returns the logits of a model that returns more than them.

    Attributes:
        model: From images in [0, 1] to several outputs; shared, not copied.
        adversarial_class: The model's own, if it declares one.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.adversarial_class: int | None = getattr(model, "adversarial_class", None)
        self.training = model.training

    def forward(self, x: Tensor) -> object:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w)."""
        return logits_in(self.model(x))


def as_module(value: object, named: str = "the model is") -> nn.Module:
    """A network of what people give as one: a module, an exported program or a function.

    Args:
        value: What was given.
        named: How messages begin.

    Raises:
        ModelError: If it is none of these.
    """
    if isinstance(value, nn.Module):
        return value
    if isinstance(value, torch.export.ExportedProgram):
        return value.module()
    if callable(value) and not isinstance(value, type):
        return FunctionModel(value)
    if isinstance(value, type):
        name = value.__name__
        raise ModelError(f"{named} {name}, a class: give an instance, {name}(...)")
    kind = type(value).__name__
    raise ModelError(
        f"{named} {kind}, no network: give a torch.nn.Module, or a function from images to logits"
    )


def initialise(model: nn.Module, x: Tensor, seed: int = 0) -> nn.Module:
    """Give the lazy layers of a model their weights, by one forward pass; and return it.

    Args:
        model: Any module; one without lazy layers is left as it is.
        x: Some images in [0, 1], shape (n, c, h, w).
        seed: Of the weights.

    Raises:
        ModelError: If the forward pass fails.

    Example:
        >>> initialise(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), torch.zeros(1, 1, 2, 2))
        Sequential(
          (0): Flatten(start_dim=1, end_dim=-1)
          (1): Linear(in_features=4, out_features=3, bias=True)
        )
    """
    if isinstance(model, torch.jit.ScriptModule) or not any(map(is_lazy, _state(model))):
        return model
    modes = {module: module.training for module in model.modules()}
    remedy = "initialise its lazy layers, or give images of the shape that it takes"
    failed = f"the model fails on images of shape {tuple(x.shape[1:])}"
    with users_code(failed, remedy), seeded(seed), torch.no_grad():
        model.eval()
        model(x[:1].to(device_of(model), copy=True))
    for module, mode in modes.items():
        module.training = mode
    return model


def with_logits(model: nn.Module, x: Tensor) -> nn.Module:
    """The model, wrapped if it returns logits among other things; that is noted.

    Args:
        model: Any network; it is left as it is.
        x: Some images in [0, 1], shape (n, c, h, w), where the model lies.
    """
    try:
        with probing(model) as probe, torch.no_grad():
            answer = probe.answer(x)
    except FailedModelError:
        return model  # refused with the reason where it is checked
    if isinstance(answer, Tensor) or not isinstance(logits_in(answer), Tensor):
        return model
    note(f"the model returns more than logits: {taken_from(answer)} is taken")
    return FirstOutput(model)


def _state(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
