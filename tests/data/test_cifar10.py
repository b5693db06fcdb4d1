"""CIFAR-10's binary version."""

from pathlib import Path

import numpy as np
import pytest

from tempering.core.errors import DataError
from tempering.data.loading import load

FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for at, name in enumerate(FILES):
        content = b"".join(
            bytes([label]) + bytes([10 * at]) * 1024 + bytes([1]) * 1024 + bytes([label]) * 1024
            for label in range(10)
        )
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_labels_and_planes_are_where_the_format_has_them(place: Path) -> None:
    splits = load(f"cifar10:{place}")
    assert splits.shape == (3, 32, 32)
    assert list(splits.classes)[::9] == ["airplane", "truck"]
    assert len(splits.test) == 10
    assert len(splits.train) + len(splits.validation) == 50
    pixels = splits.test.pixels
    assert (pixels[:, 0] == 50).all()
    assert (pixels[:, 1] == 1).all()
    assert np.array_equal(pixels[:, 2, 31, 31].numpy(), splits.test.y.numpy())


def test_damaged_and_missing_files_are_named(place: Path) -> None:
    file = place / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_2\.bin has 30729 bytes, not a multiple"):
        load(f"cifar10:{place}")
    file.write_bytes(bytes([11]) + bytes(3072))
    with pytest.raises(DataError, match="11"):
        load(f"cifar10:{place}")
    file.unlink()
    with pytest.raises(DataError, match=r"no file .*data_batch_2\.bin: give the folder"):
        load(f"cifar10:{place}")
