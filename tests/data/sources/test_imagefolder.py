from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tempering.core.errors import DataError
from tempering.data import load
from tempering.data.sources.imagefolder import read_imagefolder


def picture(
    path: Path, mode: str = "L", size: tuple[int, int] = (6, 5), level: int = 9
) -> np.ndarray:
    pixels = np.random.default_rng(level).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode=None).save(path)
    return pixels


def test_grey_pictures_stay_grey_and_classes_follow_their_names(tmp_path: Path) -> None:
    pixels = [
        picture(tmp_path / "dog" / "1.png", level=3),
        picture(tmp_path / "cat" / "2.png", level=2),
        picture(tmp_path / "cat" / "deeper" / "1.PNG", level=1),
    ]
    held = read_imagefolder(str(tmp_path))
    assert held.classes == ("cat", "dog")
    assert held.train.y.tolist() == [0, 0, 1]
    assert held.train.x.shape == (3, 1, 5, 6)
    assert np.array_equal(held.train.x[0, 0].numpy(), pixels[1][:, :, 0])
    assert np.array_equal(held.train.x[2, 0].numpy(), pixels[0][:, :, 0])
    assert held.test is None


def test_colours_come_as_channels_and_grey_joins_them(tmp_path: Path) -> None:
    colour = picture(tmp_path / "a" / "1.png", "RGB")
    grey = picture(tmp_path / "b" / "1.png", "L")
    held = read_imagefolder(str(tmp_path))
    assert held.train.x.shape == (2, 3, 5, 6)
    assert np.array_equal(held.train.x[0].numpy(), np.moveaxis(colour, -1, 0))
    assert all(np.array_equal(channel.numpy(), grey[:, :, 0]) for channel in held.train.x[1])


def test_train_and_test_folders_are_the_official_split(tmp_path: Path) -> None:
    for part, n in (("train", 20), ("test", 4)):
        for number in range(n):
            name = "ab"[number % 2]
            picture(tmp_path / part / name / f"{number}.png", level=number + 100 * len(part))
    splits = load(f"imagefolder:{tmp_path}")
    assert splits.split == "official"
    assert [len(part) for part in splits.parts.values()] == [18, 2, 4]
    assert sorted(splits.test.y.tolist()) == [0, 0, 1, 1]
    assert load(f"imagefolder:{tmp_path}/train").split == "stratified"


def test_colour_in_one_part_gives_both_parts_three_channels(tmp_path: Path) -> None:
    for part, mode in (("train", "RGB"), ("test", "L")):
        for name in "ab":
            picture(tmp_path / part / name / "1.png", mode)
    held = read_imagefolder(str(tmp_path))
    assert held.test is not None
    assert held.train.x.shape[1] == held.test.x.shape[1] == 3


def test_the_first_picture_of_another_size_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "a" / "2.png")
    picture(tmp_path / "b" / "1.png", size=(7, 5))
    picture(tmp_path / "b" / "2.png", size=(8, 5))
    with pytest.raises(DataError) as caught:
        read_imagefolder(str(tmp_path))
    assert f"{tmp_path}/b/1.png is 7x5 but {tmp_path}/a/1.png is 6x5" in str(caught.value)


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / name / "1.png", size=(60, 50))
    path = tmp_path / "b" / "1.png"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"rubbish"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"cannot read {path}"):
            read_imagefolder(str(tmp_path))


def test_pictures_of_16_bits_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    Image.fromarray(np.full((5, 6), 40_000, np.uint16)).save(tmp_path / "b" / "1.png")
    with pytest.raises(DataError, match=r"b/1\.png has more than 8 bits per channel"):
        read_imagefolder(str(tmp_path))


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    for name in "ab":
        pixels = picture(tmp_path / name / "1.png")
    with Image.open(tmp_path / "b" / "1.png") as image:
        exif = image.getexif()
        exif[0x0112] = 3
        image.save(tmp_path / "b" / "1.png", exif=exif)
    held = read_imagefolder(str(tmp_path))
    assert np.array_equal(held.train.x[1, 0].numpy(), pixels[::-1, ::-1, 0])


def test_other_files_and_hidden_folders_are_left_alone(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / name / "1.png")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (tmp_path / ".cache").mkdir()
    assert len(read_imagefolder(str(tmp_path)).train) == 2


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no subfolders"):
        read_imagefolder(str(tmp_path))


def test_a_class_without_pictures_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=f"no images in {tmp_path}/b"):
        read_imagefolder(str(tmp_path))


def test_a_class_that_is_tested_but_not_trained_is_named(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        picture(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"class 'c' is in .*test but not in .*train"):
        read_imagefolder(str(tmp_path))


def test_train_without_test_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a" / "1.png")
    with pytest.raises(DataError, match="has train/ but no test/"):
        read_imagefolder(str(tmp_path))
