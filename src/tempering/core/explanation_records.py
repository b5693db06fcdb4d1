"""Records of an explanation: how attributions and features move under attack."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tempering.core.record import Count, Record
from tempering.core.records import Flag

PARTED = 2.0
"""Clean and attacked images part where an attack moves features so much further than noise."""


class Mean(Record):
    """A mean over samples with its 95 % interval (Student's t).

    Attributes:
        value: The mean.
        low: Lower bound; equal to the mean of a single sample.
        high: Upper bound.
        n: Samples.
    """

    value: float
    low: float
    high: float
    n: int = Field(ge=1)

    @property
    def interval(self) -> tuple[float, float]:
        """Both bounds."""
        return self.low, self.high


class AttributionShift(Record):
    """How far the attribution of one method moves.

    Attributes:
        method: Of attribution.
        correlation: Spearman's rank correlation of the attribution of a clean image with that of
            the attacked image.
        noise_correlation: The same with random noise of the same size.
        on_figure_clean: Share of the attribution on the figure, clean images; None if images
            show no bright figure on a dark ground.
        on_figure: The same, attacked images.
        on_figure_noise: The same, noisy images.
    """

    method: str
    correlation: Mean
    noise_correlation: Mean
    on_figure_clean: Mean | None = None
    on_figure: Mean | None = None
    on_figure_noise: Mean | None = None


class LayerDistance(Record):
    """Relative L2 distance of the features of a layer from those of the clean image.

    Attributes:
        layer: Its name in the network; a layer that runs again has its turn after a `#`.
        kind: Class of the layer.
        attack: Mean over the attacked images.
        noise: Mean over images with random noise of the same size.
    """

    layer: str
    kind: str
    attack: Mean
    noise: Mean


class AttackExplanation(Record):
    """What one attack does to attributions and features.

    Attributes:
        attack: Its label.
        config: Its settings.
        fooled: Samples that are right without attack and wrong with it, of those that are right
            without.
        noise_fooled: The same for random noise of the same size.
        shifts: One a method.
        layers: In the order in which they run; empty if no layer can be watched.
    """

    attack: str
    config: dict[str, Any] = Field(default_factory=dict)
    fooled: Count
    noise_fooled: Count
    shifts: list[AttributionShift] = Field(default_factory=list)
    layers: list[LayerDistance] = Field(default_factory=list)

    @property
    def parting(self) -> str | None:
        """The first layer at which the attack moves features twice as far as noise does."""
        apart = (row for row in self.layers if row.attack.value >= PARTED * row.noise.value > 0)
        return next((row.layer for row in apart), None)


class Detection(Record):
    """The score of a detector on clean images and on others.

    Attributes:
        source: What made the others: label of an attack, `all attacks`, `noise` or `adaptive`.
        fooled: Images that fool the classifier, of those that were attacked; for noise all count.
        n: Images that the figures are of: those that fool the classifier; for noise all.
        clean_n: Clean images.
        auroc: Chance that one of them has a larger score than a clean image; None without any.
        auroc_interval: Its 95 % interval (Hanley and McNeil, 1982).
        caught: False-positive rate -> images flagged at it; a rate that so few clean images
            cannot show is missing.
        undetected: False-positive rate -> attacked images that fool the classifier and are not
            flagged, of all that were attacked.
        roc: False-positive and true-positive rates.
    """

    source: str
    fooled: Count
    n: int
    clean_n: int
    auroc: float | None = None
    auroc_interval: tuple[float, float] | None = None
    caught: dict[str, Count] = Field(default_factory=dict)
    undetected: dict[str, Count] = Field(default_factory=dict)
    roc: list[tuple[float, float]] = Field(default_factory=list)


class ModelExplanation(Record):
    """All explanations of one model.

    Attributes:
        subject: `undefended`, `hardened` or `given`.
        weights: Hash of its weights.
        clean: Samples that are right without attack.
        completeness_gap: Median of |sum of integrated gradients - change of the logit| over the
            change; None where the logit does not change.
        attacks: One an attack.
        detection: The detector on each attack, on all of them, on noise, and adaptive.
        evasion_gradient: How the adaptive attack follows the detector's score: `softplus`
            (second derivatives with rectifiers made smooth) or `none` (it keeps, among its steps,
            the image with the least score).
        flags: Why its figures may mislead.
    """

    subject: str
    weights: str
    clean: Count
    completeness_gap: float | None = None
    attacks: list[AttackExplanation] = Field(default_factory=list)
    detection: list[Detection] = Field(default_factory=list)
    evasion_gradient: str = ""
    flags: list[Flag] = Field(default_factory=list)

    @property
    def strongest(self) -> AttackExplanation | None:
        """The attack that fools the model most often; the last of equals."""
        return max(reversed(self.attacks), key=lambda part: part.fooled.hits, default=None)


class Explanation(Record):
    """What `temper explain` found out.

    Attributes:
        data: Name of the data.
        data_hash: Of the test samples.
        threat: What attackers may change.
        n: Test samples.
        seed: Of all draws.
        methods: Of attribution, with their settings.
        score: What the detector measures.
        figure: What counts as the figure of an image; None if nothing does.
        models: One a model.
        complete: Whether all was measured; False after Ctrl-C.
        command: What was called.
        tempering: Version.
        captum: Version.
        seconds: Wall time.
    """

    data: str
    data_hash: str
    threat: str
    n: int
    seed: int
    methods: dict[str, dict[str, Any]]
    score: str
    figure: str | None
    models: list[ModelExplanation] = Field(default_factory=list)
    complete: bool = True
    command: str = ""
    tempering: str
    captum: str
    seconds: float = 0.0
