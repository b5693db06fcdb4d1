"""The 8x8 digits that come with scikit-learn."""

from __future__ import annotations

from importlib.metadata import distribution

import numpy as np

from tempering.data.raw_splits import RawSplits, validate_arrays


def read_digits(_argument: str = "") -> RawSplits:
    """1,797 images of 8x8 pixels in 17 grey levels (Alpaydin and Kaynak, 1998); no test split."""
    # importing scikit-learn takes longer than the rest of a short evaluation
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(path), delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 8, 8) / 16.0, table[:, -1].astype(int)
    classes = [str(digit) for digit in range(10)]
    return validate_arrays("digits", {"train": (images, labels)}, classes)
