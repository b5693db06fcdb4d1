from __future__ import annotations

import numpy as np
import pytest
import torch

from tempering.core.errors import DataError, UsageError
from tempering.core.hashing import tensor_hash
from tempering.data import Dataset, Splits


def dataset(n: int = 6) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    return Dataset.of(torch.rand(n, 3, 4, 5, generator=generator), torch.arange(n) % 2)


def test_it_says_what_it_holds() -> None:
    data = dataset()
    assert (data.shape, data.num_classes, len(data)) == ((3, 4, 5), 2, 6)
    assert data.classes == ("0", "1")
    assert repr(data) == "Dataset(arrays: 6 images 3x4x5, 2 classes)"


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_later_changes_of_the_array_do_not_reach_it(kind: str) -> None:
    source = np.full((4, 1, 2, 2), 0.5, np.float32)
    x = source if kind == "numpy" else torch.from_numpy(source)
    y = torch.arange(4) % 2
    data = Dataset.of(x, y)
    source[:] = 0.9
    y[:] = 0
    assert float(data.x.max()) == 0.5
    assert data.y.tolist() == [0, 1, 0, 1]


def test_it_cannot_be_assigned_to() -> None:
    with pytest.raises(AttributeError):
        dataset().x = torch.zeros(1)  # type: ignore[misc]


def test_the_plain_constructor_refuses_other_types_and_shapes() -> None:
    x, y, names = torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64), ("a", "b")
    for bad_x, bad_y in ((x.double(), y), (x[0], y), (x, y.int()), (x, y[:1])):
        with pytest.raises(DataError, match=r"^mine: "):
            Dataset(bad_x, bad_y, names, "mine")
    assert len(Dataset(x, y, names, "mine")) == 2


def test_the_hash_follows_the_content() -> None:
    data = dataset()
    assert len(data.content_hash) == 16
    assert int(data.content_hash, 16) >= 0
    assert dataset().content_hash == data.content_hash
    pixel = data.x.clone()
    pixel[5, 2, 3, 4] += 1e-6
    label = data.y.clone()
    label[5] = 0
    others = {
        Dataset(pixel, data.y, data.classes, "a").content_hash,
        Dataset(data.x, label, data.classes, "a").content_hash,
        data.subset(torch.arange(5)).content_hash,
        data.subset(torch.tensor([1, 0, 2, 3, 4, 5])).content_hash,
    }
    assert len(others) == 4
    assert data.content_hash not in others


def test_a_subset_keeps_the_order_asked_for() -> None:
    data = dataset()
    part = data.subset(torch.tensor([4, 1]))
    assert torch.equal(part.x, torch.stack([data.x[4], data.x[1]]))
    assert part.y.tolist() == [0, 1]
    assert part.classes == data.classes


def test_the_first_n() -> None:
    data = dataset()
    assert torch.equal(data.first(2).x, data.x[:2])
    assert data.first(100) is data
    with pytest.raises(DataError, match="0 samples of"):
        data.first(0)


def test_two_loads_of_one_address_have_one_hash(small: Splits) -> None:
    again = Splits.of(
        Dataset.of(
            torch.arange(60).float()[:, None, None, None].expand(60, 1, 4, 4) / 60,
            torch.arange(60) % 3,
            ["a", "b", "c"],
        )
    )
    assert again.data_hash == small.data_hash
    swapped = Splits("small", "official", small.train, small.test, small.validation)
    assert swapped.data_hash != small.data_hash


def test_samples_in_class_order_are_taken_from_all_classes() -> None:
    data = Dataset.of(torch.rand(40, 4, 4), torch.arange(40) // 10)
    assert sorted(data.take(8).y.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert data.take(8, "first").y.tolist() == [0] * 8
    assert data.take(12).ids.names[:8] == data.take(8).ids.names
    assert len(data.take(99)) == 40
    with pytest.raises(UsageError, match="subset 'last': give one of stratified, first"):
        data.take(8, "last")


def test_arrays_in_place_of_tensors_are_named() -> None:
    with pytest.raises(DataError, match=r"pixels of type ndarray: give a torch\.Tensor"):
        Dataset(np.zeros((2, 1, 4, 4), np.float32), torch.tensor([0, 1]), ("a", "b"), "x")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"data of type ndarray: give Dataset\.of"):
        Splits.of(np.zeros((2, 1, 4, 4), np.float32))  # type: ignore[arg-type]


def test_bytes_stay_bytes_and_are_converted_as_they_are_asked_for() -> None:
    bytes_ = torch.arange(240, dtype=torch.uint8).reshape(15, 1, 4, 4)
    y = torch.arange(15) % 3
    held, plain = Dataset.of(bytes_, y), Dataset.of(bytes_ / 255, y)
    assert held.subset(torch.arange(3)).pixels.dtype == held.pixels.dtype == torch.uint8
    assert torch.equal(held.x, plain.x)
    assert torch.equal(held.images(torch.tensor([4, 2])), plain.x[[4, 2]])
    assert torch.equal(torch.cat(list(held.chunks())), plain.x)
    assert held.content_hash == plain.content_hash
    assert plain.content_hash == tensor_hash({"x": plain.x, "y": y})
    bytes_.zero_()
    assert int(held.pixels.max()) > 0


def test_images_that_are_handed_out_are_in_memory_of_their_own() -> None:
    data = Dataset.of(torch.rand(6, 4, 4), torch.arange(6) % 2)
    before = data.x.clone()
    data.images(torch.arange(6)).zero_()
    for images in data.chunks():
        images.zero_()
    assert torch.equal(data.x, before)
