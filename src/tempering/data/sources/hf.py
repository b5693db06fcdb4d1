"""Hugging Face datasets: saved folders, folders of Parquet files, and names on the hub."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tempering.core.errors import DataError, first_line
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.part_names import PartChoice, Role, require_disjoint, roles_in
from tempering.data.sources.pictures import Bytes, decode, stack

LABEL_NAMES = ("label", "labels", "fine_label", "y", "target")
"""Names of the label column, preferred in this order."""

_SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")
"""How the hub numbers the files of a part."""

Tables = Mapping[str, Any]
"""Split name -> a `datasets.Dataset`."""


def read_hf(argument: str) -> RawSplits:
    """Read a dataset with an image and a class per row.

    Args:
        argument: A folder that `save_to_disk` wrote, a folder of Parquet files, or a
            name on the hub; `NAME:CONFIG` picks a configuration there. Parts are told by their
            names (`part_names`), or by `NAME?test=PART&train=PART`.

    Returns:
        The training, test and validation samples; all samples as training data if there is
        one part only. Ids are row numbers, with the part as prefix, such as `train/12`, if
        there are several.

    Raises:
        DataError: If the library is missing, the hub cannot be reached, there is no image
            or label column, or it is not certain which part is which.
        UsageError: If something else follows the question mark.
    """
    choice = PartChoice.parse(argument)
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(
            f"hf:{argument} needs the library datasets: pip install 'tempering[hf]'"
        ) from error
    where = f"hf:{choice.argument}"
    tables = _tables(library, choice, where)
    roles = _roles(tables, choice, where)
    first = tables[roles["train"]]
    image, label = _image_column(library, first, where), _label_column(library, first, where)
    names = getattr(first.features[label], "names", None)
    parts = [
        (where if len(roles) == 1 else f"{where}/{part}", tables[part]) for part in roles.values()
    ]
    images = stack(
        picture for name, table in parts for picture in _pictures(library, table, image, name)
    )
    held, at = dict[str, tuple[object, object]](), 0
    for role, (_, table) in zip(roles, parts, strict=True):
        held[role] = (images[at : at + len(table)], np.asarray(table[label][:]))
        at += len(table)
    if len(roles) == 1:
        return validate_arrays(where, held, names)
    ids = {
        role: [f"{part}/{row}" for row in range(len(tables[part]))] for role, part in roles.items()
    }
    return validate_arrays(where, held, names, ids)


def _roles(tables: Tables, choice: PartChoice, where: str) -> dict[Role, str]:
    """Role -> name of the table."""
    if choice.undivided:
        raise DataError(f"{where}?parts=none: it is for folders of images: name the parts")
    if len(tables) == 1 and not choice.named:
        return {"train": next(iter(tables))}
    return choice.assign(tables, where)


def _tables(library: Any, choice: PartChoice, where: str) -> Tables:
    argument = choice.argument
    path = Path(argument).expanduser()
    try:
        if path.is_dir():
            loaded = _local(library, path, choice, where)
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


def _local(library: Any, path: Path, choice: PartChoice, where: str) -> Any:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return library.load_from_disk(str(path))
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"{path} holds no saved dataset and no .parquet: give a folder that save_to_disk wrote"
        )
    parts: dict[str, list[str]] = {}
    for file in files:
        parts.setdefault(_part_of(file.relative_to(path), choice, where), []).append(str(file))
    unclear = parts.get("", [])
    if unclear and len(parts) > 1:
        raise DataError(
            f"{where} has {Path(unclear[0]).name}, whose name does not say what it is, beside "
            f"files for {', '.join(part for part in parts if part)}: name its folder or the file "
            f"train, test or validation, or say which is which with {where}?train=NAME&test=NAME"
        )
    require_disjoint([[Path(file) for file in own] for own in parts.values()])
    return {part or "train": _parquet(library, own) for part, own in parts.items()}


def _part_of(file: Path, choice: PartChoice, where: str) -> str:
    """The part that a file belongs to: what the address names, or what file or folder says.

    Raises:
        DataError: If a name says two things, such as `train_test`.
    """
    places = [_SHARD.sub("", file.stem), *reversed(file.parts[:-1])]
    named = set(choice.named.values())
    if chosen := next((place for place in places if place in named), None):
        return chosen
    said = next((roles for roles in map(roles_in, places) if roles), frozenset[Role]())
    if len(said) > 1:
        raise DataError(
            f"{where} has {file}, whose name says {' and '.join(sorted(said))}: say which is which "
            f"with {where}?train=NAME&test=NAME"
        )
    return next(iter(said), "")


def _parquet(library: Any, files: list[str]) -> Any:
    """A table in memory: `Dataset.from_parquet` would write a copy to the user's cache."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    return library.Dataset(arrow.concat_tables([parquet.read_table(file) for file in files]))


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
    texts = [
        name
        for name, feature in table.features.items()
        if name in LABEL_NAMES and "string" in str(getattr(feature, "dtype", ""))
    ]
    if not classes and texts:
        raise DataError(
            f"{where}: column {texts[0]} is text: number the classes with "
            f"class_encode_column({texts[0]!r}) of the library datasets"
        )
    if not classes:
        raise DataError(f"{where} has no label column ({_columns(table)}): give a dataset with one")
    return str(next((name for name in LABEL_NAMES if name in classes), classes[0]))


def _columns(table: Any) -> str:
    return ", ".join(f"{name} {type(feature).__name__}" for name, feature in table.features.items())


def _pictures(library: Any, table: Any, column: str, where: str) -> Iterator[tuple[str, Bytes]]:
    table = table.select_columns([column])
    if isinstance(table.features[column], library.Image):
        # the library would decode them, and what the file says of its depth would be lost
        table = table.cast_column(column, library.Image(decode=False))
    for number, value in enumerate(table):
        held, name = value[column], f"{where} row {number}"
        if held is None:
            raise DataError(f"{name} has no image: give one in each row")
        with _opened(held, name) as picture:
            yield name, decode(picture, name)


def _opened(held: Mapping[str, Any], where: str) -> Image.Image:
    """The image of a row, from its bytes or from the file that it names."""
    content, path = held["bytes"], held.get("path")
    try:
        return Image.open(path if content is None and path else io.BytesIO(content or b""))
    except Exception as error:  # Pillow's readers raise many kinds
        raise DataError(
            f"cannot read {where}: {first_line(error)}: give an intact image"
        ) from error
