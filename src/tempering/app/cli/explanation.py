"""An explanation as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from tempering.core.explanation_records import Detection, Explanation, ModelExplanation


def lines(record: Explanation) -> Iterator[str]:
    """Each model: how far attributions move, where features part, and what detection is worth."""
    for model in record.models:
        yield f"{model.subject}: {model.clean.hits} of {model.clean.n} right without attack"
        yield from _attacks(model)
        yield from (f"  {_detected(row)}" for row in model.detection)
        for flag in model.flags:
            yield f"  flag: {flag.name}: {flag.evidence}"


def _attacks(model: ModelExplanation) -> Iterator[str]:
    for part in model.attacks:
        yield f"  {part.attack}: fools the model on {part.fooled.hits} of {part.fooled.n}"
        for shift in part.shifts:
            yield (
                f"    {shift.method:<21} rank correlation {shift.correlation.value:+.2f}, "
                f"noise {shift.noise_correlation.value:+.2f}"
            )
        if (layer := part.parting) is not None:
            yield f"    features part at {layer}: at least twice as far as under noise"


def _detected(row: Detection) -> str:
    if row.auroc is None or row.auroc_interval is None:
        return f"detector, {row.source}: no image fools the model"
    low, high = row.auroc_interval
    caught = "".join(
        f", {count.hits} of {count.n} caught at {100 * float(rate):g} % false positives"
        for rate, count in row.caught.items()
    )
    return f"detector, {row.source}: AUROC {row.auroc:.2f} [{low:.2f}, {high:.2f}]{caught}"
