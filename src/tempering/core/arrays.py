"""Reading files of arrays that may be damaged, or no such files at all."""

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
    MemoryError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy may raise on such a file."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz`, by name; nothing is unpickled.

    Raises:
        DamagedArraysError: If it cannot be read.

    Example:
        `read_arrays(Path("verdicts.npz"))["index"]`
    """
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise DamagedArraysError("it is one array, and not a file of several")
            with file:
                return {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise DamagedArraysError(" ".join(str(error).split()) or type(error).__name__) from error
