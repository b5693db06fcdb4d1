"""NumPy archives with arrays `x` and `y`."""

from __future__ import annotations

from pathlib import Path

from tempering.core.arrays import read_arrays
from tempering.core.errors import DamagedArraysError, DataError
from tempering.data.raw_splits import RawSplits, validate_arrays


def read_npz(argument: str) -> RawSplits:
    """Read an archive: `x` and `y` and, optionally, `classes`, `x_test` and `y_test`.

    Nothing is unpickled. Ids are row numbers: `12`, or `train/12` and `test/12` if there are
    test arrays.

    Raises:
        DataError: If the file cannot be read, or an array is missing or invalid.
    """
    path = Path(argument).expanduser()
    if not path.is_file():
        raise DataError(f"no file {path}: give an .npz with arrays x and y")
    try:
        arrays = read_arrays(path)
    except DamagedArraysError as error:
        raise DataError(
            f"cannot read {path}: {error}: give an .npz of plain arrays x and y"
        ) from error
    tested = "x_test" in arrays or "y_test" in arrays
    for name in ("x", "y", "x_test", "y_test") if tested else ("x", "y"):
        if name not in arrays:
            held = ", ".join(arrays) or "none"
            raise DataError(f"{path} has no array {name} (it has {held}): add it")
    test = (arrays["x_test"], arrays["y_test"]) if tested else None
    classes = [str(name) for name in arrays["classes"].ravel()] if "classes" in arrays else None
    return validate_arrays(f"npz:{argument}", (arrays["x"], arrays["y"]), test, classes)
