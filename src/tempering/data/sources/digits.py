"""The 8x8 digits that come with scikit-learn."""

from __future__ import annotations

from tempering.data.raw_splits import RawSplits, validate_arrays


def read_digits(_argument: str = "") -> RawSplits:
    """1,797 images of 8x8 pixels in 17 grey levels (Alpaydin and Kaynak, 1998); no test split."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    classes = [str(digit) for digit in range(10)]
    return validate_arrays("digits", (bunch.images / 16.0, bunch.target), classes=classes)
