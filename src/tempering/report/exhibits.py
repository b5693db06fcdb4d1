"""Pictures: adversarial examples with their difference, and samples of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tempering.report import choosing
from tempering.report.pictures import Gallery, difference, difference_png, png
from tempering.report.reading import Run
from tempering.report.section import Example, Examples, Picture, Section, Sheet
from tempering.report.tables import Tone
from tempering.report.wording import SUBJECTS, attack

MOST = 24
"""More pictures than this are not shown."""


def gallery(run: Run) -> Section | None:
    """Clean, adversarial, difference, and what the models said."""
    shown = run.pictures.gallery
    if shown is None or len(shown.x) == 0:
        return None
    count = min(len(shown.x), MOST)
    changes = [difference(shown.x[at], shown.x_adv[at]) for at in range(count)]
    amplitude = max(float(np.abs(change).max()) for change in changes)
    classes = class_names(run)
    who = SUBJECTS[choosing.main_subject(run.records)]
    examples = tuple(
        _example(shown, at, classes, who, difference_png(change, amplitude))
        for at, change in enumerate(changes)
    )
    caption = (
        "Each row: clean, adversarial, difference. Red pixels grew, blue ones fell; "
        f"full colour is a change of {amplitude:.3g}."
    )
    return Section(
        "gallery", "Adversarial examples", (), (Examples("examples", caption, examples),)
    )


def _example(shown: Gallery, at: int, classes: Sequence[str], who: str, change: str) -> Example:
    true = int(shown.y[at])
    label = choosing.class_name(classes, true)
    by = attack(shown.attack[at]) if shown.attack is not None else "attack"
    pictures = (
        Picture(png(shown.x[at]), f"{label}, clean", "clean"),
        Picture(png(shown.x_adv[at]), f"{label}, changed by {by}", "adversarial"),
        Picture(change, f"difference between the two images of {label}", "difference"),
    )
    asked = (
        (f"{who}, clean", shown.clean),
        ("undefended model, attacked", shown.before),
        (f"{who}, attacked", shown.after),
    )
    answers = tuple(
        (what, *_answer(int(said[at]), true, classes)) for what, said in asked if said is not None
    )
    return Example(f"{label}, {by}", pictures, answers)


def _answer(said: int, true: int, classes: Sequence[str]) -> tuple[str, Tone]:
    name = choosing.class_name(classes, said)
    if said == true:
        return f"{name} (right)", "good"
    if classes and said == len(classes):
        return "flagged", "fair"
    return f"{name} (wrong)", "bad"


def samples(run: Run) -> Section | None:
    """The data, before and after augmentation."""
    blocks = tuple(block for block in (data_sheet(run), augmented_sheet(run)) if block is not None)
    return Section("data", "The data", (), blocks) if blocks else None


def data_sheet(run: Run) -> Sheet | None:
    """Samples of the data with their classes."""
    images, y = run.pictures.samples_x, run.pictures.samples_y
    if images is None:
        return None
    classes = class_names(run)
    names = [choosing.class_name(classes, int(k)) for k in y] if y is not None else []
    names = names or [f"sample {at}" for at in range(1, len(images) + 1)]
    pictures = [
        Picture(png(image), f"sample of class {name}" if y is not None else name, name)
        for image, name in zip(images, names, strict=True)
    ]
    return Sheet("samples", "Samples of the data.", tuple(pictures[:MOST]))


def augmented_sheet(run: Run) -> Sheet | None:
    """Samples after augmentation."""
    images = run.pictures.augmented_x
    if images is None:
        return None
    y = run.pictures.samples_y
    classes = class_names(run)
    known = y is not None and len(y) == len(images)
    names = [
        choosing.class_name(classes, int(y[at])) if known and y is not None else f"sample {at + 1}"
        for at in range(len(images))
    ]
    pictures = [
        Picture(png(image), f"{name}, augmented", name)
        for image, name in zip(images, names, strict=True)
    ]
    return Sheet("augmented", "Samples after augmentation.", tuple(pictures[:MOST]))


def class_names(run: Run) -> Sequence[str]:
    """Names of the classes; none if the run does not say."""
    made = choosing.provenance(run.records)
    return made.classes if made else ()
