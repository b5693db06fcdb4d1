from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from tempering.core.errors import DataError
from tempering.data import load
from tempering.data.sources.hf import read_hf
from tests.data.sources.test_imagefolder import deep_png

datasets = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 5, 6), dtype=np.uint8)


def table(n: int = 30, **columns: Any) -> Any:
    features = {"number": datasets.Value("int64"), "picture": datasets.Image()}
    content = {
        "number": list(range(n)),
        "picture": [Picture.fromarray(pixels) for pixels in PIXELS[:n]],
    }
    if not columns:
        columns = {"kind": datasets.ClassLabel(names=["cat", "dog", "owl"])}
    for name, feature in columns.items():
        features[name] = feature
        content[name] = [number % 3 for number in range(n)]
    return datasets.Dataset.from_dict(content, datasets.Features(features))


def saved(data: Any, path: Path) -> str:
    data.save_to_disk(str(path))
    return str(path)


def test_columns_are_found_by_their_type(tmp_path: Path) -> None:
    held = read_hf(saved(table(), tmp_path / "data"))
    assert held.classes == ("cat", "dog", "owl")
    assert np.array_equal(held.train.x[:, 0].numpy(), PIXELS)
    assert held.train.y.tolist() == [number % 3 for number in range(30)]
    assert held.test is None


def test_a_saved_dictionary_brings_its_own_test(tmp_path: Path) -> None:
    data = datasets.DatasetDict({"train": table(), "test": table(9), "validation": table(6)})
    splits = load(f"hf:{saved(data, tmp_path / 'data')}")
    assert splits.split == "official"
    assert len(splits.test) == 9
    assert (len(splits.train), len(splits.validation)) == (30, 6)


def test_a_preferred_name_wins_among_several_classes(tmp_path: Path) -> None:
    coarse = datasets.ClassLabel(names=["a", "b", "c"])
    fine = datasets.ClassLabel(names=["x", "y", "z"])
    held = read_hf(saved(table(coarse_label=coarse, fine_label=fine), tmp_path / "data"))
    assert held.classes == ("x", "y", "z")


def test_plain_numbers_are_labels_under_a_known_name(tmp_path: Path) -> None:
    held = read_hf(saved(table(label=datasets.Value("int32")), tmp_path / "data"))
    assert held.classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"no label column .*number Value"):
        read_hf(saved(table(shade=datasets.Value("int32")), tmp_path / "other"))


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    data = table().remove_columns("picture")
    with pytest.raises(DataError, match="no image column"):
        read_hf(saved(data, tmp_path / "data"))


def test_a_folder_of_parquet_is_read(tmp_path: Path) -> None:
    table().to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    table(9).to_parquet(str(tmp_path / "test-00000-of-00001.parquet"))
    held = read_hf(str(tmp_path))
    assert held.test is not None
    assert len(held.test) == 9
    assert held.classes == ("cat", "dog", "owl")
    assert np.array_equal(held.train.x[:, 0].numpy(), PIXELS)


def test_foreign_parquet_with_packed_pictures_is_read(tmp_path: Path) -> None:
    import io

    import pyarrow
    import pyarrow.parquet

    def packed(pixels: np.ndarray) -> dict[str, object]:
        buffer = io.BytesIO()
        Picture.fromarray(pixels).save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    content = {"image": [packed(pixels) for pixels in PIXELS], "label": [i % 2 for i in range(30)]}
    pyarrow.parquet.write_table(pyarrow.table(content), tmp_path / "all.parquet")
    held = read_hf(str(tmp_path))
    assert np.array_equal(held.train.x[:, 0].numpy(), PIXELS)
    assert held.classes == ("0", "1")


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no saved dataset and no \.parquet"):
        read_hf(str(tmp_path))


def test_a_label_that_is_missing_is_named(tmp_path: Path) -> None:
    data = table().to_dict()
    data["kind"][7] = -1
    features = table().features
    path = saved(datasets.Dataset.from_dict(data, features), tmp_path / "data")
    with pytest.raises(DataError, match="label -1 at index 7"):
        read_hf(path)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    data = table().to_dict()
    data["picture"][7] = None
    path = saved(datasets.Dataset.from_dict(data, table().features), tmp_path / "data")
    with pytest.raises(DataError, match="row 7 has no image"):
        read_hf(path)


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    data = table().to_dict()
    data["picture"][7] = Picture.new("L", (9, 9))
    path = saved(datasets.Dataset.from_dict(data, table().features), tmp_path / "data")
    with pytest.raises(DataError, match=r"row 7 is 9x9 but .* row 0 is 6x5"):
        read_hf(path)


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"datasets: pip install 'tempering\[hf\]'"):
        read_hf("mnist")


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object) -> None:
        raise ConnectionError("Couldn't reach the hub\nand much more")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError) as caught:
        load("hf:somebody/something")
    assert str(caught.value) == (
        "cannot load hf:somebody/something: Couldn't reach the hub: give a folder, "
        "or a name on the hub that can be reached"
    )


def test_splits_without_a_test_are_named(tmp_path: Path) -> None:
    data = datasets.DatasetDict({"train": table(), "extra": table(6)})
    with pytest.raises(DataError, match="has train, extra, but no part for test"):
        read_hf(saved(data, tmp_path / "data"))
    held = read_hf(f"{tmp_path / 'data'}?test=extra")
    assert held.test is not None
    assert len(held.test) == 6


@pytest.mark.parametrize("place", ["latest", "contest", "attestation"])
def test_test_inside_another_word_is_no_test(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir()
    table().to_parquet(str(tmp_path / place / "train-00000-of-00001-0a1b2c.parquet"))
    assert read_hf(str(tmp_path)).test is None
    (tmp_path / place / "test").mkdir()
    table(9).to_parquet(str(tmp_path / place / "test" / "0000.parquet"))
    held = read_hf(str(tmp_path))
    assert held.test is not None
    assert (len(held.train), len(held.test)) == (30, 9)


def test_a_file_that_does_not_say_what_it_is_is_named(tmp_path: Path) -> None:
    table().to_parquet(str(tmp_path / "train.parquet"))
    table(9).to_parquet(str(tmp_path / "more.parquet"))
    with pytest.raises(DataError, match=r"more\.parquet, whose name does not say what it is"):
        read_hf(str(tmp_path))
    assert read_hf(f"{tmp_path}?test=more").test is not None


def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no folder {tmp_path}/nowhere"):
        read_hf(str(tmp_path / "nowhere"))


def test_what_names_say_beside_other_words_is_heard(tmp_path: Path) -> None:
    table().to_parquet(str(tmp_path / "cifar-Train.parquet"))
    table(9).to_parquet(str(tmp_path / "cifar-testing.parquet"))
    table(6).to_parquet(str(tmp_path / "cifar_dev.parquet"))
    held = read_hf(str(tmp_path))
    assert held.test is not None
    assert held.validation is not None
    assert (len(held.train), len(held.test), len(held.validation)) == (30, 9, 6)


def test_a_name_that_says_two_things_is_asked_about(tmp_path: Path) -> None:
    table().to_parquet(str(tmp_path / "train_test.parquet"))
    with pytest.raises(
        DataError, match=r"train_test\.parquet, whose name says test and train: say"
    ):
        read_hf(str(tmp_path))


def test_a_file_that_is_in_two_parts_is_refused(tmp_path: Path) -> None:
    table().to_parquet(str(tmp_path / "train.parquet"))
    (tmp_path / "test.parquet").symlink_to(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"\.parquet of another part: give each part files of its"):
        read_hf(str(tmp_path))


def test_colours_of_16_bits_are_refused(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = [{"bytes": deep_png(3), "path": None}] * 2
    data = datasets.Dataset.from_dict({"image": rows, "label": [0, 1]}, features)
    with pytest.raises(DataError, match="row 0 has more than 8 bits per channel"):
        read_hf(saved(data, tmp_path / "data"))


def test_labels_in_text_are_named_with_the_remedy(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    content = {"image": [Picture.fromarray(PIXELS[0])], "label": ["cat"]}
    path = saved(datasets.Dataset.from_dict(content, features), tmp_path / "data")
    with pytest.raises(DataError, match=r"column label is text: .*class_encode_column\('label'\)"):
        read_hf(path)
