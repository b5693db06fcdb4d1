"""Writes the manifest of a model that was built in Python, from what the model says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.outputs import logits_in
from tempering.core.user_code import users_code
from tempering.models.blueprint import Blueprint
from tempering.models.classifier import BaseClassifier
from tempering.models.factory_place import factory_place
from tempering.models.manifest import Manifest
from tempering.models.own_part import own_factory, own_part

_FACTORY = 'manifest_of(model, factory="my.py:build", shape=(1, 28, 28))'


def manifest_of(
    model: nn.Module, *, factory: str | None = None, shape: Sequence[int] | None = None
) -> Manifest:
    """The manifest of a model that was built in Python.

    Names of classes are their numbers. Threat and data are left empty; `Manifest.model_copy`
    fills them in.

    Args:
        model: A network or a pipeline of ours, or a network of one's own.
        factory: `file.py:factory` that builds the network of one's own: the model, or the
            classifier in a pipeline. It is not run here.
        shape: Channels, height and width of the images that this network takes.

    Raises:
        ModelError: If a network of one's own has no factory or no shape, the file is missing, or
            a part cannot be described.

    Example:
        >>> from tempering.models import strided_cnn
        >>> manifest_of(strided_cnn((1, 8, 8), 3, width=2)).classes
        ['0', '1', '2']
    """
    if factory is None:
        return _named(_own_words(model), _classes(model))
    factory_place(factory)
    seen = _as_shape(shape)
    if not isinstance(model, BaseClassifier):
        return Manifest(architecture=factory, classes=_outputs(model, seen), shape=seen)
    described = getattr(model, "described", None)
    if isinstance(model.architecture, dict) or described is None:
        raise ModelError(
            f"factory {factory} for a {type(model).__name__} without a network of your own: "
            "leave it out"
        )
    return _named(described(own_part(factory, seen)), _classes(model))


def require_same(model: nn.Module, manifest: Manifest) -> None:
    """Refuse a manifest that describes another model.

    Raises:
        ModelError: Saying in what they differ.
    """
    told = manifest.architecture
    if isinstance(told, str):
        return
    own = getattr(model, "architecture", None)
    if isinstance(own, str) and own_factory(told) is not None:
        return
    if not isinstance(own, dict):
        raise ModelError(
            f"the manifest describes a {told.get('name')!r}, and a {type(model).__name__} says of "
            f"itself no architecture: give {_FACTORY}"
        )
    if Blueprint.model_validate(own) != Blueprint.model_validate(told):
        raise ModelError(
            f"the manifest describes another model, {_difference(told, own)}: leave the manifest "
            "out, or give manifest_of(model)"
        )


def _difference(told: Any, own: Any, where: str = "") -> str:
    """The first place where two descriptions differ, and both values."""
    if isinstance(told, dict) and isinstance(own, dict):
        for key in (*told, *own):
            if told.get(key) != own.get(key):
                return _difference(told.get(key), own.get(key), f"{where}.{key}" if where else key)
    if isinstance(told, list) and isinstance(own, list) and len(told) == len(own):
        for number, (first, second) in enumerate(zip(told, own, strict=True)):
            if first != second:
                return _difference(first, second, f"{where}.{number}")
    return f"with {where} = {told!r} instead of {own!r}"


def _named(architecture: dict[str, Any], classes: int) -> Manifest:
    return Manifest(
        architecture=architecture,
        classes=[str(number) for number in range(classes)],
        shape=architecture["shape"],
    )


def _own_words(model: nn.Module) -> dict[str, Any]:
    own = getattr(model, "architecture", None)
    if isinstance(own, dict):
        return own
    if (described := getattr(model, "described", None)) is not None:
        described(own_part("file.py:factory", (1, 1, 1)))  # refuses what no factory would help
    raise ModelError(
        f"a {type(model).__name__} is or contains a network of your own: "
        f"give the file that builds it: {_FACTORY}"
    )


def _classes(model: nn.Module) -> int:
    classes: int = model.classes  # type: ignore[assignment]
    return classes


def _as_shape(shape: Sequence[int] | None) -> tuple[int, int, int]:
    if (
        shape is None
        or len(shape) != 3
        or not all(type(side) is int and side > 0 for side in shape)
    ):
        raise ModelError(
            f"shape {shape!r}: give channels, height and width of the images that your network "
            "takes, such as (1, 28, 28)"
        )
    channels, height, width = shape
    return channels, height, width


def _outputs(model: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    """Numbers of the outputs, counted by one forward pass."""
    modes = {module: module.training for module in model.modules()}
    failed = f"the model fails on images of shape {shape}"
    with users_code(failed, "give the shape that it takes"), torch.no_grad():
        logits = logits_in(model.eval()(torch.zeros(1, *shape)))
    for module, training in modes.items():
        module.training = training
    if not isinstance(logits, Tensor):
        raise ModelError(f"the model returns a {type(logits).__name__}: return logits")
    return [str(number) for number in range(logits.shape[-1])]
