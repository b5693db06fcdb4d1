"""How often an attack that poisoned the training succeeds at test time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError
from tempering.core.probe import probing
from tempering.core.record import Count
from tempering.core.user_code import device_of
from tempering.data.class_names import class_number
from tempering.data.dataset import Dataset
from tempering.models.adoption import as_module
from tempering.poisoning.poisons.base import as_held
from tempering.poisoning.triggers.base import Trigger

BATCH = 256


def attack_success(model: nn.Module, data: Dataset, trigger: Trigger, target: int | str) -> Count:
    """Stamped images of other classes that a model takes for the target class.

    Args:
        model: From images in [0, 1] to logits.
        data: Test data; samples of the target class are left out.
        trigger: What is stamped on them.
        target: The class, a number or name.

    Returns:
        Successes and images, with their interval.

    Raises:
        UsageError: If the target is no class.
        DataError: If no sample is of another class, or the trigger does not fit.
        ModelError: If the model fails.

    Example:
        >>> from tempering.poisoning import Overlay
        >>> data = Dataset.of(torch.rand(4, 2, 2), torch.tensor([0, 1, 1, 0]))
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> attack_success(net, data, Overlay(torch.ones(1, 2, 2), torch.ones(2, 2)), 0).n
        2
    """
    return targeted_success(model, stamped(data, trigger, target), target)


def targeted_success(model: nn.Module, data: Dataset, target: int | str) -> Count:
    """Images that a model takes for the target class, as they are: of victims or stamped ones.

    The class is given by number or name.

    Raises:
        UsageError: If the target is no class.
        ModelError: If the model fails.
    """
    number = class_number(target, data.classes, "target", data.name)
    model, hits = as_module(model), 0
    device = device_of(model)
    with probing(model) as probe, torch.no_grad():
        for rows in torch.split(torch.arange(len(data)), BATCH):
            predicted = probe.logits(data.images(rows).to(device)).argmax(1)
            hits += int((predicted == number).sum())
    return Count(hits=hits, n=len(data))


def stamped(data: Dataset, trigger: Trigger, target: int | str) -> Dataset:
    """The samples of other classes than the target, with the trigger; labels stay.

    Images that were bytes are bytes again.

    Raises:
        UsageError: If the target is no class.
        DataError: If no sample is of another class, or the trigger does not fit.
    """
    number = class_number(target, data.classes, "target", data.name)
    others = data.keep(data.y != number)
    if len(others) == 0:
        raise DataError(
            f"all samples of {data.name} are of class {data.classes[number]}, the target: give "
            "samples of another class"
        )
    parts = [as_held(trigger.stamp(x), data.pixels.dtype) for x in others.chunks()]
    return _with_pixels(others, torch.cat(parts))


def _with_pixels(data: Dataset, pixels: Tensor) -> Dataset:
    return Dataset(pixels, data.y, data.classes, data.name, data.ids)
