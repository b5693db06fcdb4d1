from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tempering.core.errors import DataError
from tempering.data import Dataset, load
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


def test_parts_are_told_in_any_case_and_by_the_address(tmp_path: Path) -> None:
    held = read_npz(saved(tmp_path, X_Train=X, Y_Train=Y, x_VAL=X[:6], y_VAL=Y[:6]))
    assert held.validation is not None
    assert (len(held.train), len(held.validation)) == (40, 6)
    parts = {"x": X, "y": Y, "x_test": X[:8], "y_test": Y[:8], "x_night": X[:5], "y_night": Y[:5]}
    path = saved(tmp_path, **parts)
    named = read_npz(f"{path}?test=night").test
    assert named is not None
    assert len(named) == 5
    with pytest.raises(DataError, match="has no array x_day"):
        read_npz(f"{path}?test=day")


def test_two_arrays_for_one_part_are_refused_until_one_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=Y, x_test=X[:8], y_test=Y[:8], x_eval=X[:5], y_eval=Y[:5])
    with pytest.raises(DataError, match="has arrays x_test and x_eval for test: leave one out"):
        read_npz(path)
    assert read_npz(f"{path}?test=eval").test is not None


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"x,y\n1,2\n", "it is a text file"), (bytes(range(256)), "it is no NumPy archive")],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"cannot read {path}: {kind}: give an .npz of plain"):
        read_npz(str(path))


def test_labels_in_text_are_named_with_the_remedy(tmp_path: Path) -> None:
    names = np.array(["cat", "dog"])[Y % 2]
    with pytest.raises(DataError, match="labels are text, such as 'cat': give class indices from"):
        read_npz(saved(tmp_path, x=X, y=names))
    with pytest.raises(DataError, match="labels are text, such as 'cat': give class indices from"):
        Dataset.of(X, list(names))  # type: ignore[arg-type]


def test_labels_that_begin_with_1_are_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="labels run from 1 to 4; class 0 has no sample: subtract"):
        assert read_npz(saved(tmp_path, x=X, y=Y + 1)).classes == ("0", "1", "2", "3", "4")
    names = np.array(["none", "a", "b", "c", "d"])
    assert len(read_npz(saved(tmp_path, x=X, y=Y + 1, classes=names)).classes) == 5
    assert len(read_npz(saved(tmp_path, x=X, y=np.where(Y < 2, 2, Y))).classes) == 4


def test_a_header_that_claims_too_many_samples_is_told_with_a_remedy(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**15, 8, 8)}
    )
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(DataError, match=r"does not fit into memory: .* a smaller or undamaged"):
        read_npz(str(tmp_path / "huge.npz"))


def test_ids_are_read_if_every_part_has_them(tmp_path: Path) -> None:
    parts = {"x": X, "y": Y, "x_test": X[:8], "y_test": Y[:8]}
    ids = {"id": np.array([f"a{row}" for row in range(40)]), "id_test": np.arange(8)}
    held = read_npz(saved(tmp_path, **parts, **ids))
    assert held.train.ids.names[:2] == ("a0", "a1")
    assert held.test is not None
    assert held.test.ids.names[-1] == "7"
    with pytest.raises(DataError, match="id_test of shape none for 8 samples: give one id"):
        read_npz(saved(tmp_path, **parts, id=ids["id"]))
    with pytest.raises(DataError, match=r"id of shape \(39,\) for 40 samples"):
        read_npz(saved(tmp_path, **parts, id=ids["id"][1:], id_test=ids["id_test"]))
    with pytest.raises(DataError, match="two samples have the id 'a'"):
        read_npz(saved(tmp_path, x=X[:2], y=Y[:2], id=np.array(["a", "a"])))
