from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tempering.core.errors import DataError
from tempering.data import load
from tempering.data.sources.npz import read_npz

X = np.random.default_rng(0).integers(0, 256, (40, 5, 6), dtype=np.uint8)
Y = np.arange(40) % 4


def saved(folder: Path, **arrays: object) -> str:
    path = folder / "data.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_bytes_without_a_channel_are_read(tmp_path: Path) -> None:
    address = saved(tmp_path, x=X, y=Y)
    splits = load(f"npz:{address}")
    assert splits.shape == (1, 5, 6)
    assert splits.num_classes == 4
    every = torch.cat([part.x for part in splits.parts.values()])
    assert sorted(every.flatten().tolist()) == sorted((X / np.float32(255)).ravel().tolist())


def test_floats_with_channels_and_names_are_read(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 3, 5, 6))
    held = read_npz(saved(tmp_path, x=x, y=Y, classes=np.array(["a", "b", "c", "d"])))
    assert held.train.x.shape == (40, 3, 5, 6)
    assert held.classes == ("a", "b", "c", "d")


def test_a_test_of_its_own_is_read(tmp_path: Path) -> None:
    held = read_npz(saved(tmp_path, x=X, y=Y, x_test=X[:8], y_test=Y[:8]))
    assert held.test is not None
    assert len(held.test) == 8


def test_half_a_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no array y_test"):
        read_npz(saved(tmp_path, x=X, y=Y, x_test=X))


def test_a_test_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/test: images of shape \(1, 5, 5\)"):
        read_npz(saved(tmp_path, x=X, y=Y, x_test=X[:, :, :5], y_test=Y))


def test_a_missing_array_is_named_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no array y \(it has x, labels\)"):
        read_npz(saved(tmp_path, x=X, labels=Y))


def test_pickled_arrays_are_never_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="plain arrays"):
        read_npz(saved(tmp_path, x=np.array([{}, []], dtype=object), y=Y))


def test_truncated_files_and_rubbish_are_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, x=X, y=Y))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"rubbish", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"cannot read {path}"):
            read_npz(str(path))


def test_a_corrupt_member_is_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, x=X, y=Y))
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"cannot read {path}"):
        read_npz(str(path))


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, X)
    with pytest.raises(DataError, match="contains a single array"):
        read_npz(str(path))


def test_faults_are_named_with_the_file_and_the_index_in_it(tmp_path: Path) -> None:
    x = X / np.float32(255)
    x[33, 4, 1] = np.nan
    path = saved(tmp_path, x=x, y=Y)
    with pytest.raises(DataError, match=f"npz:{path}: image 33 has the value nan"):
        load(f"npz:{path}")
