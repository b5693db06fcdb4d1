"""The data sources by name; a source's own module is imported when it is read."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tempering.core.errors import UnknownNameError, UsageError
from tempering.core.registry import Registry
from tempering.data.sources.source import Source

if TYPE_CHECKING:
    from tempering.data.raw_splits import RawSplits


def reader(name: str) -> Callable[[str], RawSplits]:
    """The function `read_NAME` of the module of that name, imported when it is called."""

    def read(argument: str) -> RawSplits:
        module = importlib.import_module(f"tempering.data.sources.{name}")
        read_here: Callable[[str], RawSplits] = getattr(module, f"read_{name}")
        return read_here(argument)

    return read


SOURCES: Registry[Source] = Registry("data source")
"""Name -> source."""

for _entry in (
    Source("mnist", "handwritten digits, 28x28 grey, bundled", "mnist", None, reader("mnist")),
    Source("digits", "scikit-learn's digits, 8x8 grey", "digits", None, reader("digits")),
    Source("npz", "a NumPy archive with arrays x and y", "npz:faces.npz", "FILE", reader("npz")),
    Source(
        "imagefolder",
        "a folder of pictures, one subfolder a class",
        "imagefolder:photos",
        "DIR",
        reader("imagefolder"),
    ),
    Source("idx", "a folder of IDX files with MNIST's names", "idx:fashion", "DIR", reader("idx")),
    Source(
        "cifar10",
        "a folder of CIFAR-10's binary version",
        "cifar10:cifar-10-batches-bin",
        "DIR",
        reader("cifar10"),
    ),
    Source(
        "hf",
        "Hugging Face datasets: a saved folder, Parquet, or a name on the hub",
        "hf:uoft-cs/cifar10",
        "NAME",
        reader("hf"),
    ),
):
    SOURCES.register(_entry.name)(_entry)


def find_source(address: str) -> tuple[Source, str]:
    """Parse an address into a source and its argument.

    Raises:
        UnknownNameError: If there is no such source; suggests similar names.
        UsageError: If the argument is missing, the source takes none, or the address is a file
            or folder without a source.
    """
    if not isinstance(address, str):
        raise UsageError(f"data {address!r}: give an address, such as mnist or npz:faces.npz")
    name, _, argument = address.strip().partition(":")
    try:
        source = SOURCES[name]
    except UnknownNameError as error:
        if (kind := _source_of(address.strip())) is None:
            raise
        raise UsageError(f"data {address!r} is a path: write {kind}:{address.strip()}") from error
    if source.argument is None and argument:
        raise UsageError(f"data {address!r}: {name} takes no argument: write {source.example}")
    if source.argument is not None and not argument:
        raise UsageError(
            f"data {address!r}: {name} needs an argument: write {name}:{source.argument}, "
            f"such as {source.example}"
        )
    return source, argument


def _source_of(place: str) -> str | None:
    """The source that a file or folder looks like; None if there is no such place."""
    path = Path(place.partition("?")[0]).expanduser()
    if path.is_file():
        return "npz"
    if not place or not path.is_dir():
        return None
    if any(path.glob("train-images-idx3-ubyte*")):
        return "idx"
    if (path / "data_batch_1.bin").is_file():
        return "cifar10"
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return "hf" if saved or any(path.rglob("*.parquet")) else "imagefolder"
