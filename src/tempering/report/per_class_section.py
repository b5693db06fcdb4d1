"""Section of a report: robust accuracy of each class, and what its images are taken for."""

from __future__ import annotations

from tempering.core.class_records import ClassesAtEps, ClassOutcome, PerClass
from tempering.core.records import Count
from tempering.report import selection
from tempering.report.bar_chart import Bar, BarGroup, bar_chart
from tempering.report.reading import Run
from tempering.report.section import Block, Section, drawn, tabled
from tempering.report.svg import Chart
from tempering.report.tables import Cell, Column, Table, Tone
from tempering.report.wording import bracket, counted, listed, percent, radius, whole

FEW = 12
"""Up to so many classes are all shown, with the whole confusion matrix."""
SHOWN = 10
"""Classes, and confusions, that are shown of more."""
TAKEN_FOR = 2
"""Classes that are named beside each one."""


def per_class_section(run: Run) -> Section | None:
    """Accuracy by class and confusions under attack; None if they were not recorded."""
    found = _main_record(run)
    if found is None or not found.worst(1):
        return None
    many = len(found.classes) > FEW
    blocks: list[Block] = [
        *([] if many else drawn("classes-bounds", _CAPTION, [_bounds(found)])),
        *tabled([_classes(found), _frequent(found) if many else _matrix(found)]),
        *tabled([_by_eps(found, many)], folded=True),
    ]
    return Section("classes", "Accuracy by class", (_prose(found, many),), tuple(blocks))


_CAPTION = (
    "Bounds of robust accuracy of each class: at least what is certified, at most what no attack "
    "broke. Lines are 95 % intervals."
)


def _bounds(found: PerClass) -> Chart | None:
    """Both bounds of each class as bars; None if nothing is certified."""
    if not any(one.certified and one.certified.hits for one in found.classes):
        return None
    groups = [
        BarGroup(one.name, tuple(_bars(one)))
        for one in found.classes
        if one.robust.n and one.certified is not None
    ]
    words = "; ".join(f"{one.label}: {', '.join(_said(bar) for bar in one.bars)}" for one in groups)
    return bar_chart("Robust accuracy bounds by class", f"{words}.", groups)


def _bars(one: ClassOutcome) -> list[Bar]:
    least, most = one.certified or Count(hits=0, n=one.robust.n), one.robust
    return [
        Bar("certified", least.fraction, least.interval),
        Bar("not broken by any attack", most.fraction, most.interval, "third", faded=True),
    ]


def _said(bar: Bar) -> str:
    return f"{bar.label} {percent(bar.value or 0.0)}"


def _by_eps(found: PerClass, many: bool) -> Table | None:
    """Both bounds of each class along the curve."""
    if not any(any(at.certified) for at in found.by_eps):
        return None
    numbers = found.worst(SHOWN) if many else list(range(len(found.classes)))
    points = [at for at in found.by_eps if at.eps > 0]
    rows = tuple(
        (
            Cell(found.classes[number].name),
            Cell(whole(points[0].n[number])),
            *(Cell(_range(at, number)) for at in points),
        )
        for number in numbers
        if points[0].n[number]
    )
    return Table(
        "classes-by-eps",
        "Bounds of robust accuracy by class and eps, in percent: certified to not broken",
        (
            Column("Class", numeric=False),
            Column("Images"),
            *(Column(radius(at.eps)) for at in points),
        ),
        rows,
    )


def _range(at: ClassesAtEps, number: int) -> str:
    """Such as `80-90`; one number where both bounds are equal."""
    n = at.n[number]
    low, high = (at.certified or [0] * len(at.n))[number], at.robust[number]
    ends = [f"{100 * hits / n:.0f}" for hits in dict.fromkeys((low, high))]
    return "\N{EN DASH}".join(ends)


def _main_record(run: Run) -> PerClass | None:
    records = selection.of_kind(run.records, PerClass)
    subject = selection.main_subject(run.records)
    return next((record for record in reversed(records) if record.subject == subject), None)


def _prose(found: PerClass, many: bool) -> str:
    worst = found.telling_worst()
    few = min(one.robust.n for one in found.classes)
    most = max(one.robust.n for one in found.classes)
    images = whole(most) if few == most else f"{whole(few)} to {whole(most)}"
    told = (
        ""
        if worst is None
        else f"The worst class, {worst.name}, has a robust accuracy of {worst.robust}. "
    )
    told += (
        f"Each class has {images} image{'s' * (most != 1)}, so intervals of single classes are "
        "wide. A broken image counts by the class that is predicted for its adversarial image, "
        "any other image by that of the clean one."
    )
    if many:
        told += f" All {whole(len(found.classes))} classes and all confusions are in records.jsonl."
    return told


def _classes(found: PerClass) -> Table:
    many = len(found.classes) > FEW
    proven = any(one.certified and one.certified.hits for one in found.classes)
    numbers = found.worst(SHOWN) if many else list(range(len(found.classes)))
    rows = tuple(
        (
            Cell(found.classes[number].name),
            Cell(whole(found.classes[number].robust.n)),
            Cell(percent(found.classes[number].clean.fraction)),
            *([counted(found.classes[number].certified)] if proven else []),
            counted(found.classes[number].robust),
            Cell(_taken_for(found, number)),
        )
        for number in numbers
    )
    return Table(
        "classes-table",
        f"The {len(rows)} classes of least robust accuracy" if many else "Accuracy of each class",
        (
            Column("Class", numeric=False),
            Column("Images"),
            Column("Clean"),
            *([Column("Certified")] if proven else []),
            Column("Robust"),
            Column("Most often taken for", numeric=False, detail="under attack"),
        ),
        rows,
        "Brackets are 95 % Wilson intervals, in percent."
        + (" Classes are in order of the upper end of their interval." if many else ""),
    )


def _taken_for(found: PerClass, number: int) -> str:
    mistakes = [entry for entry in found.mistakes() if entry.true == number][:TAKEN_FOR]
    names = [f"{found.outputs[entry.predicted]} ({whole(entry.n)})" for entry in mistakes]
    return listed(names) if names else "no other class"


def _matrix(found: PerClass) -> Table:
    rows = tuple(
        (Cell(one.name), *(_entry(n, row == column) for column, n in enumerate(counts)))
        for row, (one, counts) in enumerate(zip(found.classes, found.matrix(), strict=True))
    )
    return Table(
        "confusions",
        "Confusion matrix under attack: images by true class (rows) and predicted class (columns)",
        (Column("True class", numeric=False), *(Column(name) for name in found.outputs)),
        rows,
        "The diagonal holds the robust images.",
    )


def _entry(n: int, right: bool) -> Cell:
    tone: Tone = "good" if right and n else "" if n else "quiet"
    return Cell(whole(n), tone=tone)


def _frequent(found: PerClass) -> Table:
    rows = tuple(
        (
            Cell(found.classes[entry.true].name),
            Cell(found.outputs[entry.predicted]),
            Cell(whole(entry.n), _of_class(found, entry.true, entry.n)),
        )
        for entry in found.mistakes()[:SHOWN]
    )
    return Table(
        "confusions",
        "The most frequent confusions under attack",
        (Column("True class", numeric=False), Column("Taken for", numeric=False), Column("Images")),
        rows,
    )


def _of_class(found: PerClass, true: int, n: int) -> str:
    count = found.classes[true].robust.model_copy(update={"hits": n})
    share = bracket(count.interval) if n <= count.n else ""
    return f"of {whole(count.n)} {share}".strip()
