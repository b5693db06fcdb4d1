"""Every sample has an id that says where it came from, whatever is done to the data."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tempering.core.errors import DataError
from tempering.core.random import RandomStreams, sample_keys
from tempering.data import Dataset, SampleIds, Splits, load
from tempering.data.raw_splits import RawSplits

X = np.random.default_rng(0).integers(0, 256, (40, 5, 6), dtype=np.uint8)
Y = np.arange(40) % 4


def pixels_by_id(splits: Splits) -> dict[str, bytes]:
    return {
        name: (255 * image).round().to(torch.uint8).numpy().tobytes()
        for part in splits.parts.values()
        for name, image in zip(part.ids.names, part.x, strict=True)
    }


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def test_rows_of_an_npz_keep_their_numbers_through_splits(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    for split in ("official", "paper"):
        pixels = pixels_by_id(load(f"npz:{tmp_path / 'data.npz'}", split, seed=7))
        assert pixels == {str(row): image.tobytes() for row, image in enumerate(X)}


@pytest.mark.parametrize("split", ["official", "paper"])
def test_a_source_with_a_test_names_train_and_test(tmp_path: Path, split: str) -> None:
    np.savez(tmp_path / "data.npz", x=X, y=Y, x_test=X[:8], y_test=Y[:8])
    pixels = pixels_by_id(load(f"npz:{tmp_path / 'data.npz'}", split))
    rows = {f"train/{row}": image.tobytes() for row, image in enumerate(X)}
    assert pixels == rows | {f"test/{row}": X[row].tobytes() for row in range(8)}


def test_rows_of_idx_files(tmp_path: Path) -> None:
    for part, n in (("train", 40), ("t10k", 8)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(X[:n]))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(Y[:n])))
    pixels = pixels_by_id(load(f"idx:{tmp_path}"))
    assert pixels["train/39"] == X[39].tobytes()
    assert pixels["test/7"] == X[7].tobytes()
    assert len(pixels) == 48


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_pictures_are_named_by_their_relative_paths(tmp_path: Path, parts: tuple[str, ...]) -> None:
    expected = {}
    for part in parts:
        for row in range(40):
            path = tmp_path / part / "ab"[row % 2] / "deep" / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(X[row]).save(path)
            expected[path.relative_to(tmp_path).as_posix()] = X[row].tobytes()
    assert pixels_by_id(load(f"imagefolder:{tmp_path}")) == expected


def test_rows_of_a_hugging_face_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcd"))}
    )

    def table(n: int) -> object:
        pictures = [Image.fromarray(image) for image in X[:n]]
        return datasets.Dataset.from_dict({"image": pictures, "label": Y[:n].tolist()}, features)

    both = datasets.DatasetDict({"train": table(40), "validation": table(8)})
    both.save_to_disk(str(tmp_path / "both"))
    pixels = pixels_by_id(load(f"hf:{tmp_path / 'both'}?test=validation"))
    assert pixels["train/12"] == X[12].tobytes()
    assert pixels["validation/7"] == X[7].tobytes()
    datasets.DatasetDict({"train": table(40)}).save_to_disk(str(tmp_path / "alone"))
    assert set(pixels_by_id(load(f"hf:{tmp_path / 'alone'}"))) == {str(row) for row in range(40)}


def test_digits_are_named_by_their_rows() -> None:
    from sklearn.datasets import load_digits

    splits = load("digits")
    images = torch.from_numpy(load_digits().images / 16.0).float()
    for part in splits.parts.values():
        rows = torch.tensor([int(name) for name in part.ids.names])
        assert torch.equal(part.x[:, 0], images[rows])


def test_mnist_is_named_by_its_rows(mnist: Splits, published: RawSplits) -> None:
    assert mnist.test.ids.names == tuple(f"test/{row}" for row in range(10_000))
    names = mnist.train.ids.names + mnist.validation.ids.names
    assert set(names) == {f"train/{row}" for row in range(60_000)}
    for part in (mnist.train, mnist.validation):
        rows = torch.tensor([int(name.removeprefix("train/")) for name in part.ids.names[:200]])
        assert torch.equal(part.x[:200], published.train.x[rows].float() / 255)


def test_subsets_and_masks_keep_ids_and_keys() -> None:
    data = Dataset.of(X, Y)
    rows = torch.tensor([30, 2, 17])
    for part, expected in (
        (data.subset(rows), rows),
        (data.first(5), torch.arange(5)),
        (data.keep(data.y == 3), torch.arange(3, 40, 4)),
    ):
        assert part.ids.names == tuple(str(int(row)) for row in expected)
        assert torch.equal(part.ids.keys, data.ids.keys[expected])
        assert torch.equal(part.x, data.x[expected])


def test_own_ids_are_taken_and_repeated_ones_refused() -> None:
    names = [f"photo-{row}" for row in range(40)]
    assert Dataset.of(X, Y, ids=names).ids.names == tuple(names)
    with pytest.raises(DataError, match="two samples have the id 'photo-3'"):
        Dataset.of(X, Y, ids=[*names[:39], "photo-3"])
    with pytest.raises(DataError, match="39 ids for 40 images"):
        Dataset.of(X, Y, ids=names[:39])
    data = Dataset.of(X, Y)
    with pytest.raises(DataError, match="two samples have the id '4'"):
        data.subset(torch.tensor([4, 1, 4]))


@pytest.mark.parametrize(
    "mask", [torch.ones(39, dtype=torch.bool), torch.ones(40), torch.ones(40, 1, dtype=torch.bool)]
)
def test_a_mask_of_another_type_or_length_is_refused(mask: torch.Tensor) -> None:
    with pytest.raises(DataError, match="give bool of shape") as caught:
        Dataset.of(X, Y).keep(mask)
    assert "\n" not in str(caught.value)


def test_arrays_with_a_test_of_the_same_row_numbers_are_told_apart() -> None:
    splits = Splits.of(Dataset.of(X, Y), Dataset.of(X[:8], Y[:8]))
    assert splits.test.ids.names == tuple(f"test/{row}" for row in range(8))
    assert all(name.startswith("train/") for name in splits.train.ids.names)


def test_an_id_in_two_parts_is_refused() -> None:
    data = Dataset.of(X, Y)
    with pytest.raises(DataError, match="two samples have the id '1'"):
        Splits("mine", "official", data.first(5), data.keep(data.y == 1), data.first(2))


def test_content_hashes_do_not_depend_on_ids() -> None:
    data = Dataset.of(X, Y)
    other = Dataset.of(X, Y, ids=[f"photo-{row}" for row in range(40)])
    assert data.content_hash == other.content_hash
    assert data.ids.hash != other.ids.hash


def test_keys_are_stable_positive_and_different() -> None:
    keys = sample_keys(f"train/{row}" for row in range(70_000))
    assert keys.dtype == torch.int64
    assert bool((keys >= 0).all())
    assert len(keys.unique()) == 70_000
    assert sample_keys(["train/0"]).tolist() == [3186671616199749187]
    assert sample_keys(["bad\udce9name.png"]).shape == (1,)


def test_draws_of_a_sample_do_not_depend_on_its_position() -> None:
    data = Dataset.of(X, Y)
    part = data.subset(torch.tensor([30, 2, 17]))
    everyone, few = (RandomStreams(5, dataset.ids.keys) for dataset in (data, part))
    for draw in (lambda s: s.normal((3,)), lambda s: s.uniform((2, 2)), lambda s: s.bits(1)):
        assert torch.equal(draw(everyone)[[30, 2, 17]], draw(few))


def test_an_order_keeps_the_others_in_order_when_one_is_removed() -> None:
    ids = SampleIds.rows(50)
    kept = torch.arange(50) != 20
    order = RandomStreams(3, ids.keys).order()
    names = [ids.names[row] for row in order.tolist() if row != 20]
    fewer = ids[kept]
    again = [fewer.names[row] for row in RandomStreams(3, fewer.keys).order().tolist()]
    assert again == names != sorted(names, key=int)


def test_ids_of_70_000_samples_cost_little() -> None:
    began = time.process_time()
    ids = SampleIds.rows(70_000, "train/")
    ids[torch.arange(0, 70_000, 2)]
    assert time.process_time() - began < 3.0
