from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.data import SOURCES, Dataset, find_duplicates, load
from tempering.data.raw_splits import RawSamples
from tempering.data.sources.registered import find_source


def test_every_source_is_listed_with_an_example_that_names_it() -> None:
    assert set(SOURCES) == {"mnist", "digits", "npz", "imagefolder", "idx", "cifar10", "hf"}
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.summary
        chosen, argument = find_source(source.example)
        assert chosen is source
        assert bool(argument) == (source.argument is not None)


def test_digits_are_scaled_and_split() -> None:
    splits = load("digits")
    assert splits.shape == (1, 8, 8)
    assert splits.num_classes == 10
    assert sum(len(part) for part in splits.parts.values()) == 1797
    assert len(splits.test) == 359
    assert float(splits.train.x.max()) == 1.0
    assert splits.train.name == "digits/train"


@pytest.mark.parametrize("address", ["mnits", "imagefoldr:photos", "", "photos"])
def test_an_unknown_source_offers_what_is_known(address: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data source .*(did you mean|known:)"):
        load(address)


@pytest.mark.parametrize("address", ["npz", "npz:", "hf", "idx:", "cifar10", "imagefolder"])
def test_a_missing_argument_is_asked_for(address: str) -> None:
    with pytest.raises(UsageError, match="needs an argument: write"):
        load(address)


def test_too_much_is_refused() -> None:
    with pytest.raises(UsageError, match="mnist takes no argument: write mnist"):
        load("mnist:fashion")


@pytest.mark.parametrize("name", ["npz", "imagefolder", "idx", "cifar10"])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(DataError, match=r"no (file|folder) nowhere: give"):
        load(f"{name}:nowhere")


def test_the_room_is_entered_without_torch() -> None:
    code = "import sys, tempering.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("file", ["npz", "idx", "cifar10", "hf", "imagefolder"])
def test_a_place_without_a_source_offers_the_one_that_it_looks_like(
    tmp_path: Path, file: str
) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    match file:
        case "npz":
            place = place / "faces.npz"
            place.touch()
        case "idx":
            (place / "train-images-idx3-ubyte.gz").touch()
        case "cifar10":
            (place / "data_batch_1.bin").touch()
        case "hf":
            (place / "train.parquet").touch()
    with pytest.raises(UsageError, match=f"is a path: write {file}:{place}"):
        load(str(place))


def picture_folder(place: Path) -> None:
    for at, part in enumerate(("Train", "val", "testing")):
        for number in range(8):
            path = place / part / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(UNIQUE[8 * at + number]).save(path)


def archive(place: Path) -> None:
    parts = {"": UNIQUE[:12], "_val": UNIQUE[12:18], "_test": UNIQUE[18:]}
    arrays = {f"x{name}": x for name, x in parts.items()}
    arrays |= {f"y{name}": np.arange(len(x)) % 2 for name, x in parts.items()}
    place.mkdir()
    np.savez(place / "data.npz", **arrays)


def idx_files(place: Path) -> None:
    place.mkdir()
    for part, x in (("train", UNIQUE[:16]), ("t10k", UNIQUE[16:])):
        sizes = b"".join(size.to_bytes(4, "big") for size in x.shape)
        (place / f"{part}-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + sizes + x.tobytes())
        labels = (
            bytes((0, 0, 8, 1)) + len(x).to_bytes(4, "big") + bytes(n % 2 for n in range(len(x)))
        )
        (place / f"{part}-labels-idx1-ubyte").write_bytes(labels)


def cifar_files(place: Path) -> None:
    place.mkdir()
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for at, name in enumerate(names):
        x = np.random.default_rng(at).integers(0, 256, (4, 3072), np.uint8)
        y = np.arange(4, dtype=np.uint8)[:, None] % 2
        (place / name).write_bytes(np.concatenate([y, x], axis=1).tobytes())


def tables(place: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {"train": UNIQUE[:12], "validation": UNIQUE[12:18], "test": UNIQUE[18:]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    held = {
        name: datasets.Dataset.from_dict(
            {"image": [Image.fromarray(one) for one in x], "label": [n % 2 for n in range(len(x))]},
            features,
        )
        for name, x in parts.items()
    }
    datasets.DatasetDict(held).save_to_disk(str(place))


UNIQUE = np.random.default_rng(5).integers(0, 256, (24, 6, 5), np.uint8)
MADE = {
    "mnist": (lambda _: None, ""),
    "digits": (lambda _: None, ""),
    "npz": (archive, ":{}/data.npz"),
    "imagefolder": (picture_folder, ":{}"),
    "idx": (idx_files, ":{}"),
    "cifar10": (cifar_files, ":{}"),
    "hf": (tables, ":{}"),
}


def images(*parts: RawSamples | Dataset) -> Counter[tuple[bytes, int]]:
    """How often each image occurs with each label."""
    held = [part.pixels if isinstance(part, Dataset) else part.x for part in parts]
    rows = [row.numpy().tobytes() for pixels in held for row in pixels]
    return Counter(zip(rows, [int(y) for part in parts for y in part.y], strict=True))


@pytest.mark.parametrize("split", ["official", "paper"])
@pytest.mark.parametrize("name", list(SOURCES))
def test_parts_of_every_source_share_no_sample(name: str, split: str, tmp_path: Path) -> None:
    make, argument = MADE[name]
    make(tmp_path / "data")
    splits = load(name + argument.format(tmp_path / "data"), split)
    ids = [id_ for part in splits.parts.values() for id_ in part.ids.names]
    assert len(set(ids)) == len(ids)
    source, address = find_source(splits.address)
    assert images(source.read(address).everything) == images(*splits.parts.values())
    if name not in ("mnist", "digits"):  # the images of these are not all different
        assert len(ids) == len(UNIQUE)
        assert not find_duplicates(splits)
