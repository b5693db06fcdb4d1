"""Images of a run: read whole or refused, and drawn as they are."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tempering.core.errors import RunError
from tempering.report.gallery_section import gallery_section
from tempering.report.pictures import MINUS, PLUS, difference, difference_png, load_pictures, png
from tempering.report.reading import read_run
from tempering.report.run_page import render
from tempering.report.section import Examples
from tests.report import synthetic_run as made


def decoded(address: str) -> np.ndarray:
    head, _, body = address.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.asarray(image)


def test_an_image_survives_its_png() -> None:
    grey = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    assert np.array_equal(decoded(png(grey)), (255 * grey[0]).round().astype(np.uint8))
    colour = np.linspace(0, 1, 36, dtype=np.float32).reshape(3, 3, 4)
    assert np.array_equal(decoded(png(colour))[..., 2], (255 * colour[2]).round().astype(np.uint8))


def test_the_difference_is_signed_and_clear_where_nothing_changed() -> None:
    x = np.zeros((3, 1, 3), dtype=np.float32)
    x_adv = x.copy()
    x_adv[1, 0, 0], x_adv[2, 0, 1], x_adv[0, 0, 1] = 0.2, -0.1, 0.05
    change = difference(x, x_adv)
    assert change[0].tolist() == pytest.approx([0.2, -0.1, 0.0])
    drawn = decoded(difference_png(change, 0.2))
    assert drawn[0].tolist() == [[*PLUS, 255], [*MINUS, 128], [*PLUS, 0]]


def test_examples_say_who_was_right_wrong_or_flagging(tmp_path: Path) -> None:
    made.write(tmp_path, made.hardened(), arrays=made.pictures())
    section = gallery_section(read_run(tmp_path))
    assert section is not None
    examples = section.blocks[0]
    assert isinstance(examples, Examples)
    first, flagged = examples.examples[0], examples.examples[3]
    assert [answer for _, answer, _ in first.predictions] == [
        "7 (correct)",
        "7 (correct)",
        "3 (wrong)",
    ]
    assert flagged.predictions[1][1:] == ("flagged", "fair")
    assert first.heading == "7, fgsm"
    assert "attacks on itself" in examples.caption
    assert [picture.label for picture in first.pictures] == [
        "clean",
        "adversarial",
        "difference",
        "undefended",
    ]


def test_every_picture_is_labelled_and_four_lie_in_one_row(tmp_path: Path) -> None:
    made.write(tmp_path, made.hardened(), arrays=made.pictures())
    source = render(tmp_path).read_text(encoding="utf-8")
    groups = re.findall(r'<div class="images four">(.*?)</div>\n</div>', source, re.DOTALL)
    assert groups
    for group in groups:
        labels = re.findall(r"<span[^>]*>(.*?)</span>", group)
        assert labels == ["clean", "adversarial", "difference", "undefended"]
    assert ".images.four{grid-template-columns:repeat(4," in source


def test_without_images_of_its_own_attack_nothing_is_said_of_the_undefended(
    tmp_path: Path,
) -> None:
    arrays = made.pictures()
    del arrays["before_x_adv"]
    made.write(tmp_path, made.hardened(), arrays=arrays)
    section = gallery_section(read_run(tmp_path))
    assert section is not None
    examples = section.blocks[0]
    assert isinstance(examples, Examples)
    assert len(examples.examples[0].predictions) == 2
    assert "undefended" not in examples.caption


@pytest.mark.parametrize(
    ("channels", "mode", "said"),
    [(2, 2, "Of the 2 bands the first"), (4, 3, "Of the 4 bands the first three"), (3, 3, "")],
)
def test_images_of_any_number_of_bands_are_shown(
    tmp_path: Path, channels: int, mode: int, said: str
) -> None:
    arrays = made.pictures()
    for name in ("x", "x_adv", "before_x_adv", "samples_x", "augmented_x"):
        arrays[name] = np.repeat(arrays[name][:, :1], channels, 1)
    made.write(tmp_path, made.hardened(), arrays=arrays)
    section = gallery_section(read_run(tmp_path))
    assert section is not None
    examples = section.blocks[0]
    assert isinstance(examples, Examples)
    assert ("bands" in examples.caption) == bool(said)
    assert said in examples.caption
    assert decoded(examples.examples[0].pictures[0].source).ndim == mode


def test_a_run_without_a_gallery_has_no_pictures(tmp_path: Path) -> None:
    assert load_pictures(tmp_path / "gallery.npz").gallery is None


def test_no_damage_to_the_file_escapes_as_anything_but_a_run_error(tmp_path: Path) -> None:
    path = made.write(tmp_path, [], arrays=made.pictures()) / "gallery.npz"
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    refused: list[str] = []
    for _ in range(150):
        damaged = bytearray(whole)
        for at in draw.integers(0, len(damaged), 8):
            damaged[at] ^= int(draw.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            load_pictures(path)
        except RunError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize("content", [b"", b"no arrays", b"\x93NUMPY\x01\x00v\x00"])
def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gallery.npz"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"gallery\.npz"):
        load_pictures(path)


def test_a_lone_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "gallery.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(RunError, match=r"gallery\.npz"):
        load_pictures(tmp_path / "gallery.npz")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("x_adv", np.zeros((6, 1, 14, 14), np.float32), "give that of x"),
        ("x", np.zeros((6, 28, 28), np.float32), r"\(k, channels, h, w\)"),
        ("x", np.full((6, 1, 28, 28), np.nan, np.float32), "NaN"),
        ("x", np.full((6, 1, 28, 28), "seven"), "give numbers"),
        ("y", np.zeros(5, np.int64), r"give \(6,\)"),
        ("after", np.full(6, "seven"), "give class numbers"),
    ],
)
def test_an_array_that_does_not_fit_is_named(
    tmp_path: Path, name: str, value: np.ndarray, says: str
) -> None:
    made.write(tmp_path, [], arrays=made.pictures() | {name: value})
    with pytest.raises(RunError, match=says):
        load_pictures(tmp_path / "gallery.npz")
