"""Where a run's networks come from: a name, a user's file, a library, or a module at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tempering.app.recipe import ModelSettings
from tempering.core.errors import TemperingError, UsageError
from tempering.core.intervals import wilson
from tempering.core.module_copies import copied_module
from tempering.core.passes import uncounted
from tempering.core.probe import probing
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.data.tones import nearly_binary
from tempering.models.adoption import FunctionModel, initialise, with_logits
from tempering.models.classifier import BaseClassifier
from tempering.models.foreign import load_foreign
from tempering.models.hub.address import HubAddress, hub_of
from tempering.models.hub.building import fresh_network
from tempering.models.registry import build
from tempering.models.seeded import seeded
from tempering.models.trainable import trainable, unwrapped
from tempering.models.weights import read_weights
from tempering.models.zoo.entries import entry_of
from tempering.models.zoo.loading import load as load_entry

CLASSIFIED = 500
"""Validation images that tell whether a module was trained."""
SHOWN = 8
"""Images on which a user's network is tried."""


class Networks(Protocol):
    """Makes networks of one architecture, with weights that depend on a seed."""

    @property
    def trained(self) -> bool:
        """Whether the undefended network comes with weights that are not to be replaced."""
        ...

    def undefended(self, seed: int) -> nn.Module:
        """The network before anything is done to protect it."""
        ...

    def fresh(self, seed: int) -> nn.Module:
        """The network to protect, with fresh weights."""
        ...

    def start(self, seed: int) -> nn.Module:
        """The network to protect, with the weights that its training starts from."""
        ...

    @property
    def name(self) -> str:
        """What records call the network."""
        ...

    @property
    def architecture(self) -> dict[str, Any] | str:
        """What a manifest says of it."""
        ...


@dataclass(frozen=True)
class Registered:
    """Networks by name."""

    settings: ModelSettings
    shape: tuple[int, int, int]
    classes: int
    trained: bool = False

    def undefended(self, seed: int) -> nn.Module:
        """A network without the defences that are part of it."""
        return self._build(seed, {**self.settings.options, **self.settings.undefended})

    def fresh(self, seed: int) -> nn.Module:
        """A network with fresh weights."""
        return self._build(seed, self.settings.options)

    def start(self, seed: int) -> nn.Module:
        """The same."""
        return self.fresh(seed)

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return self.settings.name

    def _build(self, seed: int, options: dict[str, Any]) -> nn.Module:
        return fast_layout(
            build(self.settings.name, self.shape, self.classes, seed=seed, **options)
        )

    @property
    def architecture(self) -> dict[str, Any] | str:
        """Name, shape, classes and options."""
        return architecture_of(self.fresh(0))


@dataclass(frozen=True)
class FromFile:
    """Networks of a user's `file.py:factory`, the undefended one with weights if there are some.

    Attributes:
        spec: The address of the factory.
        weights: Weights for its networks.
        x: Some images, on which networks are made fit for training; None leaves them.
    """

    spec: str
    weights: Path | None = None
    x: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def trained(self) -> bool:
        """Whether the user gave weights."""
        return self.weights is not None

    def undefended(self, seed: int) -> nn.Module:
        """The user's network."""
        return self._build(self.weights, seed)

    def fresh(self, seed: int) -> nn.Module:
        """The user's network with the weights of its factory."""
        return self._build(None, seed)

    def start(self, seed: int) -> nn.Module:
        """With the user's weights, if there are some."""
        return self._build(self.weights, seed)

    def _build(self, weights: Path | None, seed: int) -> nn.Module:
        model = load_foreign(self.spec, weights, seed, self.x)
        return model if self.x is None else trainable(unwrapped(model), self.x)

    @property
    def name(self) -> str:
        """The address of the factory."""
        return self.spec

    @property
    def architecture(self) -> dict[str, Any] | str:
        """The address of the factory."""
        return self.spec


@dataclass(frozen=True)
class FromHub(FromFile):
    """Networks of timm or transformers, with the library's weights where none are given.

    Attributes:
        spec: Such as `timm:resnet18`.
        known: Whether these weights classify the data better than chance.
    """

    known: bool = False

    @property
    def trained(self) -> bool:
        """Whether its weights are for these data."""
        return self.known

    def fresh(self, seed: int) -> nn.Module:
        """The network with random weights."""
        tensors = None if self.weights is None else read_weights(self.weights)
        model = fresh_network(HubAddress.of(self.spec), seed, tensors)
        return model if self.x is None else trainable(model, self.x)


@dataclass(frozen=True, eq=False)
class FromModule:
    """A module at hand; others are copies whose layers draw their weights again.

    Attributes:
        module: The module; it is copied.
        trained: Whether it classifies better than chance, so that it is the model before
            hardening; otherwise that is a copy which is trained first.
        renewed: Whether training starts from fresh weights, not from those of the module.
        x: Some images, on which copies are made fit for training; None leaves them.
    """

    module: nn.Module
    trained: bool = False
    renewed: bool = False
    x: Tensor | None = field(default=None, repr=False)

    def undefended(self, seed: int) -> nn.Module:  # noqa: ARG002 - its weights are given
        """A copy of the module."""
        return self._copy()

    def fresh(self, seed: int) -> nn.Module:
        """A copy with fresh weights.

        Raises:
            UsageError: If a layer with weights of its own cannot draw them again.
        """
        other = self._copy()
        with seeded(seed):
            for name, layer in other.named_modules():
                reset = getattr(layer, "reset_parameters", None)
                if callable(reset):
                    reset()
                elif list(layer.parameters(recurse=False)):
                    raise UsageError(
                        f"{name or type(layer).__name__} has weights but no reset_parameters: "
                        "give the layer one, or give file.py:factory"
                    )
        return other

    def start(self, seed: int) -> nn.Module:
        """With the weights of the module, unless fresh ones are wanted."""
        return self.fresh(seed) if self.renewed else self._copy()

    def _copy(self) -> nn.Module:
        model = copied_module(self.module)
        return model if self.x is None else trainable(model, self.x)

    @property
    def name(self) -> str:
        """The name of the network, if it is one of ours, else of its class."""
        return model_name(self.module)

    @property
    def architecture(self) -> dict[str, Any] | str:
        """Its description if it is a network of ours, else the name of its class."""
        return architecture_of(self.module)


def model_name(model: nn.Module) -> str:
    """What records call a module: its name if it is a network of ours, else its class."""
    architecture = architecture_of(model)
    return str(architecture["name"]) if isinstance(architecture, dict) else architecture


def architecture_of(model: nn.Module) -> dict[str, Any] | str:
    """What a manifest says of a network."""
    if isinstance(model, FunctionModel):
        return model.name
    return model.architecture if isinstance(model, BaseClassifier) else type(model).__name__


def fast_layout(model: nn.Module) -> nn.Module:
    """Weights in channels-last memory: on a CPU convolutions take half as long again without."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def networks_for(
    settings: ModelSettings,
    data: Splits,
    module: nn.Module | None,
    weights: Path | None,
    renewed: bool = False,
) -> Networks:
    """Find out where a run's networks come from.

    Args:
        settings: Of the recipe.
        data: What is classified.
        module: A module at hand.
        weights: Of a recipe's factory.
        renewed: Whether training starts from fresh weights, not from those of the module.

    Raises:
        UsageError: If there are weights without a factory.
    """
    if module is not None and weights is not None:
        raise UsageError(f"weights {weights} beside a model that has its own: leave them out")
    if renewed and module is None:
        raise UsageError("fresh=True without a model: only a model that is given has weights")
    if module is not None:
        some = shown_part(data.validation)
        module = initialise(unwrapped(module), some)
        trained = not renewed and classifies(module, data.validation)
        return FromModule(module, trained, renewed, some)
    if (entry := entry_of(settings.name)) is not None:
        if weights is not None:
            raise UsageError(
                f"weights {weights} for {settings.name}, which has its own: leave them out"
            )
        some = shown_part(data.validation)
        module = initialise(load_entry(entry).model, some)
        return FromModule(module, classifies(module, data.validation), False, some)
    if (hub := hub_of(settings.name)) is not None:
        spec, some = str(hub.resolved()), shown_part(data.validation)
        known = classifies(load_foreign(spec, weights, x=some), data.validation)
        return FromHub(spec, weights, some, known)
    if ":" in settings.name:
        return FromFile(settings.name, weights, shown_part(data.validation))
    if weights is not None:
        raise UsageError(
            f"weights {weights} for the model {settings.name!r}: "
            "give --model file.py:factory with them"
        )
    if settings.tonal and not nearly_binary(data):
        options = {**settings.options, **settings.tonal}
        settings = settings.model_copy(update={"options": options})
    return Registered(settings, data.shape, data.num_classes)


def shown_part(data: Dataset) -> Tensor:
    """A few images, in memory of their own, that models are tried on."""
    return data.images(torch.arange(min(SHOWN, len(data))))


def classifies(model: nn.Module, data: Dataset) -> bool:
    """Whether a model was trained: whether it is clearly better than guessing.

    Networks with random weights may reach twice the share of the largest class. So a quarter
    of the way from there to perfect is asked for.
    """
    part = data.first(min(len(data), CLASSIFIED))
    device = device_of(model)
    try:
        model = with_logits(model, part.x[:SHOWN].to(device))
        with probing(model) as probe, uncounted():
            parts = [probe.logits(x.to(device)).argmax(1).cpu() for x in torch.split(part.x, 100)]
    except TemperingError:
        return False  # it is refused with the reason when the run begins
    right = int((torch.cat(parts) == part.y).sum())
    guessed = float(part.y.bincount().max()) / len(part)
    return wilson(right, len(part))[0] > guessed + (1 - guessed) / 4
