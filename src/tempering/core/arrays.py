"""Reads `.npz` files that may be damaged or of another type."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempering.core.errors import DamagedArraysError

_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that NumPy raises for damaged files."""


_HEAD = 512
"""Bytes that tell what a file is."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file by name; nothing is unpickled.

    Raises:
        DamagedArraysError: If the file cannot be read.

    Example:
        `read_arrays(Path("verdicts.npz"))["index"]`
    """
    try:
        with path.open("rb") as stream:
            if fault := _other_kind(stream.read(_HEAD)):
                raise DamagedArraysError(fault)
            stream.seek(0)
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise DamagedArraysError("it contains a single array (.npy)")
            with file:
                return {name: file[name] for name in file.files}
    except MemoryError as error:
        told = " ".join(str(error).split())
        raise DamagedArraysError(f"an array in it does not fit into memory: {told}") from error
    except _DAMAGE as error:
        raise DamagedArraysError(" ".join(str(error).split()) or type(error).__name__) from error


def require_layout(
    arrays: Mapping[str, NDArray[Any]], layout: Mapping[str, tuple[type[np.generic], str]]
) -> None:
    """Check types and sizes of arrays before anything is computed from them.

    Args:
        arrays: By name.
        layout: Name -> type, and its sizes: a letter for each dimension, the same letter for the
            same size, which is at least 1. Floats must be finite.

    Raises:
        DamagedArraysError: If an array is missing, or is not as the layout says.

    Example:
        >>> layout = {"x": (np.float32, "nd"), "y": (np.int64, "n")}
        >>> require_layout({"x": np.ones((3, 2), np.float32), "y": np.ones(3, np.int64)}, layout)
    """
    sizes: dict[str, int] = {}
    for name, (kind, letters) in layout.items():
        if name not in arrays:
            raise DamagedArraysError(f"it has no array {name}")
        held = arrays[name]
        fits = np.issubdtype(held.dtype, kind) and held.ndim == len(letters) and held.size > 0
        if fits:
            fits = all(
                sizes.setdefault(letter, size) == size
                for letter, size in zip(letters, held.shape, strict=True)
            )
        if not fits:
            dimensions = ", ".join(str(sizes.get(letter, letter)) for letter in letters)
            raise DamagedArraysError(
                f"array {name} is {held.dtype} of shape {held.shape}, not "
                f"{kind.__name__.rstrip('_')} of shape ({dimensions})"
            )
        if np.issubdtype(held.dtype, np.floating) and not np.isfinite(held).all():
            raise DamagedArraysError(f"array {name} has values that are not finite")


def _other_kind(head: bytes) -> str | None:
    """What a file is that begins like this, if it is neither an archive nor a single array."""
    if head.startswith((b"PK", b"\x93NUMPY")):
        return None
    if not head:
        return "it is empty"
    try:
        text = head.decode("utf-8", "strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return "it is no NumPy archive"
    printable = all(letter.isprintable() or letter.isspace() for letter in text)
    return "it is a text file" if printable else "it is no NumPy archive"
