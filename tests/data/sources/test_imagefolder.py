from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tempering.core.errors import DataError, UsageError
from tempering.data import load
from tempering.data.sources.imagefolder import read_imagefolder


def picture(
    path: Path, mode: str = "L", size: tuple[int, int] = (6, 5), level: int = 9
) -> np.ndarray:
    pixels = np.random.default_rng(level).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode=None).save(path)
    return pixels


def deep_png(channels: int) -> bytes:
    """A PNG of 6 x 5 pixels with 16 bits a channel: grey, grey and alpha, RGB or RGBA."""
    rows = b"".join(b"\0" + bytes(6 * channels * 2) for _ in range(5))
    header = struct.pack(">IIBBBBB", 6, 5, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def deep_tiff(channels: int) -> bytes:
    """A TIFF of 6 x 5 pixels in colour with 16 bits a channel."""
    data = bytes(6 * 5 * channels * 2)
    tags = [(256, 4, 1, 6), (257, 4, 1, 5), (258, 3, channels, -1), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, -2), (277, 3, 1, channels), (278, 4, 1, 5), (279, 4, 1, len(data))]
    tags += [(338, 3, 1, 2)] * (channels == 4)
    bits_at = 8 + 2 + 12 * len(tags) + 4
    places = {-1: bits_at, -2: bits_at + 2 * channels}
    entries = b"".join(
        struct.pack("<HHII", tag, kind, n, places.get(value, value)) for tag, kind, n, value in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack(f"<{channels}H", *[16] * channels) + data


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
    with pytest.raises(DataError, match="has train, but no part for test: say which is which"):
        read_imagefolder(str(tmp_path))


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("training", "testing"), ("train_set", "test-data"), ("TRAIN", "eval")],
)
def test_parts_are_told_by_whole_words_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    for part in (train, test):
        for name in "ab":
            picture(tmp_path / part / name / "1.png", level=len(part))
    held = read_imagefolder(str(tmp_path))
    assert held.classes == ("a", "b")
    assert held.test is not None
    assert held.test.ids.names[0] == f"{test}/a/1.png"


@pytest.mark.parametrize("part", ["val", "valid", "Validation", "dev"])
def test_validation_samples_of_the_source_are_used(tmp_path: Path, part: str) -> None:
    for name, n in (("train", 12), ("test", 4), (part, 6)):
        for number in range(n):
            label = "ab"[number % 2]
            picture(tmp_path / name / label / f"{number}.png", level=100 * len(name) + number)
    splits = load(f"imagefolder:{tmp_path}")
    assert [len(one) for one in splits.parts.values()] == [12, 6, 4]
    assert all(name.startswith(f"{part}/") for name in splits.validation.ids.names)
    shared = load(f"imagefolder:{tmp_path}", validation_share=0.5)
    assert [len(one) for one in shared.parts.values()] == [9, 9, 4]
    everyone = [name for one in splits.parts.values() for name in one.ids.names]
    assert len(set(everyone)) == len(everyone) == 22


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    for name in ("bus", "train", "test"):
        for number in range(3):
            picture(tmp_path / name / f"{number}.png", level=number)
    held = read_imagefolder(str(tmp_path))
    assert held.classes == ("bus", "test", "train")
    assert held.test is None


def test_what_is_not_certain_is_asked_for(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "cats", "dogs"):
        picture(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"train with subfolders beside cats, dogs: say"):
        read_imagefolder(str(tmp_path))
    everything = read_imagefolder(f"{tmp_path}?parts=none")
    assert everything.classes == ("cats", "dogs", "train")


def test_two_parts_of_one_role_are_refused_until_one_is_named(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/b", "eval/a", "eval/b"):
        picture(tmp_path / name / "1.png", level=len(name))
    with pytest.raises(DataError, match="two parts for test, eval and test"):
        read_imagefolder(str(tmp_path))
    held = read_imagefolder(f"{tmp_path}?test=eval")
    assert held.test is not None
    assert held.test.ids.names == ("eval/a/1.png", "eval/b/1.png")


def test_parts_are_named_in_the_address(tmp_path: Path) -> None:
    for name in ("mine/a", "mine/b", "val/a", "val/b"):
        picture(tmp_path / name / "1.png", level=len(name))
    held = read_imagefolder(f"{tmp_path}?train=mine&test=val")
    assert held.test is not None
    assert held.test.ids.names[0] == "val/a/1.png"
    with pytest.raises(DataError, match=r"no 'none' for test: it has mine, val"):
        read_imagefolder(f"{tmp_path}?test=none")
    with pytest.raises(UsageError, match=r"'tests=a' after the \?"):
        read_imagefolder(f"{tmp_path}?tests=a")


def test_grey_with_a_palette_or_with_transparency_stays_grey(tmp_path: Path) -> None:
    for name, mode in (("a", "P"), ("b", "LA"), ("c", "L")):
        pixels = picture(tmp_path / name / "1.png")[:, :, 0]
        with Image.fromarray(pixels) as grey:
            grey.convert(mode).save(tmp_path / name / "1.png")
    assert read_imagefolder(str(tmp_path)).train.x.shape[1] == 1


def test_parts_without_classes_inside_are_asked_about(tmp_path: Path) -> None:
    for name in ("train", "test"):
        picture(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"has test, train, which hold pictures and no classes"):
        read_imagefolder(str(tmp_path))
    assert read_imagefolder(f"{tmp_path}?parts=none").classes == ("test", "train")


def test_a_part_has_one_role_and_files_of_its_own(tmp_path: Path) -> None:
    for name in ("train/a", "train/b"):
        picture(tmp_path / name / "1.png")
    with pytest.raises(UsageError, match="names train twice: give each part one role"):
        read_imagefolder(f"{tmp_path}?train=train&test=train")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    with pytest.raises(DataError, match=r"a/1\.png is the file .*a/1\.png of another"):
        read_imagefolder(str(tmp_path))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_are_refused_in_every_kind_of_colour(tmp_path: Path, channels: int) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(deep_png(channels))
    with pytest.raises(DataError, match=r"a/1\.png has more than 8 bits per channel: convert it"):
        read_imagefolder(str(tmp_path))


@pytest.mark.parametrize("channels", [3, 4])
def test_tiff_of_16_bits_is_refused(tmp_path: Path, channels: int) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.tiff").write_bytes(deep_tiff(channels))
    with Image.open(tmp_path / "a" / "1.tiff") as opened:
        assert opened.mode == "RGBA"[:channels]
    with pytest.raises(DataError, match=r"a/1\.tiff has more than 8 bits per channel"):
        read_imagefolder(str(tmp_path))


@pytest.mark.parametrize("kind", [b"P5", b"P6"])
def test_pgm_and_ppm_of_more_than_8_bits_are_refused(tmp_path: Path, kind: bytes) -> None:
    deep = kind + b"\n# 255 255\n6 5\n1023\n" + bytes(6 * 5 * 2 * (3 if kind == b"P6" else 1))
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.ppm").write_bytes(deep)
    with pytest.raises(DataError, match=r"a/1\.ppm has more than 8 bits per channel"):
        read_imagefolder(str(tmp_path))
    for name in "ab":
        (tmp_path / name / "1.ppm").write_bytes(deep.replace(b"1023", b"255"))
    assert read_imagefolder(str(tmp_path)).train.x.dtype == torch.uint8


def test_a_palette_with_transparent_colours_is_read_without_a_word(tmp_path: Path) -> None:
    for name in "ab":
        pixels = picture(tmp_path / name / "1.png")[:, :, 0]
        with Image.fromarray(pixels // 64) as grey:
            indexed = grey.convert("P")
        indexed.putpalette(
            [shade for level in (0, 80, 160, 240) for shade in (level, level, level)]
        )
        indexed.save(tmp_path / name / "1.png", transparency=bytes([0, 255, 128, 255]))
    held = read_imagefolder(str(tmp_path))
    assert held.train.x.shape[1] == 1
    assert set(held.train.x.flatten().tolist()) <= {0, 80, 160, 240}
