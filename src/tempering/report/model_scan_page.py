"""The page of a scan of a model: reconstructed triggers, the finding, and what repair changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tempering.core.files import write_text
from tempering.core.model_scan_records import Change, ClassTrigger, ModelScan, Repair
from tempering.report.pictures import bands_in_words, png
from tempering.report.run_page import html
from tempering.report.section import (
    Facts,
    Picture,
    PictureSheet,
    Report,
    Section,
    TableBlock,
)
from tempering.report.tables import Cell, Column, Table, Tone
from tempering.report.wording import counted, duration, percent, whole

GREY = 0.5
"""Pixel value of the image that triggers are shown on."""
MOST = 40
"""Classes whose triggers are shown; the smallest triggers first."""


@dataclass(frozen=True, eq=False)
class TriggerPicture:
    """A trigger as arrays.

    Attributes:
        mask: Shape (h, w), in [0, 1].
        pattern: Shape (c, h, w), in [0, 1].
    """

    mask: NDArray[np.float32]
    pattern: NDArray[np.float32]

    def drawn(self) -> str:
        """The trigger over grey, as a PNG data address."""
        return png((GREY * (1 - self.mask) + self.pattern * self.mask).astype(np.float32))


def write_page(
    scan: ModelScan,
    before: Sequence[TriggerPicture],
    after: Sequence[TriggerPicture],
    path: Path,
) -> Path:
    """Write the page; it opens offline.

    Args:
        scan: What was measured.
        before: The triggers, by number of the class.
        after: Those of the repaired model; empty without a repair.
        path: The file.

    Raises:
        RunError: If it cannot be written.
    """
    write_text(path, html(report_of(scan, before, after)))
    return path


def report_of(
    scan: ModelScan, before: Sequence[TriggerPicture], after: Sequence[TriggerPicture]
) -> Report:
    """The page as sections."""
    sections = [_summary(scan), _triggers(scan, before)]
    if scan.repair is not None:
        sections.append(_repair(scan, scan.repair, after))
    sections.append(_reading(scan))
    return Report(
        title="Scan of a model for backdoors",
        subtitle=f"{scan.model}, {scan.data}, seed {scan.seed}",
        sections=tuple(sections),
        source="scan.json",
    )


def _summary(scan: ModelScan) -> Section:
    tone: Tone = "bad" if scan.backdoor else "good" if scan.judged else "quiet"
    rows = [
        ("Finding", Cell(scan.finding, tone=tone)),
        *_measure(scan),
        ("Clean accuracy", counted(scan.clean)),
    ]
    if scan.not_repaired is not None:
        rows.append(("Repair", Cell("none", scan.not_repaired)))
    if scan.truth is not None:
        rows.append((f"Success of the true trigger, {scan.true_target}", counted(scan.truth)))
    rows.append(("Time", Cell(duration(scan.seconds))))
    return Section("summary", "Summary", (_found(scan),), (Facts("Summary", tuple(rows)),))


def _measure(scan: ModelScan) -> list[tuple[str, Cell]]:
    """What the finding goes by."""
    if scan.ratio_limit is not None:
        what = f"suspect below {scan.ratio_limit:.2f}"
        return [("Smallest trigger over the next one", Cell(f"{scan.ratio:.2f}", what))]
    largest = max(scan.triggers, key=lambda trigger: trigger.index)
    return [
        (
            "Largest anomaly index",
            Cell(f"{largest.index:.2f}", f"class {largest.name}; suspect from {scan.limit:.2f}"),
        ),
        ("By chance", Cell(percent(scan.chance), "of clean models with so large an index")),
    ]


def _found(scan: ModelScan) -> str:
    images = f"{whole(scan.samples)} clean images"
    if scan.backdoor:
        names = " and ".join(trigger.name for trigger in scan.suspects)
        return (
            f"The trigger of class {names} is far smaller than those of the other classes, on "
            f"{images}. A model that learned a shortcut to a class has such a trigger."
        )
    if not scan.judged:
        return (
            f"No trigger is far smaller than all others, on {images}. With {len(scan.triggers)} "
            "classes there are too few to compare with, so this says nothing of the model: scan "
            "its training data."
        )
    return (
        f"No class has a trigger that is unusually small, on {images}. This is no proof: a trigger "
        "that covers the whole image, or depends on it, can stay unseen."
    )


def _triggers(scan: ModelScan, pictures: Sequence[TriggerPicture]) -> Section:
    ordered = sorted(scan.triggers, key=lambda trigger: trigger.size)
    shown = ordered[:MOST]
    return Section(
        "triggers",
        "Reconstructed triggers",
        (
            "For each class the smallest mask and pattern were sought that make the model answer "
            "this class on images of all others.",
        ),
        (
            _sheet("triggers-figure", "The triggers over grey.", scan, shown, pictures),
            TableBlock(_table("triggers-table", "Trigger of each class", scan, ordered)),
        ),
    )


def _sheet(
    identity: str,
    caption: str,
    scan: ModelScan,
    triggers: Sequence[ClassTrigger],
    pictures: Sequence[TriggerPicture],
) -> PictureSheet:
    return PictureSheet(
        identity,
        f"{caption} The smallest come first.{bands_in_words(scan.shape[0])}",
        tuple(
            Picture(
                pictures[trigger.target].drawn(),
                f"trigger of class {trigger.name}, {_pixels(trigger)}",
                f"{trigger.name}: {_pixels(trigger)}",
            )
            for trigger in triggers
        ),
    )


def _pixels(trigger: ClassTrigger) -> str:
    return f"{trigger.size:.1f} px"


def _table(identity: str, caption: str, scan: ModelScan, triggers: Sequence[ClassTrigger]) -> Table:
    return Table(
        identity,
        caption,
        (
            Column("class", numeric=False),
            Column("size", detail="pixels"),
            Column("index", detail="of log size"),
            Column("index", detail="of size"),
            Column("success", detail="test images of other classes"),
            Column("finding", numeric=False),
        ),
        tuple(_row(trigger) for trigger in triggers),
        note=(
            f"The index counts median absolute deviations below the median. {_goes_by(scan)}; its "
            "authors flag an index of the size above 2. Intervals are 95 % Wilson intervals."
        ),
    )


def _goes_by(scan: ModelScan) -> str:
    if scan.ratio_limit is None:
        return f"The finding goes by the logarithm of the size, from {scan.limit:.2f} on"
    return "With so few classes the finding goes by the ratio of the two smallest sizes"


def _row(trigger: ClassTrigger) -> tuple[Cell, ...]:
    finding = Cell("suspect", tone="bad") if trigger.suspect else Cell("–", tone="quiet")
    if not trigger.reached:
        finding = Cell("no trigger found", "few images follow it", "quiet")
    return (
        Cell(trigger.name),
        Cell(f"{trigger.size:.1f}"),
        Cell(f"{trigger.index:.2f}"),
        Cell(f"{trigger.size_index:.2f}"),
        counted(trigger.success),
        finding,
    )


def _repair(scan: ModelScan, repair: Repair, pictures: Sequence[TriggerPicture]) -> Section:
    rows = [_change("clean accuracy", repair.clean, larger_is_better=True)]
    rows += [
        _change(f"success of the trigger found for class {name}", change, larger_is_better=False)
        for name, change in repair.found.items()
    ]
    if repair.truth is not None:
        label = f"success of the true trigger, class {scan.true_target}"
        rows.append(_change(label, repair.truth, larger_is_better=False))
    again = sorted(repair.again, key=lambda trigger: trigger.size)
    return Section(
        "repair",
        "Repair",
        (_done(repair), _left(scan, repair)),
        (
            TableBlock(
                Table(
                    "repair-table",
                    "Before and after the repair, on the same test images",
                    (Column("what", numeric=False), Column("before"), Column("after")),
                    tuple(rows),
                    note="Intervals are 95 % Wilson intervals.",
                )
            ),
            _sheet(
                "again-figure",
                "Triggers of the repaired model, over grey.",
                scan,
                again[:MOST],
                pictures,
            ),
            TableBlock(
                _table("again-table", "Triggers of the repaired model", scan, again), folded=True
            ),
        ),
    )


def _done(repair: Repair) -> str:
    parts = []
    if repair.pruned is not None:
        parts.append(f"{repair.pruned} of {repair.prunable} units of {repair.layer} were removed.")
    learned = "clean images"
    if repair.method != "fine-pruning":
        learned += ", half of them also with the trigger that was found and their own label"
    parts.append(
        f"The model was trained for {repair.steps} steps on {whole(repair.samples)} {learned}."
    )
    return " ".join(parts)


def _left(scan: ModelScan, repair: Repair) -> str:
    left = repair.suspects_left
    if left:
        names = " and ".join(trigger.name for trigger in left)
        return (
            f"A second reconstruction still finds class {names} suspect: the repair did not remove "
            "the backdoor, or hid it. Train the model again on data that was scanned."
        )
    if scan.backdoor:
        return "A second reconstruction, on the repaired model, finds no suspect class."
    return "A second reconstruction finds no suspect class, as the first did not."


def _change(label: str, change: Change, *, larger_is_better: bool) -> tuple[Cell, ...]:
    fell = change.after.fraction < change.before.fraction
    told = counted(change.after)
    tone: Tone = "good" if fell != larger_is_better else ""
    return Cell(label), counted(change.before), Cell(told.text, told.detail, tone)


def _reading(scan: ModelScan) -> Section:
    return Section(
        "reading",
        "How to read this",
        (
            _limit(scan),
            "Success is measured on test images that the search did not see. That the trigger of a "
            "clean class succeeds too is normal: every class has an adversarial pattern, but a "
            "larger one.",
            "Triggers that change the whole image (blended, sinusoidal, warping), that differ from "
            "image to image, or that call several classes can escape this method. Scan the "
            "training data as well, and check inputs at run time.",
        ),
    )


def _limit(scan: ModelScan) -> str:
    if scan.ratio_limit is None:
        return (
            f"An index from {scan.limit:.2f} on is taken for a backdoor. Of clean models "
            f"{percent(scan.false_alarms, 0)} would reach it if logarithms of sizes were normal."
        )
    return (
        f"With {len(scan.triggers)} classes an index of deviations tells nothing. A trigger is "
        f"taken for that of a backdoor if it is smaller than {scan.ratio_limit:.2f} of the next "
        "smallest one, a bound between what small clean networks and such with a patch had. "
        "Otherwise this scan cannot tell."
    )
