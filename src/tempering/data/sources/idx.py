"""Folders of IDX files with MNIST's file names, compressed or not (LeCun et al., 1998)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempering.core.errors import DataError
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.gunzip import read_bytes, unpack
from tempering.data.sources.source import folder

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
Bytes = NDArray[np.uint8]


def read_idx(argument: str) -> RawSplits:
    """Read the training files, and the test files if there are any.

    They are called `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and `t10k-` instead
    of `train-` for test; each raw or `.gz`.

    Raises:
        DataError: If a file is missing, damaged or not an IDX file of bytes.
    """
    path = folder(argument, f"train-{IMAGES} and train-{LABELS}, raw or .gz")
    parts = {"train": _pair(path, "train")}
    if _find(path, f"t10k-{IMAGES}") or _find(path, f"t10k-{LABELS}"):
        parts["test"] = _pair(path, "t10k")
    return validate_arrays(f"idx:{argument}", parts)


def _find(path: Path, name: str) -> Path | None:
    return next((file for file in (path / name, path / f"{name}.gz") if file.is_file()), None)


def _pair(path: Path, part: str) -> tuple[Bytes, Bytes]:
    return _array(path, f"{part}-{IMAGES}", 3), _array(path, f"{part}-{LABELS}", 1)


def _array(path: Path, name: str, dimensions: int) -> Bytes:
    file = _find(path, name)
    if file is None:
        raise DataError(f"no file {path / name} or {name}.gz: give both images and labels")
    content = read_bytes(file)
    if file.suffix == ".gz":
        content, fault = unpack(content)
        if fault:
            raise DataError(f"{file} is {fault}: give an intact gzip file")
    return parse_idx(content, str(file), dimensions)


def parse_idx(content: bytes, where: str, dimensions: int) -> Bytes:
    """Parse an IDX file of bytes.

    Args:
        content: Two zero bytes, the type (8 for unsigned bytes), the number of dimensions,
            each dimension's size as four bytes, most significant first, and the values.
        where: Name of the file, for messages.
        dimensions: Expected number of dimensions.

    Returns:
        Read-only array of that many dimensions, uint8.

    Raises:
        DataError: If the header is wrong, or the number of values does not match it.
    """
    header = 4 + 4 * dimensions
    wanted = bytes((0, 0, 8, dimensions))
    if content[:4] != wanted:
        raise DataError(
            f"{where} begins with {content[:4].hex() or 'nothing'}: "
            f"give an IDX file of bytes in {dimensions} dimensions, which begins with "
            f"{wanted.hex()}"
        )
    if len(content) < header:
        raise DataError(
            f"{where} has a header of {len(content)} bytes, not {header}: give a complete IDX file"
        )
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, header, 4)]
    if len(content) - header != math.prod(sizes):
        raise DataError(
            f"{where} holds {len(content) - header} values but its header says "
            f"{'x'.join(map(str, sizes))} = {math.prod(sizes)}: give a complete IDX file"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
