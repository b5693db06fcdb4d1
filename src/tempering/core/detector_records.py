"""Figures of a detector of adversarial images on test images."""

from __future__ import annotations

from pydantic import Field, model_validator

from tempering.core.record import Count, Record

ALL_KNOWN, ADAPTIVE = "all known attacks", "adaptive attacker"
"""Names of the rows that belong to no single attack."""


class AttackDetection(Record):
    """How well a detector tells the images of an attack from clean ones.

    Attributes:
        attack: Label of the attack; `all known attacks` attack each image in turn.
        known: Whether the detector was fitted to it.
        auroc: Chance that an attacked image has a larger score than a clean one.
        auroc_interval: Its 95 % interval (Hanley and McNeil, 1982).
        detected: Attacked images that are flagged.
        tpr_at_1: Attacked images above the score that 1 % of clean test images exceed; None of
            fewer than 100 clean images.
        tpr_at_5: The same at 5 %; None of fewer than 20.
        roc: Points of the ROC curve from (0, 0) to (1, 1): false and true positive rate.
    """

    attack: str
    known: bool
    auroc: float = Field(ge=0, le=1)
    auroc_interval: tuple[float, float]
    detected: Count
    tpr_at_1: Count | None = None
    tpr_at_5: Count | None = None
    roc: list[tuple[float, float]] = Field(default_factory=list)


class LeftOut(Record):
    """A detector that was fitted without an attack.

    Attributes:
        attack: Label of the attack that was left out; `none` for all attacks.
        clean_rejected: Clean test images that it flags.
        detected: Attack -> images that it flags.
    """

    attack: str
    clean_rejected: Count
    detected: dict[str, Count]


class Confusion(Record):
    """What a discriminator takes images for.

    Attributes:
        kinds: `clean`, and labels of the attacks.
        counts: A row for each kind of image, a column for each answer.

    Raises:
        ValueError: If it is not square.
    """

    kinds: list[str]
    counts: list[list[int]]

    @model_validator(mode="after")
    def _check(self) -> Confusion:
        sizes = [len(self.counts), *map(len, self.counts)]
        if any(size != len(self.kinds) for size in sizes):
            raise ValueError(f"rows of {sizes[1:]} counts: give {len(self.kinds)} of as many")
        return self


class DetectionAtEps(Record):
    """What a detector flags of attacks of another size.

    Attributes:
        eps: Radius of the attacks.
        detected: Attack -> images that are flagged.
    """

    eps: float = Field(ge=0)
    detected: dict[str, Count]


class Estimator(Record):
    """Another estimator in the place of the detector's own, fitted to fewer images.

    Attributes:
        name: Its name.
        clean_rejected: Clean test images that it flags.
        detection: On all known attacks.
        seconds: Time of its fit.
    """

    name: str
    clean_rejected: Count
    detection: AttackDetection
    seconds: float = Field(ge=0)


class DetectorFigures(Record):
    """All figures of a detector.

    Accuracies are on clean test images and as many attacked ones, by all known attacks in turn;
    None if the system does not reject what the detector flags.

    Attributes:
        name: Of the detector.
        n: Clean test images.
        threshold: Score above which an image is flagged.
        clean_rejected: Clean images that are flagged.
        accuracy_on_accepted: Right among images that are not flagged; it flatters.
        accuracy_end_to_end: Right or, if attacked, flagged: a flagged clean image counts as wrong.
        attacks: All known attacks, each of them, unknown ones, and the adaptive attacker.
        left_out: The detector without each attack in turn, `none` first.
        refit_on: Clean training images of these detectors and of other estimators.
        confusion: Kinds of images and answers, if it tells attacks apart.
        by_eps: What it flags at other radii, smallest first.
        estimators: Its own estimator and others.
        seconds: Time of all this.
    """

    name: str
    n: int = Field(ge=1)
    threshold: float
    clean_rejected: Count
    accuracy_on_accepted: Count | None = None
    accuracy_end_to_end: Count | None = None
    attacks: list[AttackDetection]
    left_out: list[LeftOut] = Field(default_factory=list)
    refit_on: int | None = None
    confusion: Confusion | None = None
    by_eps: list[DetectionAtEps] = Field(default_factory=list)
    estimators: list[Estimator] = Field(default_factory=list)
    seconds: float = Field(ge=0)
