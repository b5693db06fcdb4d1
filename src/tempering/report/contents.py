"""The sections of a run's report, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tempering.report import selection
from tempering.report.accuracy_section import (
    gradient_section,
    standard_section,
)
from tempering.report.bounds_section import bounds_section
from tempering.report.calibration_section import calibration_section
from tempering.report.cascade_section import cascade_section
from tempering.report.comparison_section import comparison_sections
from tempering.report.corruptions_section import corruptions_section
from tempering.report.cw_section import cw_section
from tempering.report.detection_section import detection_section
from tempering.report.explanation_section import explanation_section
from tempering.report.gallery_section import data_section, gallery_section
from tempering.report.per_class_section import per_class_section
from tempering.report.provenance_section import provenance_section
from tempering.report.reading import Run
from tempering.report.scan_section import scan_section
from tempering.report.section import Report, Section
from tempering.report.stability_section import stability_section
from tempering.report.summary_section import flags_section, summary_section, threat_eps
from tempering.report.training_section import training_section

SectionBuilder = Callable[[Run], Section | None]
"""Builds a section of a report; None if a run has no records for it."""


def report_of(run: Run, extra: Sequence[SectionBuilder] = ()) -> Report:
    """The report of a run; sections without records are left out.

    Args:
        run: Its records.
        extra: Sections of other rooms, such as a comparison with published results.
    """
    records, eps = run.records, threat_eps(run)
    sections = (
        summary_section(run),
        flags_section(run),
        bounds_section(run, eps),
        cascade_section(run),
        *comparison_sections(records),
        standard_section(run, eps),
        per_class_section(run),
        detection_section(records),
        calibration_section(records),
        gradient_section(run),
        cw_section(records),
        *(build(run) for build in extra),
        stability_section(run),
        gallery_section(run),
        explanation_section(run),
        corruptions_section(records),
        data_section(run),
        scan_section(run),
        training_section(records),
        provenance_section(records),
    )
    provenance = selection.provenance(records)
    when = f", {provenance.created}" if provenance else ""
    return Report(
        f"Robustness of {run.summary.model} on {run.summary.data}",
        f"Run {run.name}{when}",
        tuple(section for section in sections if section is not None),
    )
