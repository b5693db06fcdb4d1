"""NumPy archives with arrays `x` and `y`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tempering.core.arrays import read_arrays
from tempering.core.errors import DamagedArraysError, DataError
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.part_names import role_of


def read_npz(argument: str) -> RawSplits:
    """Read an archive: `x` and `y` and, optionally, `classes`, `x_test` and `y_test`.

    `x_train` may stand for `x`, and `x_val` and `y_val` are validation samples; other names of
    parts are as in `part_names`. Nothing is unpickled.
    Ids are row numbers: `12`, or `train/12` and `test/12` if there are several parts.

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
    classes = [str(name) for name in arrays["classes"].ravel()] if "classes" in arrays else None
    suffixes = _suffixes(arrays, path)
    parts = {}
    for role, suffix in suffixes.items():
        for name in (f"x{suffix}", f"y{suffix}"):
            if name not in arrays:
                held = ", ".join(arrays) or "none"
                raise DataError(f"{path} has no array {name} (it has {held}): add it")
        parts[role] = (arrays[f"x{suffix}"], arrays[f"y{suffix}"])
    return validate_arrays(f"npz:{argument}", parts, classes)


def _suffixes(arrays: Iterable[str], path: Path) -> dict[str, str]:
    """Role -> what follows x and y in the names of its arrays."""
    suffixes: dict[str, str] = {}
    for name in arrays:
        letter, _, part = name.partition("_")
        role = role_of(part) if part else "train"
        if letter not in ("x", "y") or role is None:
            continue
        suffix = f"_{part}" if part else ""
        if suffixes.setdefault(role, suffix) != suffix:
            raise DataError(
                f"{path} has arrays x{suffixes[role]} and x{suffix} for {role}: leave one out"
            )
    return {"train": suffixes.pop("train", ""), **suffixes}
