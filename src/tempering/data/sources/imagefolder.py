"""Folders of images, one subfolder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tempering.core.errors import DataError, first_line
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.pictures import Bytes, decode, stack
from tempering.data.sources.source import folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


def read_imagefolder(argument: str) -> RawSplits:
    """Read `DIR/<class>/*.png`, or `DIR/train/<class>/*.png` and `DIR/test/<class>/*.png`.

    Classes are sorted by name, images of a class by path. Images are greyscale if all files
    are. Ids are paths relative to the folder, such as `cats/tom.png` or `train/cats/tom.png`.

    Raises:
        DataError: If a class has no images, or an image is damaged or of another size.
    """
    path = folder(argument, "one subfolder of images per class")
    where = f"imagefolder:{argument}"
    train, test = path / "train", path / "test"
    if not train.is_dir() and not test.is_dir():
        names = _classes(path)
        ((x, y, ids),) = _read(path, [(path, names)], names)
        return validate_arrays(where, (x, y), classes=names, ids=(ids, []))
    for part in (train, test):
        if not part.is_dir():
            other = train if part is test else test
            raise DataError(
                f"{path} has {other.name}/ but no {part.name}/: give both, "
                f"or split {other.name}/ with imagefolder:{other}"
            )
    names, tested = _classes(train), _classes(test)
    for name in tested:
        if name not in names:
            raise DataError(f"class {name!r} is in {test} but not in {train}: add it there")
    (x, y, ids), (x_test, y_test, test_ids) = _read(path, [(train, names), (test, tested)], names)
    return validate_arrays(where, (x, y), (x_test, y_test), names, (ids, test_ids))


def _classes(path: Path) -> list[str]:
    names = sorted(item.name for item in path.iterdir() if item.is_dir() and item.name[0] != ".")
    if not names:
        raise DataError(f"{path} has no subfolders: give one subfolder of images per class")
    return names


def _read(
    root: Path, parts: list[tuple[Path, list[str]]], names: list[str]
) -> list[tuple[Bytes, Bytes, list[str]]]:
    """Images, labels and ids of the parts; all images have one shape."""
    files = [(file, label) for path, own in parts for file, label in _files(path, own, names)]
    images = stack((str(file), _open(file)) for file, _ in files)
    labels = np.array([label for _, label in files])
    held = []
    for path, _ in parts:
        inside = [path in file.parents for file, _ in files]
        own = [file.relative_to(root).as_posix() for file, _ in files if path in file.parents]
        held.append((images[inside], labels[inside], own))
    return held


def _files(path: Path, own: list[str], names: list[str]) -> Iterator[tuple[Path, int]]:
    for name in own:
        files = sorted(
            file
            for file in (path / name).rglob("*")
            if file.suffix.lower() in SUFFIXES and file.is_file() and file.name[0] != "."
        )
        if not files:
            raise DataError(f"no images in {path / name}: give {', '.join(SUFFIXES)}")
        yield from ((file, names.index(name)) for file in files)


def _open(file: Path) -> Bytes:
    try:
        picture = Image.open(file)
    except Exception as error:  # Pillow's readers raise many kinds
        raise DataError(f"cannot read {file}: {first_line(error)}: give an intact image") from error
    with picture:
        return decode(picture, str(file))
