"""Binary estimators on features: fitted with scikit-learn, kept as arrays, scored with torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError
from tempering.core.registry import Registry


class Estimator(nn.Module, ABC):
    """From features to the probability that a sample is adversarial.

    What is fitted lies in buffers whose shapes follow from `sizes`; nothing is pickled.

    Attributes:
        size_names: What each of the sizes is; the first is the width of the features.
    """

    size_names: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def fitted(cls, features: Tensor, labels: Tensor, members: int, seed: int) -> Self:
        """Fit one.

        Args:
            features: Shape (n, width), float32.
            labels: 1 for adversarial samples, 0 for clean ones, shape (n,), int64.
            members: Trees, or neighbours that vote.
            seed: Of all random draws.

        Raises:
            DataError: If there are too few samples.
        """

    @classmethod
    @abstractmethod
    def blank(cls, sizes: tuple[int, ...]) -> Self:
        """One with buffers of these sizes, to be filled from a file."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Its sizes, as `size_names` names them."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Probabilities, shape (n,)."""


ESTIMATORS: Registry[type[Estimator]] = Registry("estimator")
"""Name -> class of an estimator."""


def require_both(labels: Tensor, least: int) -> None:
    """Refuse too few samples of either label.

    Raises:
        DataError: Naming how many there are.
    """
    counts = labels.bincount(minlength=2).tolist()
    if min(counts) < 1 or sum(counts) < least:
        raise DataError(
            f"{counts[0]} clean and {counts[1]} adversarial samples for the estimator: "
            f"give both, at least {least} together"
        )


def flat_rows(tables: list[Any], nodes: int, fill: float) -> Tensor:
    """Arrays of several trees as one, shape (trees, nodes), padded."""
    rows = torch.full((len(tables), nodes), fill, dtype=torch.float64)
    for row, table in zip(rows, tables, strict=True):
        row[: len(table)] = torch.as_tensor(table, dtype=torch.float64)
    return rows
