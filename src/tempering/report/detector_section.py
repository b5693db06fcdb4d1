"""Sections of the page of a benchmark: what the detector of a system achieves."""

from __future__ import annotations

from tempering.core.detector_records import (
    ADAPTIVE,
    ALL_KNOWN,
    AttackDetection,
    Confusion,
    DetectionAtEps,
    DetectorFigures,
)
from tempering.core.system_records import SystemRow
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.section import Facts, Figure, Section, tabled
from tempering.report.shade import shaded
from tempering.report.svg import Chart
from tempering.report.tables import Cell, Column, Table, named
from tempering.report.wording import attack as attack_name
from tempering.report.wording import bracket, counted, duration, listed, percent, radius, whole

MARKS = ("after", "third", "fourth")
DASHES = ("none", "6 3", "2 3")
NONE = "none"
"""What records call the detector without an attack left out."""


def detector_section(row: SystemRow) -> Section | None:
    """All figures of a system's detector; None if it has none."""
    figures = row.detector
    if figures is None:
        return None
    identity = f"detector-{row.system}"
    tables = (
        _by_attack(identity, figures),
        _left_out(identity, figures),
        None if figures.confusion is None else _confusion(identity, figures.confusion),
        _by_eps(identity, figures),
        _estimators(identity, figures),
    )
    first, *others = tabled(tables)
    curves = Figure(
        f"{identity}-roc",
        "ROC curves: attacked images that are flagged (upward) against clean images that are "
        f"flagged, {whole(figures.n)} of each",
        (_roc(figures),),
    )
    return Section(
        identity,
        f"Detector of {row.title}",
        (
            f"Figures on {whole(figures.n)} clean test images, and on the same images under each "
            "attack. Attacks were made on the undefended network, without knowledge of the "
            "detector; the adaptive attacker knew the whole system. Accuracies are on clean images "
            "and as many attacked ones; a flag is right on an attacked one, wrong on a clean one. "
            "Accuracy on accepted images leaves out all that is flagged, and so flatters.",
        ),
        (_facts(figures), first, curves, *others),
    )


def _facts(figures: DetectorFigures) -> Facts:
    pooled = figures.attacks[0]
    rows = [
        ("AUROC, all known attacks", _area(pooled)),
        ("clean images flagged", counted(figures.clean_rejected)),
    ]
    if figures.accuracy_on_accepted is not None:
        rows.append(("accuracy on accepted images", counted(figures.accuracy_on_accepted)))
    if figures.accuracy_end_to_end is not None:
        rows.append(("end-to-end accuracy", counted(figures.accuracy_end_to_end)))
    return Facts("The detector in numbers", tuple(rows))


def _area(detection: AttackDetection) -> Cell:
    return Cell(f"{detection.auroc:.3f}", _between(detection.auroc_interval))


def _between(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"


def _by_attack(identity: str, figures: DetectorFigures) -> Table:
    rows = tuple(
        (
            Cell(attack_name(one.attack), _standing(one)),
            _area(one),
            counted(one.detected),
            counted(one.tpr_at_1),
            counted(one.tpr_at_5),
        )
        for one in figures.attacks
    )
    return Table(
        f"{identity}-attacks",
        "Attacked images that are flagged",
        (
            Column("images", numeric=False),
            Column("AUROC"),
            Column("flagged", detail="at its threshold"),
            Column("flagged", detail="at 1 % false positives"),
            Column("flagged", detail="at 5 % false positives"),
        ),
        rows,
        note=(
            f"Its threshold flags {percent(figures.clean_rejected.fraction)} of clean test images "
            f"{bracket(figures.clean_rejected.interval)}. Rates of 1 % and 5 % are set on clean "
            "test images; 1 % needs 100 of them. The system's adaptive accuracy also counts "
            "further attacks on samples that these left, so that fewer withstand by abstention "
            "than are flagged here. Intervals of AUROC: Hanley and McNeil, 1982."
        ),
    )


def _standing(one: AttackDetection) -> str:
    if one.attack == ALL_KNOWN:
        return "one in turn for each image"
    if one.attack == ADAPTIVE:
        return "worst image of white-box attacks on every sample"
    return "known" if one.known else "unknown"


def _roc(figures: DetectorFigures) -> Chart:
    own = [one for one in figures.attacks if one.attack not in (ALL_KNOWN, ADAPTIVE)]
    lines = [
        _curve(one, MARKS[at % len(MARKS)], DASHES[at // len(MARKS) % len(DASHES)])
        for at, one in enumerate(own)
    ]
    lines += [_curve(one, "before", "none") for one in figures.attacks if one.attack == ADAPTIVE]
    description = "; ".join(
        f"{one.attack}: area {one.auroc:.3f}" for one in figures.attacks if one.attack != ALL_KNOWN
    )
    return line_chart(
        "ROC",
        f"{description}.",
        lines,
        axis(0.0, 1.0, "clean images flagged, %", lambda share: f"{100 * share:g}"),
        axis(0.0, 1.0, "attacked images flagged", in_percent),
    )


def _curve(one: AttackDetection, mark: str, dash: str) -> Series:
    points = tuple(Point(x, y) for x, y in one.roc)
    return Series(attack_name(one.attack), points, mark, dash, dots=False)


def _left_out(identity: str, figures: DetectorFigures) -> Table | None:
    if not figures.left_out:
        return None
    attacks = list(figures.left_out[0].detected)
    rows = tuple(
        (
            Cell("all attacks" if one.attack == NONE else f"all but {attack_name(one.attack)}"),
            *(
                shaded(one.detected[name], "left out" if name == one.attack else "")
                for name in attacks
            ),
            Cell(percent(one.clean_rejected.fraction)),
        )
        for one in figures.left_out
    )
    return Table(
        f"{identity}-left-out",
        "Detectors that were fitted without one attack: attacked images that are flagged",
        named("fitted to", *map(attack_name, attacks), "clean images flagged"),
        rows,
        note=(
            f"These detectors were fitted to {whole(figures.refit_on or 0)} clean training images "
            f"and as many attacked ones; {whole(figures.n)} test images in each cell."
        ),
    )


def _confusion(identity: str, matrix: Confusion) -> Table:
    rows = tuple(
        (
            Cell(attack_name(kind)),
            *(_answer(count, sum(counts), own=at == number) for at, count in enumerate(counts)),
            Cell(whole(sum(counts))),
        )
        for number, (kind, counts) in enumerate(zip(matrix.kinds, matrix.counts, strict=True))
    )
    return Table(
        f"{identity}-confusion",
        "What it takes images for",
        named("images", *(attack_name(kind) for kind in matrix.kinds), "n"),
        rows,
        note="Rows are what the images are, columns what the detector says of them.",
    )


def _answer(count: int, n: int, *, own: bool) -> Cell:
    share = count / n if n else 0.0
    return Cell(percent(share), str(count), "good" if own and share >= 0.5 else "")


def _by_eps(identity: str, figures: DetectorFigures) -> Table | None:
    if not figures.by_eps:
        return None
    attacks = list(figures.by_eps[0].detected)
    rows = tuple(
        (
            Cell(radius(one.eps)),
            *(
                shaded(count, "blind" if _blind(figures, one, name) else "")
                for name, count in one.detected.items()
            ),
            Cell(percent(figures.clean_rejected.fraction)),
        )
        for one in figures.by_eps
    )
    return Table(
        f"{identity}-eps",
        "Attacks of other radii: attacked images that are flagged",
        named("eps", *map(attack_name, attacks), "clean images flagged"),
        rows,
        note=" ".join(
            [
                "Blind: the 95 % interval of what is flagged overlaps that of clean images, "
                f"{bracket(figures.clean_rejected.interval)}.",
                *(_sight(figures, name) for name in attacks),
                f"{whole(figures.n)} test images in each cell.",
            ]
        ),
    )


def _blind(figures: DetectorFigures, one: DetectionAtEps, attack: str) -> bool:
    return one.detected[attack].interval[0] <= figures.clean_rejected.interval[1]


def _sight(figures: DetectorFigures, attack: str) -> str:
    """Up to which radius it does not see an attack."""
    unseen = [one.eps for one in figures.by_eps if _blind(figures, one, attack)]
    if not unseen:
        return f"{attack}: seen at every eps."
    if len(unseen) == len(figures.by_eps):
        return f"{attack}: blind at every eps."
    return f"{attack}: blind up to eps {radius(max(unseen))}."


def _estimators(identity: str, figures: DetectorFigures) -> Table | None:
    rows = tuple(
        (
            Cell(one.name.replace("_", " ")),
            _area(one.detection),
            counted(one.detection.detected),
            counted(one.detection.tpr_at_1),
            counted(one.detection.tpr_at_5),
            counted(one.clean_rejected),
            Cell(duration(one.seconds)),
        )
        for one in figures.estimators
    )
    return Table(
        f"{identity}-estimators",
        f"Estimators in its place: {listed([row[0].text for row in rows])}",
        named(
            "estimator",
            "AUROC",
            "flagged",
            "at 1 % false positives",
            "at 5 % false positives",
            "clean images flagged",
            "fit",
        ),
        rows,
        note=(
            f"Each was fitted to {whole(figures.refit_on or 0)} clean training images and as many "
            "attacked ones, and measured on all known attacks in turn."
        ),
    )
