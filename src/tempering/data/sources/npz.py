"""NumPy archives with arrays `x` and `y`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempering.core.errors import DataError
from tempering.data.samples import Holdings, admit
from tempering.data.sources.source import reason

Arrays = dict[str, NDArray[Any]]


def read_npz(argument: str) -> Holdings:
    """Read an archive: `x` and `y`, and if it has them `classes`, `x_test` and `y_test`.

    Nothing is unpickled.

    Raises:
        DataError: If it cannot be read or an array is missing or wrong.
    """
    path = Path(argument).expanduser()
    if not path.is_file():
        raise DataError(f"no file {path}: give an .npz with arrays x and y")
    arrays = _arrays(path)
    tested = "x_test" in arrays or "y_test" in arrays
    for name in ("x", "y", "x_test", "y_test") if tested else ("x", "y"):
        if name not in arrays:
            held = ", ".join(arrays) or "none"
            raise DataError(f"{path} has no array {name} (it has {held}): add it")
    test = (arrays["x_test"], arrays["y_test"]) if tested else None
    classes = [str(name) for name in arrays["classes"].ravel()] if "classes" in arrays else None
    return admit(f"npz:{argument}", (arrays["x"], arrays["y"]), test, classes)


def _arrays(path: Path) -> Arrays:
    try:
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise DataError(f"{path} is one array: give an .npz with arrays x and y")
            with file:
                return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"cannot read {path}: {reason(error)}: give an .npz of plain arrays x and y"
        ) from error
