"""Hugging Face datasets: saved folders, folders of Parquet files, and names on the hub."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tempering.core.errors import DataError, first_line
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.pictures import Bytes, decode, stack

LABEL_NAMES = ("label", "labels", "fine_label", "y", "target")
"""Names of the label column, preferred in this order."""

Tables = Mapping[str, Any]
"""Split name -> a `datasets.Dataset`."""


def read_hf(argument: str) -> RawSplits:
    """Read a dataset with an image and a class per row.

    Args:
        argument: A folder that `save_to_disk` wrote, a folder of Parquet files, or a
            name on the hub; `NAME:CONFIG` picks a configuration there.

    Returns:
        The `train` and `test` splits (`validation` if there is no `test`); all samples as
        training data if there is one split only. Ids are row numbers, with the split as prefix,
        such as `train/12`, if there are two.

    Raises:
        DataError: If the library is missing, the hub cannot be reached, or there is no image
            or label column.
    """
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(
            f"hf:{argument} needs the library datasets: pip install 'tempering[hf]'"
        ) from error
    tables = _tables(library, argument)
    where = f"hf:{argument}"
    train, test = _train_and_test(tables, where)
    first = tables[train]
    image, label = _image_column(library, first, where), _label_column(library, first, where)
    names = getattr(first.features[label], "names", None)
    parts = [
        (where if test is None else f"{where}/{part}", tables[part])
        for part in (train, test)
        if part is not None
    ]
    images = stack(picture for name, table in parts for picture in _pictures(table, image, name))
    held, at = list[tuple[Bytes, Any]](), 0
    for _, table in parts:
        held.append((images[at : at + len(table)], np.asarray(table[label][:])))
        at += len(table)
    if test is None:
        return validate_arrays(where, held[0], classes=names)
    ids = [[f"{part}/{row}" for row in range(len(tables[part]))] for part in (train, test)]
    return validate_arrays(where, held[0], held[1], names, (ids[0], ids[1]))


def _tables(library: Any, argument: str) -> Tables:
    path = Path(argument).expanduser()
    try:
        if path.is_dir():
            loaded = _local(library, path)
        elif argument.startswith((".", "/", "~")):
            raise DataError(
                f"no folder {path}: give one that save_to_disk wrote, or of .parquet files"
            )
        else:
            name, _, config = argument.partition(":")
            loaded = library.load_dataset(name, config or None)
    except DataError:
        raise
    except Exception as error:  # the library and its transports raise many kinds
        raise DataError(
            f"cannot load hf:{argument}: {first_line(error)}: give a folder, or a name on the hub "
            "that can be reached"
        ) from error
    return loaded if isinstance(loaded, Mapping) else {"train": loaded}


def _local(library: Any, path: Path) -> Any:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return library.load_from_disk(str(path))
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"{path} holds no saved dataset and no .parquet: give a folder that save_to_disk wrote"
        )
    parts: dict[str, list[str]] = {}
    for file in files:
        place = str(file.relative_to(path)).lower()
        known = ("test", "validation", "train")
        part = next((part for part in known if part in place), "train")
        parts.setdefault(part, []).append(str(file))
    return {part: _parquet(library, own) for part, own in parts.items()}


def _parquet(library: Any, files: list[str]) -> Any:
    """A table in memory: `Dataset.from_parquet` would write a copy to the user's cache."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    return library.Dataset(arrow.concat_tables([parquet.read_table(file) for file in files]))


def _train_and_test(tables: Tables, where: str) -> tuple[str, str | None]:
    if len(tables) == 1:
        return next(iter(tables)), None
    test = next((name for name in ("test", "validation", "valid") if name in tables), None)
    if "train" not in tables or test is None:
        raise DataError(f"{where} has splits {', '.join(tables)}: give one with train and test")
    return "train", test


def _image_column(library: Any, table: Any, where: str) -> str:
    for name, feature in table.features.items():
        if isinstance(feature, library.Image) or (isinstance(feature, dict) and "bytes" in feature):
            return str(name)
    raise DataError(f"{where} has no image column ({_columns(table)}): give a dataset with one")


def _label_column(library: Any, table: Any, where: str) -> str:
    classes = [
        name for name, feature in table.features.items() if isinstance(feature, library.ClassLabel)
    ]
    if not classes:
        classes = [
            name
            for name, feature in table.features.items()
            if name in LABEL_NAMES and "int" in str(getattr(feature, "dtype", ""))
        ]
    if not classes:
        raise DataError(f"{where} has no label column ({_columns(table)}): give a dataset with one")
    return str(next((name for name in LABEL_NAMES if name in classes), classes[0]))


def _columns(table: Any) -> str:
    return ", ".join(f"{name} {type(feature).__name__}" for name, feature in table.features.items())


def _pictures(table: Any, column: str, where: str) -> Iterator[tuple[str, Bytes]]:
    for number, value in enumerate(table.select_columns([column])):
        picture, name = value[column], f"{where} row {number}"
        if picture is None:
            raise DataError(f"{name} has no image: give one in each row")
        if isinstance(picture, dict):
            picture = _from_bytes(picture["bytes"], name)
        yield name, decode(picture, name)


def _from_bytes(content: bytes | None, where: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content or b""))
    except Exception as error:  # Pillow's readers raise many kinds
        raise DataError(
            f"cannot read {where}: {first_line(error)}: give an intact image"
        ) from error
