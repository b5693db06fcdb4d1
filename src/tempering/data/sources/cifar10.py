"""Folders of CIFAR-10's binary version (Krizhevsky, 2009)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempering.core.errors import DataError
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.gunzip import read_bytes
from tempering.data.sources.source import folder

TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
"""Bytes of a sample: its label, then its red, green and blue planes."""
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
Bytes = NDArray[np.uint8]


def read_cifar10(argument: str) -> RawSplits:
    """Read `data_batch_1.bin` to `data_batch_5.bin`, and `test_batch.bin` if it is there.

    Raises:
        DataError: If a file is missing or no such file.
    """
    path = folder(argument, f"{TRAIN[0]} to {TRAIN[-1]} and {TEST}, CIFAR-10's binary version")
    batches = [_batch(path / name) for name in TRAIN]
    parts = {"train": _parted(np.concatenate(batches))}
    if (path / TEST).is_file():
        parts["test"] = _parted(_batch(path / TEST))
    return validate_arrays(f"cifar10:{argument}", parts, CLASSES)


def _batch(file: Path) -> Bytes:
    """The records of a file, shape (n, RECORD)."""
    if not file.is_file():
        raise DataError(f"no file {file}: give the folder of CIFAR-10's binary version")
    content = read_bytes(file)
    if not content or len(content) % RECORD:
        raise DataError(
            f"{file} has {len(content)} bytes, not a multiple of {RECORD}: "
            "give an intact file of CIFAR-10's binary version"
        )
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD)


def _parted(records: Bytes) -> tuple[Bytes, Bytes]:
    """Images, shape (n, 3, 32, 32), and labels, shape (n,)."""
    return records[:, 1:].reshape(-1, *SHAPE), records[:, 0]
