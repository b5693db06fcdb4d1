"""Where a run's networks come from: a name, a user's file, or a module at hand."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from tempering.app.recipe import ModelSettings
from tempering.core.errors import UsageError
from tempering.data.splits import Splits
from tempering.models.classifier import BaseClassifier
from tempering.models.foreign import load_foreign
from tempering.models.registry import build
from tempering.models.seeded import seeded

GREY, GREY_SHARE = (0.25, 0.75), 0.1
"""What counts as grey, and the largest share of such pixels in images that are nearly binary."""


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
    """Networks of a user's `file.py:factory`, the undefended one with weights if there are some."""

    spec: str
    weights: Path | None = None

    @property
    def trained(self) -> bool:
        """Whether the user gave weights."""
        return self.weights is not None

    def undefended(self, seed: int) -> nn.Module:
        """The user's network."""
        return load_foreign(self.spec, self.weights, seed)

    def fresh(self, seed: int) -> nn.Module:
        """The user's network with the weights of its factory."""
        return load_foreign(self.spec, None, seed)

    @property
    def architecture(self) -> dict[str, Any] | str:
        """The address of the factory."""
        return self.spec


@dataclass(frozen=True, eq=False)
class FromModule:
    """A module at hand; others are copies whose layers draw their weights again.

    A module knows not whether it was trained: its weights are where training starts.
    """

    module: nn.Module
    trained: bool = False

    def undefended(self, seed: int) -> nn.Module:  # noqa: ARG002 - its weights are given
        """A copy of the module."""
        return copy.deepcopy(self.module)

    def fresh(self, seed: int) -> nn.Module:
        """A copy with fresh weights.

        Raises:
            UsageError: If a layer with weights of its own cannot draw them again.
        """
        other = copy.deepcopy(self.module)
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

    @property
    def architecture(self) -> dict[str, Any] | str:
        """Its description if it is a network of ours, else the name of its class."""
        return architecture_of(self.module)


def architecture_of(model: nn.Module) -> dict[str, Any] | str:
    """What a manifest says of a network."""
    return model.architecture if isinstance(model, BaseClassifier) else type(model).__name__


def fast_layout(model: nn.Module) -> nn.Module:
    """Weights in channels-last memory: on a CPU convolutions take half as long again without."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def networks_for(
    settings: ModelSettings, data: Splits, module: nn.Module | None, weights: Path | None
) -> Networks:
    """Find out where a run's networks come from.

    Raises:
        UsageError: If there are weights without a factory.
    """
    if module is not None and weights is not None:
        raise UsageError(f"weights {weights} beside a model that has its own: leave them out")
    if module is not None:
        return FromModule(module)
    if ":" in settings.name:
        return FromFile(settings.name, weights)
    if weights is not None:
        raise UsageError(
            f"weights {weights} for the model {settings.name!r}: "
            "give --model file.py:factory with them"
        )
    if settings.tonal and not nearly_binary(data):
        options = {**settings.options, **settings.tonal}
        settings = settings.model_copy(update={"options": options})
    return Registered(settings, data.shape, data.num_classes)


def nearly_binary(data: Splits) -> bool:
    """Whether images are mostly black and white, as strokes on paper are."""
    x = data.train.x
    return bool(((x > GREY[0]) & (x < GREY[1])).float().mean() <= GREY_SHARE)
