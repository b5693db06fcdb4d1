"""Images of a run: the file that contains them, and PNG encoding."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tempering.core.arrays import read_arrays
from tempering.core.errors import DamagedArraysError, RunError

Floats = NDArray[np.float32]
Arrays = Mapping[str, NDArray[np.generic]]

PLUS, MINUS = (204, 82, 46), (58, 124, 196)
"""Colours of a pixel that increased and of one that decreased."""


@dataclass(frozen=True)
class Gallery:
    """Clean images, adversarial images, and predictions on them.

    Attributes:
        x: Clean, shape (k, c, h, w), float32 in [0, 1].
        x_adv: Adversarial, same shape.
        y: True classes, shape (k,).
        clean: Predictions of the attacked model on x, shape (k,); None if unknown.
        before: Predictions of the undefended model on x_adv, shape (k,); None if unknown.
        after: Predictions of the attacked model on x_adv, shape (k,); None if unknown.
        attack: Name of the attack, shape (k,); None if unknown.
    """

    x: Floats
    x_adv: Floats
    y: NDArray[np.int64]
    clean: NDArray[np.int64] | None
    before: NDArray[np.int64] | None
    after: NDArray[np.int64] | None
    before_x_adv: Floats | None
    attack: tuple[str, ...] | None


@dataclass(frozen=True)
class Pictures:
    """All images of a run; None if missing.

    Attributes:
        gallery: Adversarial examples.
        samples_x: Images of the data, shape (k, c, h, w).
        samples_y: Labels, shape (k,).
        augmented_x: Images after augmentation, shape (k, c, h, w).
    """

    gallery: Gallery | None = None
    samples_x: Floats | None = None
    samples_y: NDArray[np.int64] | None = None
    augmented_x: Floats | None = None


def load_pictures(path: Path) -> Pictures:
    """Read `gallery.npz`; a run without one has no pictures.

    Raises:
        RunError: If the file is damaged, or an array has the wrong shape.
    """
    if not path.exists():
        return Pictures()
    try:
        arrays = read_arrays(path)
    except DamagedArraysError as error:
        raise RunError(f"{path} is no file of arrays ({error}): run the evaluation again") from None
    samples = _images(path, arrays, "samples_x")
    return Pictures(
        gallery=_gallery(path, arrays),
        samples_x=samples,
        samples_y=None if samples is None else _classes(path, arrays, "samples_y", len(samples)),
        augmented_x=_images(path, arrays, "augmented_x"),
    )


def _gallery(path: Path, arrays: Arrays) -> Gallery | None:
    x, x_adv = _images(path, arrays, "x"), _images(path, arrays, "x_adv")
    if x is None or x_adv is None:
        return None
    if x.shape != x_adv.shape:
        raise RunError(f"{path}: x_adv has shape {x_adv.shape}: give that of x, {x.shape}")
    y = _classes(path, arrays, "y", len(x))
    if y is None:
        raise RunError(f"{path} has images x but no y: give their classes")
    names = arrays.get("attack")
    return Gallery(
        x=x,
        x_adv=x_adv,
        y=y,
        clean=_classes(path, arrays, "clean", len(x)),
        before=_classes(path, arrays, "before", len(x)),
        after=_classes(path, arrays, "after", len(x)),
        before_x_adv=_images(path, arrays, "before_x_adv"),
        attack=None if names is None or len(names) != len(x) else tuple(map(str, names)),
    )


def _images(path: Path, arrays: Arrays, name: str) -> Floats | None:
    if name not in arrays:
        return None
    images = arrays[name]
    if images.dtype.kind not in "fiub":
        raise RunError(f"{path}: {name} holds {images.dtype}: give numbers")
    if images.ndim != 4 or not images.shape[1]:
        raise RunError(f"{path}: {name} has shape {images.shape}: give (k, channels, h, w)")
    if not np.isfinite(images.astype(np.float64)).all():
        raise RunError(f"{path}: {name} holds NaN or infinity: give values in [0, 1]")
    return images.astype(np.float32) if len(images) else None


def _classes(path: Path, arrays: Arrays, name: str, n: int) -> NDArray[np.int64] | None:
    if name not in arrays:
        return None
    if arrays[name].dtype.kind not in "iub":
        raise RunError(f"{path}: {name} holds {arrays[name].dtype}: give class numbers")
    if arrays[name].shape != (n,):
        raise RunError(f"{path}: {name} has shape {arrays[name].shape}: give ({n},)")
    return arrays[name].astype(np.int64)


def visible_bands(channels: int) -> slice:
    """The bands that are shown: the first three as red, green and blue, or the first as grey."""
    return slice(3 if channels >= 3 else 1)


def bands_in_words(channels: int) -> str:
    """What is shown of images with neither one nor three channels; nothing otherwise."""
    if channels in (1, 3):
        return ""
    if channels == 2:
        return " Of the 2 bands the first is shown."
    return f" Of the {channels} bands the first three are shown as red, green and blue."


def png(image: Floats) -> str:
    """The visible bands of an image in [0, 1], shape (c, h, w), as a PNG data address."""
    levels = (255 * np.clip(image[visible_bands(len(image))], 0, 1)).round().astype(np.uint8)
    return _address(levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, -1))


def difference(x: Floats, x_adv: Floats) -> Floats:
    """The signed change of each pixel, shape (h, w): of its channels, the largest one."""
    change = x_adv - x
    largest = np.abs(change).argmax(axis=0)[None]
    signed: Floats = np.take_along_axis(change, largest, axis=0)[0]
    return signed


def difference_png(change: Floats, amplitude: float) -> str:
    """A signed change in two colours, shape (h, w): clear where nothing changed."""
    strength = np.clip(np.abs(change) / max(amplitude, 1e-12), 0, 1)
    colour = np.where(change[..., None] >= 0, np.array(PLUS), np.array(MINUS))
    alpha = (255 * strength[..., None]).round()
    return _address(np.concatenate([colour, alpha], axis=-1).astype(np.uint8))


def _address(levels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    with Image.fromarray(levels) as image:
        image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
