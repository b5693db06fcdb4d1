"""Images that an attacker brings along: where a decision attack may begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from tempering.attacks.base import Problem
from tempering.core.errors import UsageError
from tempering.data.dataset import Dataset
from tempering.data.loading import load

_AT_HAND = "data:"


@dataclass(frozen=True)
class StartImages:
    """Labelled images by where they come from, which compare, print and go into records.

    They belong to the attack, as its other settings do: give images that an attacker may
    have, such as training data or photographs of the class that is wanted, never the
    samples that are attacked.

    Attributes:
        address: Of data, such as `mnist`, whose training images serve; or `data:HASH` for
            a dataset at hand.
        data: The dataset at hand; None to load it from the address when it is needed.

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
            return cls(f"{_AT_HAND}{given.content_hash}", given)
        return cls(given)

    def images(self) -> Dataset:
        """The dataset.

        Raises:
            UsageError: If there is none at the address, or it names data at hand alone.
        """
        if self.data is not None:
            return self.data
        if self.address.startswith(_AT_HAND):
            raise UsageError(f"starts {self.address}: give the dataset itself, or its address")
        return _loaded(self.address)

    def nearest(self, problem: Problem, rows: Tensor, outputs: int, most: int) -> Tensor:
        """Images of classes that some samples may be taken for, nearest first.

        Args:
            problem: Images and goal.
            rows: Samples, shape (m,), int64.
            outputs: How many outputs the model has.
            most: How many images at most.

        Returns:
            Numbers of images in `images()` for each row, shape (m, k), k at most `most`;
            -1 where a row has no more of them.

        Raises:
            UsageError: If its images are of another shape than the samples.
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
            compute_mode="donot_use_mm_for_euclid_dist",  # a row's distances know no batch
        )
        away = away.masked_fill(~helps, torch.inf)
        found, order = away.sort(dim=1, stable=True)
        return order.masked_fill(found == torch.inf, -1)[:, :most]


@cache
def _loaded(address: str) -> Dataset:
    return load(address).train
