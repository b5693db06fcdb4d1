"""Loading of data by address, such as `mnist`, `npz:faces.npz` or `imagefolder:photos`."""

from __future__ import annotations

from pathlib import Path

from tempering.data.keep import read_keep_mask
from tempering.data.sources.registered import find_source
from tempering.data.splits import Splits, make_splits


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
