"""A keep mask is part of the data's identity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tempering.core.errors import DataError
from tempering.data import Dataset, KeepMask, Splits, load, read_keep_mask


def others(data: Splits, *rows: int) -> torch.Tensor:
    mask = torch.ones(len(data.train), dtype=torch.bool)
    mask[list(rows)] = False
    return mask


def test_a_mask_drops_training_samples_alone(small: Splits) -> None:
    kept = small.keep(others(small, 3, 5))
    assert kept.dropped == 2
    assert len(kept.train) == len(small.train) - 2
    assert set(small.train.ids.names) - set(kept.train.ids.names) == {
        small.train.ids.names[3],
        small.train.ids.names[5],
    }
    assert kept.validation is small.validation
    assert kept.test is small.test
    assert "2 training samples dropped" in repr(kept)


def test_ids_do_the_same_as_a_mask(small: Splits) -> None:
    mask = others(small, 3, 5)
    names = small.train.keep(mask).ids.names
    assert small.keep(names).data_hash == small.keep(mask).data_hash
    assert small.keep(reversed(names)).data_hash == small.keep(mask).data_hash


def test_every_mask_has_a_hash_of_its_own(small: Splits) -> None:
    hashes = {small.keep(others(small, row)).data_hash for row in range(10)}
    assert len(hashes) == 10
    assert small.data_hash not in hashes
    assert small.keep(others(small)).data_hash == small.data_hash, "nothing was dropped"


def test_equal_images_with_different_ids_are_different_data() -> None:
    x = torch.rand(1, 1, 2, 2).expand(50, 1, 2, 2)
    data = Splits.of(Dataset.of(x, torch.arange(50) % 2))
    row = int((data.train.y[1:] == data.train.y[:-1]).nonzero()[0, 0])
    first, second = (data.keep(others(data, at)) for at in (row, row + 1))
    assert first.train.content_hash == second.train.content_hash
    assert first.data_hash != second.data_hash


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (lambda data: torch.ones(3, dtype=torch.bool), r"shape \(3,\) for small/train"),
        (lambda data: torch.ones(len(data.train)), "type torch.float32"),
        (lambda data: torch.zeros(len(data.train), dtype=torch.bool), "drops all"),
        (lambda data: [], "drops all"),
        (lambda data: [data.train.ids.names[0], "nobody"], "has the id 'nobody'"),
        (lambda data: [data.test.ids.names[0]], "no sample of small/train"),
    ],
)
def test_bad_masks_are_refused_in_one_line(
    kept: Callable[[Splits], torch.Tensor | list[str]], says: str
) -> None:
    data = Splits.of(Dataset.of(torch.rand(60, 2, 2), torch.arange(60) % 3), address="small")
    with pytest.raises(DataError, match=says) as caught:
        data.keep(kept(data))
    assert "\n" not in str(caught.value)


def test_a_mask_is_written_read_and_applied_in_any_order(small: Splits, tmp_path: Path) -> None:
    mask = others(small, 3, 5)
    KeepMask.of(small, mask).save(tmp_path / "keep.npz")
    held = read_keep_mask(tmp_path / "keep.npz")
    assert held.apply(small).data_hash == small.keep(mask).data_hash
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(0))
    names = tuple(held.ids[row] for row in order.tolist())
    shuffled = KeepMask(names, held.keep[order], held.data_hash)
    assert shuffled.apply(small).data_hash == small.keep(mask).data_hash


def test_a_mask_is_given_when_data_is_loaded(tmp_path: Path) -> None:
    plain = load("digits")
    np.savez(
        tmp_path / "keep.npz", id=np.array(plain.train.ids.names), keep=plain.train.y.numpy() != 7
    )
    kept = load("digits", keep=tmp_path / "keep.npz")
    assert 7 not in kept.train.y.tolist()
    assert kept.dropped == int((plain.train.y == 7).sum())
    assert kept.test.content_hash == plain.test.content_hash


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data_hash": np.array("0" * 16)}, "data with hash 0000000000000000"),
        ({"keep": np.ones(3, bool)}, "give one bool per id"),
        ({"keep": np.ones(43)}, "keep of type float64"),
        ({"id": np.array(["a", "b"]), "keep": np.ones(2, bool)}, "of 2 samples for .*/train"),
        ({"data_hash": np.array(["a", "b"])}, "data_hash has 2 values: give one, or none"),
        ({"keep": None}, "has no array keep"),
        ({"id": None}, "has no array id"),
    ],
)
def test_bad_mask_files_are_refused_in_one_line(
    small: Splits, tmp_path: Path, change: dict[str, np.ndarray | None], says: str
) -> None:
    n = len(small.train)
    arrays: dict[str, np.ndarray | None] = {
        "id": np.array(small.train.ids.names),
        "keep": np.arange(n) > 2,
    }
    arrays |= change
    given = {name: values for name, values in arrays.items() if values is not None}
    np.savez(tmp_path / "keep.npz", **given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=says) as caught:
        read_keep_mask(tmp_path / "keep.npz").apply(small)
    assert "\n" not in str(caught.value)


def test_a_mask_that_names_a_sample_twice_or_another_one_is_refused(small: Splits) -> None:
    names, keep = list(small.train.ids.names), torch.ones(len(small.train), dtype=torch.bool)
    with pytest.raises(DataError, match="twice"):
        KeepMask((*names[:-1], names[0]), keep).apply(small)
    with pytest.raises(DataError, match="has the id 'nobody'"):
        KeepMask((*names[:-1], "nobody"), keep).apply(small)


@pytest.mark.parametrize("content", [None, b"rubbish"])
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keep.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_keep_mask(path)
