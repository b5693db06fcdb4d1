"""What people give from Python, as the values that the rest works with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.attacks.registry import parse_attack
from tempering.core.errors import DataError, UsageError, type_and_message
from tempering.core.threats import Threat, parse_threat
from tempering.data.checks import as_tensor
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.models.adoption import as_module

ModelLike = nn.Module | Callable[[Tensor], Tensor]
ThreatLike = Threat | str
AttackLike = Attack | str
DataLike = Any
"""`Dataset`, `Splits`, a pair of arrays, a `torch.utils.data.Dataset` or a `DataLoader`."""


def as_model(model: Any) -> nn.Module:
    """A module, or a function or an exported program as a module.

    Raises:
        ModelError: If it is neither.

    Example:
        >>> type(as_model(lambda x: x.flatten(1))).__name__
        'FunctionModel'
    """
    return as_module(model)


def as_threat(threat: Any) -> Threat:
    """A threat, or text such as `linf:8/255` as a threat.

    Raises:
        UsageError: If it is neither, or the text is no threat.

    Example:
        >>> str(as_threat("linf:0.25"))
        'linf:0.25'
    """
    if isinstance(threat, str):
        return parse_threat(threat)
    if not isinstance(threat, Threat):
        raise UsageError(
            f"threat {threat!r}: give a value, such as tempering.Linf(0.3), or text, such as "
            "'linf:8/255'"
        )
    return threat


def as_attacks(attacks: Any) -> list[Attack] | None:
    """One attack or several, as values or as text such as `pgd:steps=40`; None stays None.

    Raises:
        UsageError: If one is no attack.
        UnknownNameError: If a name is unknown.

    Example:
        >>> [attack.label() for attack in as_attacks("pgd:steps=3")]
        ['pgd-3']
    """
    if attacks is None:
        return None
    given = [attacks] if isinstance(attacks, Attack | str) else attacks
    if not isinstance(given, Sequence):
        raise UsageError(f"attacks = {attacks!r}: give a list of attacks")
    values = [parse_attack(one) if isinstance(one, str) else one for one in given]
    for one in values:
        if not isinstance(one, Attack):
            raise UsageError(
                f"attack {one!r}: give a value, such as tempering.attacks.PGD(), or its name"
            )
    return values


def as_attack(attack: Any) -> Attack:
    """One attack, as a value or as text such as `pgd:steps=40`.

    Raises:
        UsageError: If it is none, or several.
        UnknownNameError: If the name is unknown.
    """
    values = as_attacks([attack] if isinstance(attack, Attack | str) else attack) or []
    if len(values) != 1:
        raise UsageError(f"attack = {attack!r}: give one attack, such as tempering.attacks.PGD()")
    return values[0]


def as_data(data: Any) -> Dataset | Splits:
    """Data of any form as a dataset: images in [0, 1] or bytes, and labels.

    Raises:
        UsageError: If it is no data.
        DataError: If the data is invalid; the message names the index and the value.

    Example:
        >>> len(as_data((torch.rand(4, 8, 8), torch.tensor([0, 1, 1, 0]))))
        4
    """
    if isinstance(data, Dataset | Splits):
        return data
    if isinstance(data, torch.utils.data.DataLoader):
        return _stacked((x, y) for batch in data for x, y in zip(*_pair(batch), strict=True))
    if isinstance(data, torch.utils.data.Dataset):
        rows = range(len(data))  # type: ignore[arg-type]
        return _stacked(_pair(data[row]) for row in rows)
    if isinstance(data, tuple | list) and len(data) == 2:
        return Dataset.of(_array(data[0], "images"), data[1])
    raise UsageError(
        f"data of type {type(data).__name__}: give a pair (images, labels), a torch Dataset or "
        "DataLoader, or tempering.data.load('mnist')"
    )


def as_splits(data: Any) -> Splits:
    """As `as_data`; data without a test part is split.

    Raises:
        UsageError: If it is no data.
        DataError: If the data is invalid, or too little.
    """
    held = as_data(data)
    return held if isinstance(held, Splits) else Splits.of(held)


def as_count(value: Any, name: str, least: int = 0, most: int | None = None) -> int:
    """A whole number.

    Raises:
        UsageError: If it is none, or too small or too large; names the argument.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise UsageError(f"{name} = {value!r}: give a whole number of at least {least}")
    if most is not None and value > most:
        raise UsageError(f"{name} = {value!r}: give a whole number from {least} to {most}")
    return int(value)


def as_number(value: Any, name: str) -> float:
    """A number.

    Raises:
        UsageError: If it is none; names the argument.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise UsageError(f"{name} = {value!r}: give a finite number")
    return float(value)


def as_settings(values: Any, name: str = "overrides", example: str = "seed=3") -> list[str]:
    """Text, one or several.

    Raises:
        UsageError: If one is no text; names the argument.
    """
    texts = [values] if isinstance(values, str) else values
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{name} = {values!r}: give a list of texts, such as [{example!r}]")
    return list(texts)


def as_seconds(value: Any) -> float | None:
    """A time in seconds; None stays None.

    Raises:
        UsageError: If it is no number.
    """
    return None if value is None else as_number(value, "seconds")


def as_path(value: Any) -> Path:
    """A path, or text as one.

    Raises:
        UsageError: If it is neither.
    """
    if not isinstance(value, str | PathLike):
        raise UsageError(f"{value!r} as a path: give text or a pathlib.Path")
    return Path(value)


@contextmanager
def shown(progress: bool) -> Iterator[None]:
    """Show the progress of what runs within, if that is wanted."""
    if not progress:
        yield
        return
    from tempering.app.cli.console import progress as reported

    with reported():
        yield


def _pair(item: Any) -> tuple[Any, Any]:
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise UsageError(
        f"an item of type {type(item).__name__} in the data: give pairs of image and label"
    )


def _stacked(items: Any) -> Dataset:
    """Items of a torch dataset as one; images must be tensors or arrays of one shape."""
    images: list[Tensor] = []
    labels: list[Any] = []
    for number, (x, y) in enumerate(items):
        image = _array(x, f"image {number}")
        if images and image.shape != images[0].shape:
            raise DataError(
                f"image {number} has shape {tuple(image.shape)} and image 0 "
                f"{tuple(images[0].shape)}: give images of one shape"
            )
        images.append(image)
        labels.append(y.item() if isinstance(y, Tensor) else y)
    if not images:
        raise DataError("the data is empty: give at least one image of each class")
    dense = [as_tensor(image, "images") for image in images]
    return Dataset.of(torch.stack(dense), np.asarray(labels))


def _array(values: Any, what: str) -> Tensor:
    try:
        return values.detach() if isinstance(values, Tensor) else torch.as_tensor(values)
    except Exception as error:
        raise UsageError(
            f"{what} of type {type(values).__name__}: {type_and_message(error)}: give a tensor or "
            "a numpy array"
        ) from error
