"""Writes data as an `.npz` that `npz:FILE` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tempering.core.files import write_with
from tempering.data.splits import Splits


def save_npz(data: Splits, path: Path) -> None:
    """Write training, validation and test data with their ids and class names.

    Reading the file gives the same parts in the same order. Bytes stay bytes.

    Args:
        data: The data.
        path: The `.npz` file.

    Raises:
        RunError: If the file cannot be written.
    """
    arrays = {"classes": np.array(data.classes)}
    names = {"train": "", "validation": "_validation", "test": "_test"}
    for role, part in data.parts.items():
        suffix = names[role]
        arrays[f"x{suffix}"] = part.pixels.numpy()
        arrays[f"y{suffix}"] = part.y.numpy()
        arrays[f"id{suffix}"] = np.array(part.ids.names)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    write_with(path, write)
