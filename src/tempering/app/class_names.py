"""Names of classes that a model knows, for data that only number them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tempering.data.splits import Splits


def with_class_names(data: Splits, names: Sequence[str]) -> Splits:
    """The data with a model's names of the classes, where the data only number them.

    Args:
        data: Any data.
        names: Of the model's outputs; ignored if they are not as many as the classes.
    """
    numbers = tuple(str(number) for number in range(data.num_classes))
    if data.classes != numbers or len(names) != len(numbers):
        return data
    train, validation, test = (
        replace(part, classes=tuple(names)) for part in (data.train, data.validation, data.test)
    )
    return replace(data, train=train, validation=validation, test=test)
