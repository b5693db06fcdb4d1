"""The bundled MNIST, verified by its MD5 hashes at every load."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tempering.core.errors import DataError
from tempering.data.raw_splits import RawSplits, validate_arrays
from tempering.data.sources.gunzip import unpack
from tempering.data.sources.idx import IMAGES, LABELS, Bytes, parse_idx

BUNDLED = Path(__file__).parents[1] / "mnist"

MD5 = {
    f"train-{IMAGES}": "6bbc9ace898e44ae57da46a324031adb",
    f"train-{LABELS}": "a25bea736e30d166cdddb491f175f624",
    f"t10k-{IMAGES}": "2646ac647ad5339dbf082846283269ea",
    f"t10k-{LABELS}": "27ae3e4e09519cfbb04c329615203637",
}
"""File -> published MD5 of its decompressed content."""


def read_mnist(_argument: str = "", bundled: Path = BUNDLED) -> RawSplits:
    """Read the bundled files.

    Args:
        _argument: Nothing; the address is `mnist` alone.
        bundled: Folder of the files.

    Returns:
        60,000 training and 10,000 test images of 28x28 pixels in their published order.

    Raises:
        DataError: If a file is missing, truncated or altered.
    """
    train, test = (
        (_verified(bundled, f"{part}-{IMAGES}", 3), _verified(bundled, f"{part}-{LABELS}", 1))
        for part in ("train", "t10k")
    )
    return validate_arrays(
        "mnist", {"train": train, "test": test}, [str(digit) for digit in range(10)]
    )


def _verified(bundled: Path, name: str, dimensions: int) -> Bytes:
    path = bundled / f"{name}.gz"
    remedy = "install tempering again"
    try:
        content, fault = unpack(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read bundled {path}: {error.strerror}: {remedy}") from error
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != MD5[name]:
        raise DataError(
            f"bundled {path} is {fault or 'altered'}: its content has MD5 {digest}, "
            f"not {MD5[name]}: {remedy}"
        )
    return parse_idx(content, str(path), dimensions)
