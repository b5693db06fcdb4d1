"""Whether the files of a run agree with each other: they do not where one was altered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tempering.core.class_records import PerClass
from tempering.core.comparisons import Comparison
from tempering.core.errors import DamagedArraysError, RunError
from tempering.core.proofs import Proof
from tempering.core.records import (
    AnyRecord,
    Assessment,
    Count,
    Measurement,
    MinimumNorm,
    Summary,
)
from tempering.report import selection
from tempering.report.reading import VERDICTS, Run
from tempering.report.verdict_columns import read_verdict_columns, verdict_disagreements

RECORDS, SUMMARY = "records.jsonl", "summary.json"
TOLERANCE = 1e-6
"""Difference of fractions that rounding explains."""


def disagreements(run: Run) -> list[str]:
    """What the files of a run say against each other, each with its file and key.

    Args:
        run: The content of a run folder.

    Returns:
        Nothing if the files are as they were written.

    Raises:
        RunError: If the file of verdicts is damaged, or holds impossible values.
    """
    found: list[str] = []
    for number, record in enumerate(run.records, 1):
        found += [f"{RECORDS} line {number}: {told}" for told in _within(record)]
    summary = run.summary
    found += [f"{SUMMARY}: {told}" for told in _within_summary(summary)]
    found += _with_measurements(run.records, summary)
    if isinstance(summary, Assessment):
        found += [f"{SUMMARY}: {told}" for told in _within_assessment(summary)]
        found += _with_classes(run.records, summary)
        found += _with_verdicts(run, summary)
    return found


def _within(record: AnyRecord) -> Iterator[str]:
    """What one record says against itself."""
    if isinstance(record, Measurement | MinimumNorm):
        counts = {name: value for name, value in record if isinstance(value, Count)}
        for name, count in counts.items():
            if count.n != record.n:
                yield f"{name}.n is {count.n} and n {record.n}"
    if isinstance(record, Measurement):
        if not 0 <= record.drop <= 1:
            yield f"drop is {record.drop:g}, and 0 to 1 is possible"
        if record.eps < 0:
            yield f"eps is {record.eps:g}, and at least 0 is possible"
    if isinstance(record, Proof):
        methods = sum(record.by_method.values())
        if record.by_method and methods != record.certified.hits:
            yield f"by_method counts {methods} samples and certified {record.certified.hits}"
    if isinstance(record, PerClass):
        yield from _within_classes(record)
    if isinstance(record, Comparison):
        n, least = record.paired.n, min(record.first.n, record.second.n)
        if n != least:
            yield f"both, first_only, second_only and neither count {n} of {least}"


def _within_classes(record: PerClass) -> Iterator[str]:
    for number, (one, row) in enumerate(zip(record.classes, record.matrix(), strict=True)):
        where, robust = f"classes.{number}", one.robust
        if one.clean.n != robust.n:
            yield f"{where}.clean.n is {one.clean.n} and {where}.robust.n {robust.n}"
        if (sum(row), row[number]) != (robust.n, robust.hits):
            yield (
                f"confusions of class {number} count {row[number]} right of {sum(row)} and "
                f"{where}.robust {robust.hits} of {robust.n}"
            )
        if _differ(one.interval, robust.interval):
            yield f"{where}.interval is not that of {robust.hits} of {robust.n}"


def _within_summary(summary: Summary) -> Iterator[str]:
    bounds = summary.robust_accuracy
    fractions = {
        "clean_accuracy": summary.clean_accuracy,
        "robust_accuracy.lower": bounds.lower,
        "robust_accuracy.upper": bounds.upper,
        "robust_with_detection": summary.robust_with_detection,
        "forced_flags": summary.forced_flags,
    }
    for name, value in fractions.items():
        if value is not None and not 0 <= value <= 1:
            yield f"{name} is {value:g}, and 0 to 1 is possible"
    if bounds.lower > bounds.upper + TOLERANCE:
        yield f"robust_accuracy.lower is {bounds.lower:g} and its upper {bounds.upper:g}"


def _within_assessment(summary: Assessment) -> Iterator[str]:
    n = summary.n
    robust = Count(hits=summary.robust_correct, n=n)
    fractions = {
        "clean_accuracy": (summary.clean_accuracy, "clean_correct", summary.clean_correct),
        "robust_accuracy.upper": (summary.robust_accuracy.upper, "robust_correct", robust.hits),
        "robust_accuracy.lower": (
            summary.robust_accuracy.lower,
            "certified_correct",
            summary.certified_correct,
        ),
    }
    for name, (value, key, hits) in fractions.items():
        if _differ((value,), (hits / n if n else 0.0,)):
            yield f"{name} is {value:g} and {key} {hits} of n {n}"
    for name, interval in (
        ("interval", summary.interval),
        ("robust_accuracy.interval", summary.robust_accuracy.interval),
    ):
        if _differ(interval, robust.interval):
            yield f"{name} is not that of robust_correct {robust.hits} of n {n}"
    for name, stage in summary.by_attack.items():
        if stage.survivors > n:
            yield f"by_attack.{name}.survivors is {stage.survivors} and n {n}"
    if summary.shifts is not None:
        for name, counts in summary.shifts.by_corruption.items():
            if max(counts.correct, default=0) > summary.shifts.n:
                yield f"shifts.by_corruption.{name}.correct exceeds shifts.n {summary.shifts.n}"


def _with_measurements(records: Sequence[AnyRecord], summary: Summary) -> Iterator[str]:
    """What the measurements of the records and the summary say against each other."""
    subject = selection.main_subject(records)
    white = selection.measured(records, "standard", subject)
    whole = selection.measured(records, "standard", subject, "any")
    bounds = summary.robust_accuracy
    worst = whole.get(selection.LAST) or white.get(selection.LAST)
    compared = {
        "clean_accuracy": (white.get(selection.FIRST), summary.clean_accuracy),
        "robust_accuracy.upper": (worst, bounds.upper),
    }
    for name, (measured, value) in compared.items():
        if measured is None:
            continue
        if measured.robust.n != summary.n:
            yield f"{SUMMARY}: n is {summary.n}, and {RECORDS} has {name} on {measured.robust.n}"
        elif _differ((value,), (measured.robust.fraction,)):
            yield (
                f"{SUMMARY}: {name} is {value:g}, and {RECORDS} has {measured.robust.hits} of "
                f"{measured.robust.n}"
            )
    if worst is not None and worst.threat != summary.threat:
        yield f"{SUMMARY}: threat is {summary.threat}, and {RECORDS} has {worst.threat}"


def _with_classes(records: Sequence[AnyRecord], summary: Assessment) -> Iterator[str]:
    recorded = selection.of_kind(records, PerClass)
    for where, one in ((SUMMARY, summary.per_class), (RECORDS, recorded[-1] if recorded else None)):
        if one is None:
            continue
        counts = tuple(
            sum(values)
            for values in (
                (row.robust.n for row in one.classes),
                (row.clean.hits for row in one.classes),
                (row.robust.hits for row in one.classes),
            )
        )
        expected = (summary.n, summary.clean_correct, summary.robust_correct)
        if counts != expected:
            yield (
                f"{where}: its classes count {counts} images, clean and robust ones, and {SUMMARY} "
                f"{expected}"
            )


def _with_verdicts(run: Run, summary: Assessment) -> Iterator[str]:
    """What the verdicts of samples and the summary say against each other."""
    path = run.folder / VERDICTS
    if not path.is_file():
        return
    try:
        columns = read_verdict_columns(path, summary)
    except DamagedArraysError as error:
        raise RunError(f"{path} cannot be read: {error}: evaluate again to rewrite it") from error
    for told in verdict_disagreements(columns, summary):
        yield f"{VERDICTS}: {told}"


def _differ(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return not all(math.isclose(a, b, abs_tol=TOLERANCE) for a, b in pairs)
