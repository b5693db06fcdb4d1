"""Labelled images of the attacker, as initial points of decision-based attacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.core.errors import UsageError
from tempering.data.dataset import Dataset
from tempering.data.loading import load

_IN_MEMORY = "data:"


@dataclass(frozen=True)
class StartImages:
    """Labelled images identified by their address, for comparison, printing and records.

    Give images that an attacker may have, such as training data or photographs of the
    target class, never the samples under attack.

    Attributes:
        address: Of a dataset, such as `mnist`, whose training images are used; or
            `data:HASH` for a dataset in memory.
        data: The dataset in memory; None to load it from the address when needed.

    Example:
        >>> one = Dataset.of(torch.ones(1, 8, 8), torch.tensor([3]))
        >>> StartImages.of(one) == StartImages.of(one), StartImages.of("mnist").address
        (True, 'mnist')
    """

    address: str
    data: Dataset | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, given: Dataset | str) -> StartImages:
        """From a dataset, or from the address of one."""
        if isinstance(given, Dataset):
            return cls(f"{_IN_MEMORY}{given.content_hash}", given)
        return cls(given)

    def images(self) -> Dataset:
        """The dataset.

        Raises:
            UsageError: If there is none at the address, or it names data in memory only.
        """
        if self.data is not None:
            return self.data
        if self.address.startswith(_IN_MEMORY):
            raise UsageError(f"starts {self.address}: give the dataset itself, or its address")
        return _loaded(self.address)

    def nearest(self, problem: Problem, rows: Tensor, outputs: int, most: int) -> Tensor:
        """Images of classes that count as success for some samples, nearest first.

        Args:
            problem: Images and goal.
            rows: Samples, shape (m,), int64.
            outputs: Number of the model's outputs.
            most: Number of images at most.

        Returns:
            Indices into `images()` for each row, shape (m, k), k at most `most`; -1 where a
            row has no more of them.

        Raises:
            UsageError: If its images have another shape than the samples.
        """
        data = self.images()
        if data.x.shape[1:] != problem.x.shape[1:]:
            raise UsageError(
                f"starts {self.address} of shape {tuple(data.x.shape[1:])} for images of "
                f"{tuple(problem.x.shape[1:])}: give images of the same shape"
            )
        parts = [
            self._nearest(problem, rows[at : at + problem.batch_size], outputs, most)
            for at in range(0, len(rows), problem.batch_size)
        ]
        return torch.cat(parts)

    def _nearest(self, problem: Problem, rows: Tensor, outputs: int, most: int) -> Tensor:
        data, device = self.images(), problem.x.device
        labels = data.y.to(device)
        protected = problem.goal.protected(problem.y[rows], outputs)
        helps = ~protected[:, labels.clamp_max(outputs - 1)] & (labels < outputs)
        away = torch.cdist(
            problem.x[rows].flatten(1),
            data.x.to(problem.x).flatten(1),
            compute_mode="donot_use_mm_for_euclid_dist",  # distances must not depend on the batch
        )
        away = away.masked_fill(~helps, torch.inf)
        ascending, order = away.sort(dim=1, stable=True)
        return order.masked_fill(ascending == torch.inf, -1)[:, :most]


@cache
def _loaded(address: str) -> Dataset:
    return load(address).train
