"""The page of an explanation: images, shifts of attribution, features, and the detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tempering.core.explanation_records import AttackExplanation, Explanation
from tempering.core.files import write_text
from tempering.report.explanation_gallery import ExplainedSample, explained_examples
from tempering.report.explanation_tables import (
    area,
    detection_table,
    figure_table,
    layer_chart,
    layer_table,
    meant,
    name,
    roc_chart,
    shift_table,
)
from tempering.report.run_page import html
from tempering.report.section import (
    Examples,
    Facts,
    Flags,
    Report,
    Section,
    TableBlock,
    drawn,
    tabled,
)
from tempering.report.tables import Cell
from tempering.report.wording import attack as attack_name
from tempering.report.wording import counted, whole
from tempering.report.wording import threat as threat_name

WARNING = (
    "An attacker who knows the detector includes its score in the loss. The row of that attacker "
    "is the one that counts; the others say only what an attacker loses who does not look."
)


def write_page(record: Explanation, samples: Sequence[ExplainedSample], path: Path) -> Path:
    """Write the page; it opens offline.

    Args:
        record: What was measured.
        samples: Images to show.
        path: The file.

    Raises:
        RunError: If it cannot be written.
    """
    write_text(path, html(report_of(record, samples)))
    return path


def report_of(record: Explanation, samples: Sequence[ExplainedSample]) -> Report:
    """The page as sections."""
    sections = (
        _summary(record),
        _gallery(record, samples),
        _shifts(record),
        _layers(record),
        _detection(record),
        _flags(record),
    )
    unfinished = "" if record.complete else "; interrupted, what was finished"
    return Report(
        title="Explanations under attack",
        subtitle=(
            f"{record.data}, {threat_name(record.threat)}, {whole(record.n)} test images, "
            f"seed {record.seed}{unfinished}"
        ),
        sections=tuple(section for section in sections if section is not None),
        source="explain.json",
        basis="the measurements",
    )


def _summary(record: Explanation) -> Section | None:
    """Each model in a few figures, under the attack that fools it most often."""
    blocks = []
    for model in record.models:
        part = model.strongest
        if part is None:
            continue
        shift = part.shifts[0]
        areas = {row.source: row for row in model.detection}
        rows = [
            (f"fooled by {attack_name(part.attack)}", counted(part.fooled)),
            (f"correlation of {shift.method}", meant(shift.correlation)),
            ("the same under noise", meant(shift.noise_correlation)),
        ]
        for key, told in (
            (part.attack, f"AUROC, {attack_name(part.attack)}"),
            ("adaptive", "AUROC, adaptive attacker"),
        ):
            if key in areas:
                rows.append((told, area(areas[key])))
        title = name(model.subject).capitalize()
        blocks.append(Facts(title, (("model", Cell(title)), *rows)))
    if not blocks:
        return None
    prose = (
        "Attributions say which pixels a prediction rests on. This page measures how far attacks "
        "move them, whether noise of the same size moves them as far, and whether the shift gives "
        "attacks away."
    )
    return Section("summary", "Summary", (prose,), tuple(blocks))


def _gallery(record: Explanation, samples: Sequence[ExplainedSample]) -> Section | None:
    blocks: list[Examples] = []
    for model in record.models:
        part = model.strongest
        if part is None:
            continue
        own = [
            sample
            for sample in samples
            if (sample.subject, sample.attack) == (model.subject, part.attack)
        ]
        caption = (
            f"{name(model.subject).capitalize()}. Rows: clean image, attacked image, image with "
            "noise of the same size. Columns: image, integrated gradients (IG), SmoothGrad, "
            "occlusion. Red pixels speak for the class that the model predicts for the clean "
            "image, blue ones against it; SmoothGrad has no sign. Each map has its own scale."
        )
        blocks += explained_examples(f"gallery-{model.subject}", caption, own)
    if not blocks:
        return None
    return Section("gallery", "Where the model looks", (), tuple(blocks))


def _shifts(record: Explanation) -> Section:
    return Section(
        "shift",
        "How far attributions move",
        (
            "Attributions of clean and attacked images explain the same logit, that of the class "
            "predicted for the clean image. A shift that noise of the same size causes as well is "
            "no trace of an attack.",
        ),
        tabled([shift_table(record), figure_table(record)]),
    )


def _layers(record: Explanation) -> Section | None:
    shown = [(model, part) for model in record.models if (part := model.strongest) is not None]
    charts = [layer_chart(model, part) for model, part in shown]
    tables = [layer_table(model, part) for model, part in shown]
    prose = tuple(f"{name(model.subject).capitalize()}: {_parting(part)}." for model, part in shown)
    if not any(part.layers for _, part in shown):
        return None
    return Section(
        "layers",
        "Where in the network they part",
        prose,
        (
            *drawn(
                "layers-figure",
                "Relative L2 distance of features from those of the clean image, mean and its "
                "95 % interval; the tables name the layers.",
                charts,
            ),
            *(TableBlock(table, folded=True) for table in tables),
        ),
    )


def _parting(part: AttackExplanation) -> str:
    if part.parting is None:
        return f"{part.attack} moves no layer twice as far as noise of the same size does"
    return f"from layer {part.parting} on, {part.attack} moves features at least twice as far " + (
        "as noise of the same size does"
    )


def _detection(record: Explanation) -> Section | None:
    if not any(model.detection for model in record.models):
        return None
    gradients = {model.evasion_gradient for model in record.models} - {""}
    how = (
        " It found no second derivatives to follow, so it is weaker than it could be."
        if gradients == {"none"}
        else " It follows second derivatives, with softplus in place of rectifiers, and stops at "
        "the median score of clean images."
        if gradients
        else ""
    )
    charts = [roc_chart(model) for model in record.models]
    return Section(
        "detection",
        "Does the shift detect attacks?",
        (f"Score of an image: {record.score}.", WARNING + how),
        (
            *drawn(
                "roc-figure",
                "ROC curves of the score. A curve below chance means that attacked images look "
                "less suspect than clean ones.",
                charts,
            ),
            *tabled([detection_table(record)]),
        ),
    )


def _flags(record: Explanation) -> Section | None:
    flags = tuple(
        flag.model_copy(update={"name": f"{flag.name} ({name(model.subject)})"})
        for model in record.models
        for flag in model.flags
    )
    if not flags:
        return None
    return Section("flags", "Flags", (), (Flags(flags),))
