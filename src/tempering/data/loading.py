"""Loading of data by address, such as `mnist`, `npz:faces.npz` or `imagefolder:photos`."""

from __future__ import annotations

from pathlib import Path

from tempering.core.errors import UnknownNameError, UsageError
from tempering.core.registry import Registry
from tempering.data.keep import read_keep_mask
from tempering.data.sources.digits import read_digits
from tempering.data.sources.hf import read_hf
from tempering.data.sources.idx import read_idx
from tempering.data.sources.imagefolder import read_imagefolder
from tempering.data.sources.mnist import read_mnist
from tempering.data.sources.npz import read_npz
from tempering.data.sources.source import Source
from tempering.data.splits import Splits, make_splits

SOURCES: Registry[Source] = Registry("data source")
"""Name -> source."""

for _entry in (
    Source("mnist", "handwritten digits, 28x28 grey, bundled", "mnist", None, read_mnist),
    Source("digits", "scikit-learn's digits, 8x8 grey", "digits", None, read_digits),
    Source("npz", "a NumPy archive with arrays x and y", "npz:faces.npz", "FILE", read_npz),
    Source(
        "imagefolder",
        "a folder of pictures, one subfolder a class",
        "imagefolder:photos",
        "DIR",
        read_imagefolder,
    ),
    Source("idx", "a folder of IDX files with MNIST's names", "idx:fashion", "DIR", read_idx),
    Source(
        "hf",
        "Hugging Face datasets: a saved folder, Parquet, or a name on the hub",
        "hf:uoft-cs/cifar10",
        "NAME",
        read_hf,
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
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return "hf" if saved or any(path.rglob("*.parquet")) else "imagefolder"


def load(
    address: str,
    split: str = "official",
    seed: int = 0,
    validation_share: float | None = None,
    keep: Path | None = None,
) -> Splits:
    """Load data and split it.

    Args:
        address: A source in `SOURCES` and its argument, such as `mnist` or `npz:faces.npz`.
        split: `official` for the source's own train and test split (a stratified 80/20 split
            if it has none), `paper` for all samples merged and split 80/20.
        seed: Seed of the random splits.
        validation_share: Share of the training data held back for validation, in (0, 1);
            None takes 10 %, at most 5,000 images.
        keep: An `.npz` file with `keep` and `id`, the training samples to use; see `KeepMask`.

    Returns:
        Training, validation and test data.

    Raises:
        UsageError: If the address, the split or the share is invalid.
        DataError: If the data is invalid; the message names the index and the value.

    Example:
        >>> load("mnist")
        Splits(mnist, official: train 55000, validation 5000, test 10000)
    """
    source, argument = find_source(address)
    splits = make_splits(source.read(argument), address.strip(), split, seed, validation_share)
    return splits if keep is None else read_keep_mask(keep).apply(splits)
