"""Fits a detector by name: samples, fit, threshold."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tempering.core.errors import UsageError
from tempering.core.protocols import DEFENSES, Detector
from tempering.core.threats import Threat, parse_threat
from tempering.core.user_code import device_of
from tempering.data.splits import Splits
from tempering.defenses.calibration import calibrate, require_rate
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples, Proposer, detector_samples


def fit_detector(
    name: str,
    model: nn.Module,
    data: Splits,
    threat: Threat | str,
    attacks: Sequence[Proposer] = (),
    fpr: float = 0.05,
    seed: int = 0,
    **options: Any,
) -> Detector:
    """Fit a detector on training data, and set its threshold on clean validation data.

    Progress is reported to `core.progress`.

    Args:
        name: A detector in `DEFENSES`, such as `mahalanobis`.
        model: The classifier that is attacked; its features are used unless `network` is given.
        data: Training data to fit, validation data for the threshold. A detector that must learn
            from held-out samples takes half of the validation data, and the threshold the rest.
        threat: What the attacks may change, as a value or as text such as `linf:0.3`.
        attacks: Attacks that make adversarial training samples; not run if the detector learns
            from clean samples alone.
        fpr: Share of clean validation images that may be flagged.
        seed: Of attacks and fit.
        **options: Of the detector's constructor.

    Returns:
        The detector, fitted, where the model lies.

    Raises:
        UnknownNameError: If there is no such defense.
        UsageError: If it is no detector, options do not fit, attacks are needed, or the rate is
            not within (0, 1) or finer than validation data can show.
        DataError: If there are too few samples.
        ModelError: If features are not finite.

    Example:
        `fit_detector("protection_layer", net, data, "linf:0.3", [FGSM(), PGD(steps=10)])`
    """
    require_rate(fpr, len(data.validation))
    detector = new_detector(name, model, **options)
    detector.to(device_of(model))
    held = data.validation
    if isinstance(detector, FittedDetector):
        if detector.needs_attacks:
            threat = parse_threat(threat) if isinstance(threat, str) else threat
            samples = detector_samples(model, data.train, threat, attacks, seed)
        elif detector.held_out:
            samples = DetectorSamples(held.x[::2], held.y[::2])
            held = held.subset(torch.arange(1, len(held), 2))
        else:
            samples = DetectorSamples(data.train.x, data.train.y)
        detector.fit(samples, seed)
    calibrate(detector, held.x, fpr)
    return detector


def new_detector(name: str, model: nn.Module, **options: Any) -> Detector:
    """A detector by name, not fitted.

    Args:
        name: A detector in `DEFENSES`, such as `mahalanobis`.
        model: The classifier whose features are used unless `network` is given.
        **options: Of the detector's constructor.

    Raises:
        UnknownNameError: If there is no such defense.
        UsageError: If it is no detector, or options do not fit.
        ModelError: If the value of an option makes no sense.
    """
    kind = DEFENSES[name]
    if not issubclass(kind, Detector):
        raise UsageError(f"{name} is a {kind.kind}: give the name of a detector")
    if "network" in inspect.signature(kind).parameters:
        options = {"network": model, **options}
    try:
        return kind(**options)
    except TypeError as error:
        raise UsageError(f"options {sorted(options)} do not fit {name}: {error}") from error
