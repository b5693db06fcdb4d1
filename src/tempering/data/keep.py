"""Keep masks: the training samples to use, by id, in an `.npz` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tempering.core.arrays import read_arrays
from tempering.core.errors import DamagedArraysError, DataError, UsageError
from tempering.core.files import write_with
from tempering.data.splits import Splits


@dataclass(frozen=True, eq=False)
class KeepMask:
    """A selection of training samples.

    Attributes:
        ids: Ids of all training samples, in any order.
        keep: Whether each sample is kept, shape (n,), bool.
        data_hash: `Splits.data_hash` of the data that the mask was made for; None if unknown.
    """

    ids: tuple[str, ...]
    keep: Tensor
    data_hash: str | None = None

    @classmethod
    def of(cls, data: Splits, keep: Tensor) -> KeepMask:
        """A mask over training samples in their order, shape (n,), bool."""
        return cls(data.train.ids.names, keep, data.data_hash)

    def save(self, path: Path) -> None:
        """Write the mask as `.npz` with `keep`, `id` and `data_hash`.

        Raises:
            RunError: If the file cannot be written.
        """
        arrays = {"keep": self.keep.numpy(), "id": np.array(self.ids)}
        if self.data_hash is not None:
            arrays["data_hash"] = np.array(self.data_hash)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)

        write_with(path, write)

    def apply(self, data: Splits) -> Splits:
        """The data without the dropped training samples.

        Raises:
            DataError: If the mask is of other data, does not name every training sample once, or
                drops all of them.
        """
        if self.data_hash is not None and self.data_hash != data.data_hash:
            raise DataError(
                f"a keep mask for data with hash {self.data_hash}, but {data.address} has "
                f"{data.data_hash}: give a mask that was made for this data and split"
            )
        if self.keep.shape != (len(self.ids),) or self.keep.dtype != torch.bool:
            raise DataError(
                f"a keep mask with keep of type {self.keep.dtype} and shape "
                f"{tuple(self.keep.shape)} for {len(self.ids)} ids: give one bool per id"
            )
        if len(self.ids) != len(data.train):
            raise DataError(
                f"a keep mask of {len(self.ids)} samples for {data.train.name}, which has "
                f"{len(data.train)}: give one entry for each training sample"
            )
        if len(set(self.ids)) < len(self.ids):
            twice = next(name for name in self.ids if self.ids.count(name) > 1)
            raise DataError(f"a keep mask with the id {twice!r} twice: give unique ids")
        rows = data.train.ids.rows_of(self.ids, data.train.name)
        mask = torch.zeros(len(data.train), dtype=torch.bool)
        mask[rows[self.keep]] = True
        return data.keep(mask)


def read_keep_mask(path: Path | str) -> KeepMask:
    """Read a mask: an `.npz` with `keep` (bool), `id` (text) and, optionally, `data_hash`.

    Raises:
        UsageError: If it is no path.
        DataError: If the file cannot be read, or an array is missing.
    """
    if not isinstance(path, str | Path):
        raise UsageError(f"keep {path!r} is no path: give an .npz with arrays keep and id")
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no file {path}: give an .npz with arrays keep and id")
    try:
        arrays = read_arrays(path)
    except DamagedArraysError as error:
        raise DataError(f"cannot read {path}: {error}: give an .npz with keep and id") from error
    for name in ("keep", "id"):
        if name not in arrays:
            raise DataError(f"{path} has no array {name}: give an .npz with arrays keep and id")
    keep = arrays["keep"]
    if keep.dtype != np.bool_ or keep.ndim != 1:
        raise DataError(
            f"{path}: keep of type {keep.dtype} and shape {keep.shape}: give bool of shape (n,)"
        )
    data_hash = None
    if "data_hash" in arrays:
        if arrays["data_hash"].size != 1:
            raise DataError(
                f"{path}: data_hash has {arrays['data_hash'].size} values: give one, or none"
            )
        data_hash = str(arrays["data_hash"].item())
    ids = tuple(str(name) for name in arrays["id"].ravel())
    return KeepMask(ids, torch.from_numpy(keep.copy()), data_hash)
