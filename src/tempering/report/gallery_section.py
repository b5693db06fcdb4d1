"""Sections of a report with images: adversarial examples, and samples of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tempering.report import selection
from tempering.report.pictures import Gallery, bands_in_words, difference, difference_png, png
from tempering.report.reading import Run
from tempering.report.section import Example, Examples, Picture, PictureSheet, Section
from tempering.report.tables import Tone
from tempering.report.wording import SUBJECTS, attack

MAX_PICTURES = 24
"""Largest number of images in a figure."""


def gallery_section(run: Run) -> Section | None:
    """Clean image, adversarial image, their difference, and the predictions on them."""
    images = run.pictures.gallery
    if images is None or len(images.x) == 0:
        return None
    count = min(len(images.x), MAX_PICTURES)
    changes = [difference(images.x[at], images.x_adv[at]) for at in range(count)]
    amplitude = max(float(np.abs(change).max()) for change in changes)
    classes = class_names(run)
    model = SUBJECTS[selection.main_subject(run.records)]
    examples = tuple(
        _example(images, at, classes, model, difference_png(change, amplitude))
        for at, change in enumerate(changes)
    )
    caption = (
        f"Clean image, adversarial image and difference. The attacks were run on the {model}. "
        f"Red pixels increased and blue ones decreased; full colour is a change of {amplitude:.3g}."
    )
    caption += bands_in_words(images.x.shape[1])
    if images.before_x_adv is not None:
        caption += " The undefended model is shown on images of attacks on itself."
    return Section(
        "gallery", "Adversarial examples", (), (Examples("examples", caption, examples),)
    )


def _example(images: Gallery, at: int, classes: Sequence[str], model: str, change: str) -> Example:
    true = int(images.y[at])
    label = selection.class_name(classes, true)
    by = attack(images.attack[at]) if images.attack is not None else "attack"
    pictures: tuple[Picture, ...] = (
        Picture(png(images.x[at]), f"{label}, clean", "clean"),
        Picture(png(images.x_adv[at]), f"{label}, adversarial, by {by}", "adversarial"),
        Picture(change, f"difference between the two images of {label}", "difference"),
    )
    own = images.before_x_adv
    if own is not None:
        title = f"{label}, adversarial for the undefended model"
        pictures += (Picture(png(own[at]), title, "undefended"),)
    rows = (
        (f"{model}, clean", images.clean),
        (f"{model}, adversarial", images.after),
        ("undefended model, attacked itself", images.before if own is not None else None),
    )
    predictions = tuple(
        (what, *_prediction(int(predicted[at]), true, classes))
        for what, predicted in rows
        if predicted is not None
    )
    return Example(f"{label}, {by}", pictures, predictions)


def _prediction(predicted: int, true: int, classes: Sequence[str]) -> tuple[str, Tone]:
    name = selection.class_name(classes, predicted)
    if predicted == true:
        return f"{name} (correct)", "good"
    if classes and predicted == len(classes):
        return "flagged", "fair"
    return f"{name} (wrong)", "bad"


def data_section(run: Run) -> Section | None:
    """Samples of the data, before and after augmentation."""
    sheets = (data_sheet(run), augmented_sheet(run))
    blocks = tuple(sheet for sheet in sheets if sheet is not None)
    return Section("data", "Data samples", (), blocks) if blocks else None


def data_sheet(run: Run) -> PictureSheet | None:
    """Samples of the data with their classes."""
    images, y = run.pictures.samples_x, run.pictures.samples_y
    if images is None:
        return None
    classes = class_names(run)
    names = [selection.class_name(classes, int(label)) for label in y] if y is not None else []
    names = names or [f"sample {at}" for at in range(1, len(images) + 1)]
    pictures = [
        Picture(png(image), f"sample of class {name}" if y is not None else name, name)
        for image, name in zip(images, names, strict=True)
    ]
    caption = f"Samples of the data.{bands_in_words(images.shape[1])}"
    return PictureSheet("samples", caption, tuple(pictures[:MAX_PICTURES]))


def augmented_sheet(run: Run) -> PictureSheet | None:
    """Samples after augmentation."""
    images = run.pictures.augmented_x
    if images is None:
        return None
    y = run.pictures.samples_y
    classes = class_names(run)
    known = y is not None and len(y) == len(images)
    names = [
        selection.class_name(classes, int(y[at])) if known and y is not None else f"sample {at + 1}"
        for at in range(len(images))
    ]
    pictures = [
        Picture(png(image), f"{name}, augmented", name)
        for image, name in zip(images, names, strict=True)
    ]
    return PictureSheet("augmented", "Samples after augmentation.", tuple(pictures[:MAX_PICTURES]))


def class_names(run: Run) -> Sequence[str]:
    """Names of the classes; empty if the run does not record them."""
    provenance = selection.provenance(run.records)
    return provenance.classes if provenance else ()
