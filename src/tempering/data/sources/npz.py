"""NumPy archives with arrays `x` and `y`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tempering.core.arrays import read_arrays
from tempering.core.errors import DamagedArraysError, DataError
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.part_names import PartChoice, Role, role_of


def read_npz(argument: str) -> RawSplits:
    """Read an archive: `x` and `y` and, optionally, `classes`, `x_test` and `y_test`.

    `x_train` may stand for `x`, and `x_val` and `y_val` are validation samples; other names of
    parts are as in `part_names`, and `FILE?test=NAME` says that `x_NAME` and `y_NAME` are for
    testing. Nothing is unpickled.
    Ids are those of the arrays `id`, `id_test` and so on, if every part has one; otherwise row
    numbers: `12`, or `train/12` and `test/12` if there are several parts.

    Raises:
        DataError: If the file cannot be read, or an array is missing or invalid.
        UsageError: If something else follows the question mark.
    """
    choice = PartChoice.parse(argument)
    path = Path(choice.argument).expanduser()
    if not path.is_file():
        raise DataError(f"no file {path}: give an .npz with arrays x and y")
    try:
        arrays = read_arrays(path)
    except DamagedArraysError as error:
        large = isinstance(error.__cause__, MemoryError)
        which = "a smaller or undamaged .npz" if large else "an .npz"
        raise DataError(
            f"cannot read {path}: {error}: give {which} of plain arrays x and y"
        ) from error
    by_name = {name.lower(): array for name, array in arrays.items()}
    classes = [str(name) for name in by_name["classes"].ravel()] if "classes" in by_name else None
    parts, suffixes = {}, _suffixes(by_name, choice, path)
    for role, suffix in suffixes.items():
        for name in (f"x{suffix}", f"y{suffix}"):
            if name not in by_name:
                held = ", ".join(arrays) or "none"
                raise DataError(f"{path} has no array {name} (it has {held}): add it")
        parts[role] = (by_name[f"x{suffix}"], by_name[f"y{suffix}"])
    return validate_arrays(f"npz:{choice.argument}", parts, classes, _ids(by_name, suffixes, path))


def _ids(
    arrays: Mapping[str, NDArray[Any]], suffixes: Mapping[Role, str], path: Path
) -> dict[Role, list[str]] | None:
    """Ids of the samples of each part; None if there are none."""
    held = {role: arrays[f"id{end}"] for role, end in suffixes.items() if f"id{end}" in arrays}
    if not held:
        return None
    for role, suffix in suffixes.items():
        n = len(arrays[f"y{suffix}"])
        if role not in held or held[role].shape != (n,):
            shape = held[role].shape if role in held else "none"
            raise DataError(
                f"{path}: id{suffix} of shape {shape} for {n} samples: give one id for each "
                "sample of each part, or no ids"
            )
    return {role: [str(name) for name in names] for role, names in held.items()}


def _suffixes(arrays: Iterable[str], choice: PartChoice, path: Path) -> dict[Role, str]:
    """Role -> what follows x and y in the names of its arrays."""
    suffixes: dict[Role, str] = {role: f"_{name.lower()}" for role, name in choice.named.items()}
    for name in arrays:
        letter, _, part = name.partition("_")
        role = role_of(part) if part else "train"
        suffix = f"_{part}" if part else ""
        if letter not in ("x", "y") or role is None or suffix in suffixes.values():
            continue
        if role in choice.named:
            continue
        if suffixes.setdefault(role, suffix) != suffix:
            raise DataError(
                f"{path} has arrays x{suffixes[role]} and x{suffix} for {role}: leave one out, or "
                f"say which is meant with npz:{path}?{role}=NAME, where x_NAME is the array"
            )
    return {"train": suffixes.pop("train", ""), **suffixes}
