"""Reads `.npz` files that may be damaged or of another type."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
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
