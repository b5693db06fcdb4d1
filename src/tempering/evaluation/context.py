"""What all measurements of an evaluation share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from tempering.attacks.base import Attack
from tempering.core.engine import Engine
from tempering.core.errors import DataError, UsageError
from tempering.core.naming import samples_named
from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class EvalContext:
    """Test data, where to compute, and the seed of all draws.

    Attributes:
        data: The samples; every count is over all of them.
        split: Which part of the data they are.
        engine: Where to compute, alone or with other processes.
        seed: Of the whole run.
        batch_size: Samples at a time; changes no draw and no decision.

    Raises:
        DataError: If there is no sample.
        UsageError: If the batch size is below 1.
    """

    data: Dataset
    split: Literal["validation", "test"]
    engine: Engine
    seed: int
    batch_size: int = 256

    def __post_init__(self) -> None:
        if len(self.data) == 0:
            raise DataError(f"no samples in {self.data.name} to evaluate on: give at least one")
        if self.batch_size < 1:
            raise UsageError(f"batch_size {self.batch_size}: give at least 1")

    @property
    def n(self) -> int:
        """How many samples every count is over."""
        return len(self.data)

    @property
    def keys(self) -> Tensor:
        """Keys of the samples' ids, shape (n,), int64: what all random draws depend on."""
        return self.data.ids.keys

    def naming(self) -> AbstractContextManager[None]:
        """Within it, messages name samples by their ids."""
        return samples_named(self.data.ids.name_of)

    def streams(self, attack: Attack, keys: Tensor) -> RandomStreams:
        """The streams of an attack: equal in any batch, order and process, and at any eps.

        Attacks of one name share them, so an attack with restarts repeats all that the
        same attack does without. They depend on the samples' ids, not on their positions.

        Args:
            attack: What draws.
            keys: Keys of the samples, shape (n,), int64; see `keys`.
        """
        return RandomStreams(derive(self.seed, "evaluation", attack.config()["name"]), keys)
