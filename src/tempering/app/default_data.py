"""The default data for a model of other images or classes: refused with what the model takes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tempering.core.errors import FailedModelError, ModelError, TemperingError
from tempering.core.passes import uncounted
from tempering.core.probe import probing
from tempering.core.user_code import device_of
from tempering.data.splits import Splits
from tempering.models.adoption import initialise

DEFAULT_DATA = "mnist"
"""What is loaded if nothing says which data."""
SIDES = (32, 64, 28, 8, 16, 48, 96, 128, 224, 299)
"""Heights and widths that are tried."""


def require_default_data(model: nn.Module, name: str, data: Splits) -> None:
    """Refuse the default data if a model does not take images of their shape, or has fewer outputs.

    Args:
        model: Any network; it is left as it is.
        name: What messages call it.
        data: The default data.

    Raises:
        ModelError: Naming the shape that the model takes, if it can be found, or its outputs.
    """
    x = data.test.first(1).x
    if (outputs := _outputs(model, x)) is not None:
        if outputs < len(data.classes):
            raise ModelError(
                f"{name} has {outputs} outputs but the labels of {data.address}, the default data, "
                f"go up to {len(data.classes) - 1}: give the model's data, --data or data=..."
            )
        return
    raise _other_images(shape_taken(model), name, data)


def require_default_shape(shape: tuple[int, int, int], name: str, data: Splits) -> None:
    """Refuse the default data for a model whose manifest names another shape.

    Raises:
        ModelError: Naming both.
    """
    if shape != data.shape:
        raise _other_images(str(shape), name, data)


def _other_images(shape: str | None, name: str, data: Splits) -> ModelError:
    takes = "does not take" if shape is None else f"takes images of shape {shape}, not"
    return ModelError(
        f"{name} {takes} those of {data.address}, the default data, of shape "
        f"{data.shape}: give the model's data, --data or data=..."
    )


def shape_taken(model: nn.Module) -> str | None:
    """The shape of images that a model takes, in words; None if it is not found.

    Example:
        >>> shape_taken(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(3600, 10)))
        '(3, 32, 32)'
    """
    found: list[tuple[int, ...]] = []
    for shape in _candidates(model):
        if _outputs(model, torch.zeros(1, *shape)) is not None:
            found.append(shape)
        if len(found) > 1:
            return f"({shape[0]}, height, width)"
    return str(found[0]) if found else None


def _candidates(model: nn.Module) -> Iterator[tuple[int, int, int]]:
    """Shapes that fit the first layer."""
    layers = (layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    first = next(layers, None)
    if isinstance(first, nn.Linear) and first.in_features:
        for channels in (1, 3):
            side = round((first.in_features / channels) ** 0.5)
            if channels * side * side == first.in_features:
                yield channels, side, side
        return
    known = first.in_channels if isinstance(first, nn.Conv2d) else 0
    for channels in (known,) if known else (3, 1):
        for side in SIDES:
            yield channels, side, side


def _outputs(model: nn.Module, x: Tensor) -> float | None:
    """Outputs of a model that takes images of a shape, infinite if unknown; it is left as it is.

    None if it does not take them.
    """
    try:
        with uncounted(), probing(_initialised(model, x)) as probe, torch.no_grad():
            answer = probe.answer(x.to(device_of(model)))
    except FailedModelError:
        return None
    except TemperingError:
        return math.inf  # it is refused with the reason where it is checked
    if isinstance(answer, Tensor) and answer.ndim == 2:
        return answer.shape[1]
    return math.inf


def _initialised(model: nn.Module, x: Tensor) -> nn.Module:
    """The model; a copy with weights for such images if it has lazy layers.

    Raises:
        FailedModelError: If these cannot be made.
    """
    if not any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        return model
    try:
        return initialise(copy.deepcopy(model), x)
    except ModelError as error:
        raise FailedModelError(len(x), tuple(x.shape[1:]), error) from error
