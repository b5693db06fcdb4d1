"""Validation of images and labels; messages name the index and the value.

Invalid data is rejected, not repaired. Validated images are uint8 or float32 in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempering.core.errors import DataError
from tempering.core.notes import note
from tempering.data.preprocessing import explicit_channel

Array = NDArray[np.generic] | Tensor
"""Type of images and labels from users."""

MOST_CLASSES = 100_000
"""Limit of classes inferred from labels; a larger label is considered a mistake."""


def as_tensor(values: object, what: str) -> Tensor:
    """An array as a CPU tensor, in the same memory where that is possible.

    Raises:
        DataError: If it is not a numeric array.
    """
    if isinstance(values, Tensor):
        _require_dense(values, what)
        return values.detach().cpu()
    try:
        array = np.asarray(values)
        return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    except (TypeError, ValueError) as error:
        if text := _text_in(values):
            raise DataError(
                f"{what} are text, such as {text!r}: give class indices from 0, and the names as "
                "classes: classes, y = numpy.unique(y, return_inverse=True)"
            ) from error
        kind = getattr(values, "dtype", type(values).__name__)
        raise DataError(f"{what} of type {kind}: give a numpy array or a tensor") from error


def _require_dense(values: Tensor, what: str) -> None:
    kind, remedy = "", "give an ordinary tensor in memory"
    if values.is_nested:
        kind, remedy = "nested", "give images of one shape as one tensor"
    elif values.layout != torch.strided:
        kind, remedy = str(values.layout), "call to_dense() on it"
    elif values.is_quantized:
        kind, remedy = str(values.dtype), "call dequantize() on it"
    elif values.is_meta:
        kind = "without values, on the device meta"
    if kind:
        raise DataError(f"{what} are a tensor that is {kind}: {remedy}")


def _text_in(values: object) -> str | None:
    """The first value of an array or list, if it is text."""
    first = next(iter(np.asarray(values, dtype=object).ravel()), None)
    return str(first) if isinstance(first, str | bytes) else None


def own_tensor(values: object, what: str) -> Tensor:
    """Copy an array to a CPU tensor.

    Raises:
        DataError: If it is not a numeric array.
    """
    return as_tensor(values, what).clone()


def checked_images(x: object, where: str) -> Tensor:
    """Validate images as a tensor with a channel dimension, in the same memory if possible.

    Args:
        x: uint8 in 0..255 or float in [0, 1], shape (n, h, w) or (n, c, h, w).
        where: Name of the data, for messages.

    Returns:
        uint8 or float32, shape (n, c, h, w).

    Raises:
        DataError: If type, shape or range is wrong, or a value is not finite.
    """
    images = as_tensor(x, f"{where}: images")
    _check_shape(images, where)
    images = explicit_channel(images)
    if images.dtype == torch.uint8:
        if int(images.max()) == 1:
            raise DataError(
                f"{where}: uint8 images with no value above 1: "
                "give uint8 in 0..255, or these values as floats in [0, 1]"
            )
        return images
    if not images.is_floating_point():
        raise DataError(
            f"{where}: images of type {_kind(images)}: give uint8 in 0..255 or floats in [0, 1]"
        )
    check_range(images, where)
    return images.float()


def _check_shape(images: Tensor, where: str) -> None:
    shape = tuple(images.shape)
    if images.ndim not in (3, 4):
        raise DataError(
            f"{where}: images of shape {shape}: give (n, height, width) "
            "or (n, channels, height, width)"
        )
    if len(images) == 0:
        raise DataError(f"{where}: no images, shape {shape}: give at least one")
    if images.numel() == 0:
        raise DataError(f"{where}: images of shape {shape} have no pixels: give at least one")
    if images.ndim == 4 and shape[3] in (1, 3) and shape[1] > 4:
        raise DataError(
            f"{where}: images of shape {shape} have channels last: "
            f"give (n, channels, height, width), here {(shape[0], shape[3], *shape[1:3])}"
        )


def unit_range(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]; those of float32 are returned as they are.

    Args:
        images: uint8 in 0..255 or float32 in [0, 1], any shape.
    """
    return images.float().div_(255.0) if images.dtype == torch.uint8 else images


def check_range(images: Tensor, where: str) -> None:
    """Reject float images that are not finite and in [0, 1].

    Args:
        images: Any floating dtype, shape (n, c, h, w), at least one image.
        where: Name of the data, for messages.

    Raises:
        DataError: Names the first wrong image, value and position.
    """
    low, high = (float(bound) for bound in images.aminmax())
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        place = _first(~images.isfinite(), images)
        raise DataError(f"{where}: {place}: give finite values in [0, 1]")
    if low < 0:
        raise DataError(
            f"{where}: {_first(images < 0, images)}: give values in [0, 1], "
            "and normalise inside the model"
        )
    if high > 1:
        hint = ": did you forget to divide by 255?" if 2 < high <= 255 else ""
        raise DataError(f"{where}: {_first(images > 1, images)}: give values in [0, 1]{hint}")
    if 0 < high < 1.001 / 255:
        raise DataError(
            f"{where}: largest value {high:g}, images are black: "
            "give values in [0, 1]: did you divide by 255 twice?"
        )


def _first(wrong: Tensor, images: Tensor) -> str:
    flat = int(wrong.flatten().byte().argmax())
    image, channel, row, column = (int(at) for at in np.unravel_index(flat, images.shape))
    value = float(images.flatten()[flat])
    return f"image {image} has the value {value} at channel {channel}, row {row}, column {column}"


def _kind(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def checked_labels(y: object, n: int, where: str) -> Tensor:
    """Validate labels as a tensor, in the same memory if possible.

    Args:
        y: Class indices, integers from 0, shape (n,).
        n: Number of images.
        where: Name of the data, for messages.

    Returns:
        Shape (n,), int64.

    Raises:
        DataError: If they are not integers of at least 0, or not one per image.
    """
    labels = as_tensor(y, f"{where}: labels")
    if labels.ndim != 1:
        raise DataError(
            f"{where}: labels of shape {tuple(labels.shape)}: give class indices of shape ({n},)"
        )
    if len(labels) != n:
        raise DataError(f"{where}: {n} images but {len(labels)} labels: give one label per image")
    if labels.is_floating_point() or labels.is_complex():
        whole = (labels == labels.round()) if labels.is_floating_point() else labels.real != 0
        at = int((~whole).byte().argmax()) if not bool(whole.all()) else 0
        raise DataError(
            f"{where}: label {labels[at].item()} at index {at} has type {_kind(labels)}: "
            "give integers, the class indices"
        )
    labels = labels.to(torch.int64)
    if n and int(labels.min()) < 0:
        at = int((labels < 0).byte().argmax())
        raise DataError(
            f"{where}: label {int(labels[at])} at index {at} is negative: number the classes from 0"
        )
    return labels


def checked_classes(classes: Sequence[str] | None, labels: Tensor, where: str) -> tuple[str, ...]:
    """Validate class names; by default they are the numbers from 0 to the largest label.

    Args:
        classes: Class names, or None.
        labels: All labels of the source, shape (n,), int64, at least 0.
        where: Name of the data, for messages.

    Raises:
        DataError: If there are fewer than two classes, or a name occurs twice.
    """
    if classes is None:
        at = int(labels.argmax())
        if int(labels[at]) >= MOST_CLASSES:
            raise DataError(
                f"{where}: label {int(labels[at])} at index {at} implies as many classes: "
                f"give class indices from 0 to at most {MOST_CLASSES - 1}"
            )
        _warn_of_labels_from_1(labels, where)
        names = tuple(str(number) for number in range(int(labels[at]) + 1))
    else:
        names = tuple(str(name) for name in classes)
    if len(names) < 2:
        raise DataError(
            f"{where}: {len(names)} class {names}: give at least two, in labels or class names"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: class {twice!r} occurs twice: give unique names")
    return names


def _warn_of_labels_from_1(labels: Tensor, where: str) -> None:
    """Say that class 0 is empty, if every other class has samples."""
    empty = (torch.bincount(labels) == 0).nonzero()[:, 0].tolist()
    most = int(labels.max())
    if empty == [0] and most > 1:
        note(
            f"{where}: labels run from 1 to {most}; class 0 has no sample: subtract 1 if there are "
            f"{most} classes, since a model of these labels has {most + 1} outputs"
        )


def check_within(labels: Tensor, classes: Sequence[str], where: str) -> None:
    """Reject labels that are not class indices.

    Raises:
        DataError: Names the first wrong label and its index.
    """
    outside = (labels < 0) | (labels >= len(classes))
    if bool(outside.any()):
        at = int(outside.byte().argmax())
        raise DataError(
            f"{where}: label {int(labels[at])} at index {at} is outside 0 to {len(classes) - 1}: "
            "give a class index in this range"
        )
