"""Pipelines from their description: what recipes and manifests give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from tempering.core.errors import UsageError
from tempering.core.protocols import Detector, Transform
from tempering.defenses.description import build_classifier, restore
from tempering.defenses.pipeline import Pipeline


def build_pipeline(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    classifier: Mapping[str, Any] | nn.Module | None = None,
    transforms: Sequence[Mapping[str, Any]] = (),
    detector: Mapping[str, Any] | None = None,
    scale: float = 1.0,
    adversarial_class: bool = True,
) -> Pipeline:
    """Build a pipeline from descriptions of its parts.

    Args:
        shape: Channels, height and width of the images.
        classes: Classes of the data, at least 2.
        classifier: `{"name": ..., "options": {...}}` of a network, or a network of one's own; by
            default a small CNN without an input stage.
        transforms: `{"defense": name, "options": {...}}` each, in order.
        detector: The same for a detector; None for no detector.
        scale: Logits that one unit of the detector's score is worth.
        adversarial_class: Whether the classifier has an adversarial class, if its options do
            not say.

    Returns:
        The pipeline, with fresh weights, on the CPU, in training mode.

    Raises:
        UnknownNameError: If a name is not registered.
        UsageError: If options make no sense.
        ModelError: If parts do not fit together.

    Example:
        >>> squeeze = {"defense": "squeeze", "options": {"low": 0.3, "high": 0.7}}
        >>> build_pipeline(transforms=[squeeze]).outputs
        11
    """
    if isinstance(transforms, str | Mapping):
        raise UsageError(f"transforms {transforms!r}: give a list, such as [{{defense = 'jpeg'}}]")
    stages = [restore(description) for description in transforms]
    seen = shape
    for stage in stages:
        if not isinstance(stage, Transform):
            raise UsageError(f"{type(stage).__name__} among transforms: give a transform")
        seen = stage.shape_after(seen)
    network = (
        classifier
        if isinstance(classifier, nn.Module)
        else build_classifier(classifier, seen, classes, adversarial_class)
    )
    restored = None if detector is None else restore(detector)
    if restored is not None and not isinstance(restored, Detector):
        raise UsageError(f"{type(restored).__name__} as a detector: give a detector")
    return Pipeline(network, stages, restored, classes, scale)  # type: ignore[arg-type]
