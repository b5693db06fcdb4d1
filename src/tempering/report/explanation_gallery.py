"""Images with their attributions, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tempering.report.pictures import bands_in_words, difference_png, png
from tempering.report.section import Example, Examples, Picture
from tempering.report.tables import Tone
from tempering.report.wording import attack

Floats = NDArray[np.float32]
BRIGHTEST = 0.99
"""Quantile of a map's absolute values from which its colour is full."""
SHORT = {"integrated gradients": "IG", "SmoothGrad": "SmoothGrad", "occlusion": "occlusion"}


@dataclass(frozen=True)
class ExplainedImage:
    """An image, its attributions, and what the model says of it.

    Attributes:
        label: `clean`, name of the attack, or `noise`.
        x: Image in [0, 1], shape (c, h, w).
        maps: Method -> attribution summed over channels, shape (h, w).
        said: Predicted class, or `flagged`.
    """

    label: str
    x: Floats
    maps: Mapping[str, Floats]
    said: str


@dataclass(frozen=True)
class ExplainedSample:
    """A clean image, the attacked one, and one with noise.

    Attributes:
        subject: The model.
        attack: Label of the attack.
        true: True class.
        images: In the order in which they are shown.
    """

    subject: str
    attack: str
    true: str
    images: tuple[ExplainedImage, ...]


def explained_examples(
    identity: str, caption: str, samples: Sequence[ExplainedSample]
) -> tuple[Examples, ...]:
    """The samples as a figure, or nothing without any."""
    if not samples:
        return ()
    channels = len(samples[0].images[0].x)
    return (
        Examples(
            identity,
            caption + bands_in_words(channels),
            tuple(_example(sample) for sample in samples),
        ),
    )


def _example(sample: ExplainedSample) -> Example:
    pictures = tuple(
        picture for image in sample.images for picture in _pictures(sample.true, image)
    )
    predictions = tuple(
        (_label(image.label), *_told(image.said, sample.true)) for image in sample.images
    )
    return Example(f"{sample.true}, {attack(sample.attack)}", pictures, predictions)


def _label(label: str) -> str:
    return label if label in ("clean", "noise") else "attacked"


def _told(said: str, true: str) -> tuple[str, Tone]:
    if said == true:
        return f"{said} (correct)", "good"
    return (said, "fair") if said == "flagged" else (f"{said} (wrong)", "bad")


def _pictures(true: str, image: ExplainedImage) -> tuple[Picture, ...]:
    label = _label(image.label)
    maps = (
        Picture(
            difference_png(values, float(np.quantile(np.abs(values), BRIGHTEST))),
            f"{method} of {true}, {label}",
            SHORT.get(method, method),
        )
        for method, values in image.maps.items()
    )
    return (Picture(png(image.x), f"{true}, {label}", label), *maps)
