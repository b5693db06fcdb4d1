"""Folders of images, one subfolder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tempering.core.errors import DataError, first_line
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.part_names import PartChoice, require_disjoint, role_of
from tempering.data.sources.pictures import Bytes, decode, stack
from tempering.data.sources.source import folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


def read_imagefolder(argument: str) -> RawSplits:
    """Read `DIR/<class>/*.png`, or `DIR/<part>/<class>/*.png` for train, test and validation.

    Subfolders are parts if their names say so (`Train`, `test_set`, `val`, ...) and they hold
    subfolders; otherwise they are classes. `DIR?test=NAME&train=NAME` names parts, and
    `DIR?parts=none` says that all subfolders are classes. Classes are sorted by name, images of a
    class by path. Images are greyscale if all files are. Ids are paths relative to the folder,
    such as `cats/tom.png` or `train/cats/tom.png`.

    Raises:
        DataError: If a class has no images, an image is damaged or of another size, or it is not
            certain what is a part and what is a class.
        UsageError: If something else follows the question mark.
    """
    choice = PartChoice.parse(argument)
    path = folder(choice.argument, "one subfolder of images per class")
    where = f"imagefolder:{choice.argument}"
    if not _divided(path, choice, where):
        names = _classes(path)
        ((x, y, ids),) = _read(path, [(path, names)], names)
        return validate_arrays(where, {"train": (x, y)}, names, {"train": ids})
    parts = choice.assign(_classes(path), where)
    folders = {role: path / name for role, name in parts.items()}
    names = _classes(folders["train"])
    own = {role: _classes(inside) for role, inside in folders.items()}
    for role, tested in own.items():
        for name in tested:
            if name not in names:
                raise DataError(
                    f"class {name!r} is in {folders[role]} but not in {folders['train']}: "
                    "add it there"
                )
    held = _read(path, [(folders[role], own[role]) for role in folders], names)
    arrays = {role: (x, y) for role, (x, y, _) in zip(folders, held, strict=True)}
    ids_of = {role: ids for role, (_, _, ids) in zip(folders, held, strict=True)}
    return validate_arrays(where, arrays, names, ids_of)


def _divided(path: Path, choice: PartChoice, where: str) -> bool:
    """Whether subfolders are parts, not classes."""
    if choice.undivided:
        return False
    if choice.named:
        return True
    subfolders = _classes(path)
    parts = [name for name in subfolders if role_of(name) is not None]
    deep = [name for name in parts if any(item.is_dir() for item in (path / name).iterdir())]
    if not deep:
        if parts == subfolders and len(set(map(role_of, parts))) > 1:
            raise DataError(
                f"{where} has {', '.join(parts)}, which hold pictures and no classes: give one "
                f"subfolder a class inside each, or say that these are classes with "
                f"{where}?parts=none"
            )
        return False
    others = [name for name in subfolders if name not in deep]
    if others:
        raise DataError(
            f"{where} has {', '.join(deep)} with subfolders beside {', '.join(others[:5])}: say "
            f"what the parts are with {where}?train=NAME&test=NAME, or that all are classes with "
            f"{where}?parts=none"
        )
    return True


def _classes(path: Path) -> list[str]:
    names = sorted(item.name for item in path.iterdir() if item.is_dir() and item.name[0] != ".")
    if not names:
        raise DataError(f"{path} has no subfolders: give one subfolder of images per class")
    return names


def _read(
    root: Path, parts: list[tuple[Path, list[str]]], names: list[str]
) -> list[tuple[Bytes, Bytes, list[str]]]:
    """Images, labels and ids of the parts; all images have one shape.

    Raises:
        DataError: If a file is in two parts, by a link or since one part is inside another.
    """
    files = [list(_files(path, own, names)) for path, own in parts]
    require_disjoint([[file for file, _ in own] for own in files])
    every = [entry for own in files for entry in own]
    images = stack((str(file), _open(file)) for file, _ in every)
    labels = np.array([label for _, label in every])
    held, at = [], 0
    for own in files:
        rows = slice(at, at + len(own))
        ids = [file.relative_to(root).as_posix() for file, _ in own]
        held.append((images[rows], labels[rows], ids))
        at += len(own)
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
