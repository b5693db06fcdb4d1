"""Section of a report: how honest the model's probabilities are."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.calibration_records import Calibration
from tempering.core.records import AnyRecord
from tempering.report import selection
from tempering.report.section import Section, tabled
from tempering.report.tables import Cell, Column, Table
from tempering.report.wording import bracket, counted, percent, whole


def calibration_section(records: Sequence[AnyRecord]) -> Section | None:
    """Calibration and conformal sets of each model; None if they were not recorded."""
    found = selection.of_kind(records, Calibration)
    if not found:
        return None
    one = found[-1]
    prose = (
        f"Temperature and conformal sets are calibrated on {whole(one.calibrated_on)} clean "
        f"validation images and measured on {whole(one.accuracy.n)} clean test images. A conformal "
        f"set should hold the true class for at least {percent(1 - one.alpha, 0)} of the images; "
        "a model that abstains where its set does not hold exactly one class has the accuracy in "
        "the last column. None of this holds for adversarial images."
    )
    return Section("calibration", "Uncertainty", (prose,), tabled([_table(found)]))


def _table(found: Sequence[Calibration]) -> Table:
    columns = (
        Column("model", numeric=False),
        Column("accuracy"),
        Column("temperature"),
        Column("calibration error"),
        Column("after scaling"),
        Column("coverage"),
        Column("classes a set"),
        Column("accepted"),
        Column("accuracy of accepted"),
    )
    rows = tuple(
        (
            Cell(one.subject),
            counted(one.accuracy),
            Cell(f"{one.temperature:.2f}"),
            Cell(percent(one.calibration_error, 1)),
            Cell(percent(one.calibration_error_scaled, 1)),
            Cell(percent(one.coverage.fraction, 1), bracket(one.coverage_interval)),
            Cell(f"{one.mean_set_size:.2f}", f"{whole(one.empty)} empty" if one.empty else ""),
            counted(one.accepted),
            counted(one.accuracy_accepted if one.accepted.hits else None),
        )
        for one in found
    )
    return Table("calibration-table", "Probabilities on clean test images", columns, rows)
