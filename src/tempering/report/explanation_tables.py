"""Tables and charts of an explanation."""

from __future__ import annotations

from collections.abc import Sequence

from tempering.core.explanation_records import (
    AttackExplanation,
    Detection,
    Explanation,
    Mean,
    ModelExplanation,
)
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.svg import Chart
from tempering.report.tables import ABSENT, Cell, Column, Table, Tone
from tempering.report.wording import SUBJECTS, bracket, counted, percent
from tempering.report.wording import attack as attack_name

NAMES: dict[str, str] = {str(subject): name for subject, name in SUBJECTS.items()}
ROC_MARKS = {"all attacks": "before", "noise": "fourth", "adaptive": "third"}
CHANCE = 0.5


def shift_table(record: Explanation) -> Table:
    """How far attributions move, by model, attack and method."""
    return Table(
        "shift-table",
        "Rank correlation of attributions with those of the clean image",
        (
            Column("model and attack", numeric=False),
            Column("method", numeric=False),
            Column("attack"),
            Column("noise", detail="of the same size"),
            Column("fooled", detail="by the attack"),
        ),
        tuple(
            (
                Cell(name(model.subject), attack_name(part.attack)),
                Cell(shift.method),
                meant(shift.correlation),
                meant(shift.noise_correlation),
                counted(part.fooled),
            )
            for model in record.models
            for part in model.attacks
            for shift in part.shifts
        ),
        note=(
            "Spearman's rank correlation of absolute attributions, mean over images and its 95 % "
            "interval; 1 means that the order of pixels did not change."
        ),
    )


def figure_table(record: Explanation) -> Table | None:
    """Share of attribution on the figure; None for images without one."""
    if record.figure is None:
        return None
    return Table(
        "figure-table",
        "Share of attribution on the figure",
        (
            Column("model and attack", numeric=False),
            Column("method", numeric=False),
            Column("clean"),
            Column("attack"),
            Column("noise", detail="of the same size"),
        ),
        tuple(
            (
                Cell(name(model.subject), attack_name(part.attack)),
                Cell(shift.method),
                shared(shift.on_figure_clean),
                shared(shift.on_figure),
                shared(shift.on_figure_noise),
            )
            for model in record.models
            for part in model.attacks
            for shift in part.shifts
        ),
        note=f"The figure: {record.figure}.",
    )


def layer_table(model: ModelExplanation, part: AttackExplanation) -> Table:
    """Relative distances of features, layer by layer."""
    rows = tuple(
        (
            Cell(str(number)),
            Cell(row.layer, row.kind),
            meant(row.attack, 3),
            meant(row.noise, 3),
            Cell(f"{row.attack.value / row.noise.value:.1f}") if row.noise.value else ABSENT,
        )
        for number, row in enumerate(part.layers)
    )
    return Table(
        f"layers-{model.subject}",
        f"{name(model.subject)}, {attack_name(part.attack)}: distance from the clean features",
        (
            Column("no.", numeric=False),
            Column("layer", numeric=False),
            Column("attack"),
            Column("noise", detail="of the same size"),
            Column("ratio"),
        ),
        rows,
    )


def layer_chart(model: ModelExplanation, part: AttackExplanation) -> Chart | None:
    """Distances by layer as lines; None for fewer than two layers."""
    if len(part.layers) < 2:
        return None
    lines = [
        Series(
            label,
            tuple(
                Point(float(number), mean.value, mean.interval) for number, mean in enumerate(means)
            ),
            mark,
        )
        for label, mark, means in (
            (attack_name(part.attack), "before", [row.attack for row in part.layers]),
            ("noise of the same size", "fourth", [row.noise for row in part.layers]),
        )
    ]
    most = max(mean.high for row in part.layers for mean in (row.attack, row.noise))
    return line_chart(
        name(model.subject),
        "; ".join(
            f"{row.layer}: {row.attack.value:.3g} under attack, {row.noise.value:.3g} under noise"
            for row in part.layers
        ),
        lines,
        axis(0.0, float(len(part.layers) - 1), "layer, from input to logits", least=1.0),
        axis(0.0, most or 1.0, "relative distance"),
    )


def detection_table(record: Explanation) -> Table:
    """The detector under attackers who do not know it, on noise, and under one who does."""
    rates = sorted(
        {rate for model in record.models for row in model.detection for rate in row.caught},
        key=float,
    )
    return Table(
        "detection-table",
        "Detection by attribution",
        (
            Column("model and images", numeric=False),
            Column("fool the model"),
            Column("AUROC"),
            *(
                Column(f"caught at {100 * float(rate):g} %", detail="false positives")
                for rate in rates
            ),
            *(
                Column(f"undetected at {100 * float(rate):g} %", detail="of all attacked")
                for rate in rates
            ),
        ),
        tuple(
            _detection_row(model, row, rates) for model in record.models for row in model.detection
        ),
        note=(
            "Positives are images that fool the model; of noise all images. Thresholds are set on "
            "the clean test images themselves."
        ),
    )


def _detection_row(
    model: ModelExplanation, row: Detection, rates: Sequence[str]
) -> tuple[Cell, ...]:
    noise = row.source == "noise"
    return (
        Cell(name(model.subject), source(row.source)),
        ABSENT if noise else counted(row.fooled),
        area(row),
        *(counted(row.caught.get(rate)) for rate in rates),
        *(ABSENT if noise else counted(row.undetected.get(rate)) for rate in rates),
    )


def area(row: Detection) -> Cell:
    """Area under the ROC curve with its interval."""
    if row.auroc is None or row.auroc_interval is None:
        return ABSENT
    low, high = row.auroc_interval
    tone: Tone = "bad" if low <= CHANCE else ""
    return Cell(f"{row.auroc:.2f}", f"[{low:.2f}, {high:.2f}]", tone)


def roc_chart(model: ModelExplanation) -> Chart | None:
    """ROC curves of all attacks together, of noise, and of the adaptive attack."""
    rows = {row.source: row for row in model.detection if row.roc}
    if "all attacks" not in rows and model.attacks:
        alone = rows.get(model.attacks[0].attack)
        rows |= {"all attacks": alone} if alone else {}
    lines = [
        Series(source(key), tuple(Point(*point) for point in rows[key].roc), mark)
        for key, mark in ROC_MARKS.items()
        if key in rows
    ]
    if not lines:
        return None
    return line_chart(
        name(model.subject),
        "; ".join(f"{source(key)}: AUROC {rows[key].auroc or 0:.2f}" for key in rows),
        [
            *lines,
            Series("chance", (Point(0.0, 0.0), Point(1.0, 1.0)), "after", dash="2 4"),
        ],
        axis(0.0, 1.0, "false positives, %", lambda share: f"{100 * share:g}"),
        axis(0.0, 1.0, "caught", in_percent),
    )


def source(key: str) -> str:
    """What made some images, in words."""
    return {"adaptive": "attacker who knows the detector", "noise": "noise"}.get(
        key, attack_name(key)
    )


def name(subject: str) -> str:
    """A model in words."""
    return NAMES.get(subject, subject)


def meant(mean: Mean, places: int = 2) -> Cell:
    """A mean with its interval."""
    return Cell(f"{mean.value:.{places}f}", f"[{mean.low:.{places}f}, {mean.high:.{places}f}]")


def shared(mean: Mean | None) -> Cell:
    """A mean share in percent; a dash where there is none."""
    if mean is None:
        return ABSENT
    return Cell(percent(mean.value), bracket((max(0.0, mean.low), min(1.0, mean.high))))
