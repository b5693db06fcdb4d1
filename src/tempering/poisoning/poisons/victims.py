"""Images that a poison without a trigger aims at."""

from __future__ import annotations

from tempering.core.errors import DataError, UsageError
from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset
from tempering.poisoning.poisons.task import Task


def draw_victims(task: Task, count: int, target: int) -> Dataset:
    """Draw images of other classes than the target from what is not trained on.

    Args:
        task: The task; it needs `test`.
        count: Number of victims.
        target: The class that they are to be taken for.

    Raises:
        UsageError: If there is no test data, or the count is below 1.
        DataError: If there are too few.
    """
    if task.test is None:
        raise UsageError("this poison aims at images that are not trained on: give test=...")
    if count < 1:
        raise UsageError(f"victims {count}: give at least 1")
    test = task.test
    streams = RandomStreams(derive(task.streams.key, "victims"), test.ids.keys)
    order = streams.order()
    rows = order[test.y[order] != target][:count]
    if len(rows) < count:
        raise DataError(
            f"{count} victims but only {len(rows)} samples of {test.name} are of another class "
            f"than {test.classes[target]}: give fewer victims"
        )
    return test.subset(rows.sort().values)
