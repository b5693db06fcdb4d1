from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tempering.core.errors import DataError
from tempering.data.sources.idx import parse_idx, read_idx


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


X = np.arange(5 * 3 * 4).reshape(5, 3, 4).astype(np.uint8)
Y = np.array([0, 2, 1, 2, 0], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(X))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(Y)))
    return tmp_path


def test_raw_and_packed_files_are_read(folder: Path) -> None:
    held = read_idx(str(folder))
    assert np.array_equal(held.train.x[:, 0].numpy(), X)
    assert held.train.y.tolist() == Y.tolist()
    assert held.classes == ("0", "1", "2")
    assert held.test is None


def test_a_test_of_its_own_is_read(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X[:2])))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([3, 0])))
    held = read_idx(str(folder))
    assert held.test is not None
    assert held.test.y.tolist() == [3, 0]
    assert held.classes == ("0", "1", "2", "3")


def test_half_a_test_is_refused(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(X))
    with pytest.raises(DataError, match=r"no file .*t10k-labels-idx1-ubyte"):
        read_idx(str(folder))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*train-images-idx3-ubyte"):
        read_idx(str(tmp_path))


def test_a_truncated_gzip_is_named(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match=f"{path} is truncated"):
        read_idx(str(folder))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG....", "begins with 89504e47"),
        (idx(Y), "begins with 00000801"),
        (idx(X)[:10], "header of 10 bytes, not 16"),
        (idx(X)[:-1], "holds 59 values but its header says 5x3x4 = 60"),
        (idx(X) + b"\0", "holds 61 values"),
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parse_idx(content, "file", 3)


def test_unequal_lengths_are_refused(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(idx(X[:4]))
    with pytest.raises(DataError, match="4 images but 5 labels"):
        read_idx(str(folder))
