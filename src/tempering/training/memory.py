"""Values that an objective keeps of each sample from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tempering.core.errors import TemperingError
from tempering.data.ids import SampleIds

IDS = "ids"
"""Name under which the keys of the samples lie beside their values."""


class SampleMemory:
    """One number of each name for each sample, NaN until it is given; known by the sample's id.

    Attributes:
        values: Name -> number of each sample, shape (n,), float32, on the CPU.

    Example:
        >>> memory = SampleMemory(SampleIds.rows(3), ["loss"])
        >>> memory.keep({"loss": torch.tensor([0.5])}, torch.tensor([2]))
        >>> memory.values["loss"]
        tensor([   nan,    nan, 0.5000])
    """

    def __init__(
        self, ids: SampleIds, names: Sequence[str], saved: Mapping[str, Tensor] | None = None
    ) -> None:
        """Nothing, or what was saved of those samples that it knew.

        Args:
            ids: Of all samples of the data, in order.
            names: What is kept.
            saved: What `tensors` returned, of the same data or other.
        """
        self._keys = ids.keys
        self.values = {name: torch.full((len(ids),), float("nan")) for name in names}
        for name in self.values.keys() & (saved or {}).keys():
            self._restore(name, saved or {})

    def _restore(self, name: str, saved: Mapping[str, Tensor]) -> None:
        keys, values = saved[IDS].cpu(), saved[name].cpu().float()
        if not len(keys):
            return
        order = keys.argsort()
        place = torch.searchsorted(keys[order], self._keys).clamp_max(len(keys) - 1)
        found = order[place]
        known = keys[found] == self._keys
        self.values[name][known] = values[found[known]]

    def keep(self, values: Mapping[str, Tensor], rows: Tensor) -> None:
        """Replace the values of some samples.

        Args:
            values: Name -> number of each of these samples, shape (k,).
            rows: Rows of the data, shape (k,), int64.

        Raises:
            TemperingError: If a name is not kept.
        """
        for name, given in values.items():
            if name not in self.values:
                raise TemperingError(
                    f"the objective remembers {name!r} but does not declare it: name it in memory()"
                )
            self.values[name][rows] = given.detach().cpu().float()

    def tensors(self) -> dict[str, Tensor]:
        """What there is to save: copies of the values and the samples' keys."""
        if not self.values:
            return {}
        return {IDS: self._keys.clone()} | {k: v.clone() for k, v in self.values.items()}
