"""A classifier with its defenses, as one network that can be attacked as it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError, first_line
from tempering.core.outputs import logits_in
from tempering.core.protocols import Detector, Transform, abstention_logit
from tempering.defenses.description import describe
from tempering.models.blueprint import Blueprint
from tempering.models.classifier import BaseClassifier


class Pipeline(BaseClassifier):
    """Transforms, then a classifier; beside them a detector that may make it abstain.

    Every stage keeps the gradient that it declares, so `evaluate` attacks the whole. With a
    detector, or a classifier that has an adversarial class, there is one output after the
    classes: the pipeline abstains where it is the largest. The detector judges images as they
    arrive, before the transforms; with both, either one makes it abstain.

    Args:
        classifier: From images in [0, 1] to logits.
        transforms: Applied in this order.
        detector: Flags images above its threshold; None for no detector.
        classes: Classes of the data; by default what the classifier says.
        scale: Logits that one standard deviation of the detector's clean scores is worth (one
            unit of score before it is calibrated), above 0. It changes no decision, only the
            gradients of attacks.

    Attributes:
        classes: Classes of the data.
        adversarial_class: Number of the abstention output, or None.
        outputs: Logits an image: the classes, and one more if it can abstain.

    Raises:
        ModelError: If a part is of the wrong kind, nothing says how many classes there are, or
            the transforms make no images of the shape that the classifier takes.

    Example:
        >>> from tempering.defenses import Squeeze
        >>> from tempering.models import strided_cnn
        >>> net = strided_cnn(squeeze=None, adversarial_class=False)
        >>> Pipeline(net, [Squeeze(0.3, 0.7)])(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        classifier: nn.Module,
        transforms: Sequence[Transform] = (),
        detector: Detector | None = None,
        classes: int | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        for part in transforms:
            if not isinstance(part, Transform):
                raise ModelError(
                    f"{type(part).__name__} among transforms: derive it from Transform"
                )
        if detector is not None and not isinstance(detector, Detector):
            raise ModelError(f"{type(detector).__name__} as a detector: derive it from Detector")
        if not scale > 0:
            raise ModelError(f"scale {scale}: give more than 0")
        self.transforms = nn.ModuleList(transforms)
        self.classifier = classifier
        self.detector = detector
        self.scale = float(scale)
        self.classes = _classes(classifier, classes)
        own = getattr(classifier, "adversarial_class", None)
        self.adversarial_class = self.classes if own is not None or detector else None
        self.outputs = self.classes + (self.adversarial_class is not None)
        _shape_of_images(self)
        _require_alike(self)

    @property
    def architecture(self) -> dict[str, Any] | str:  # type: ignore[override]
        """Description as it is now; the name of its class if a part of it is a user's own."""
        try:
            return self.described()
        except ModelError:
            _shape_of_images(self)  # what does not fit is refused; what is foreign is named
            return type(self).__name__

    def described(self, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What a manifest needs to build it again.

        Args:
            own: What stands for a network that is not ours, see `models.own_part`.

        Raises:
            ModelError: If a part cannot be described, or the transforms make no images of the
                shape that the classifier takes.
        """
        return _architecture(self, own)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs), of images in [0, 1], shape (n, c, h, w).

        Raises:
            ModelError: If the detector has no threshold, or the classifier another number of
                outputs than classes, or it does not take the shape that transforms make.
        """
        seen = x if self.detector is None else x.clone()  # parts may write what they are given
        for transform in self.transforms:
            seen = transform(seen)
        logits = self._classified(seen, x)
        if self.detector is None:
            return logits
        classes, own = self._split(logits)
        scale = self.scale / self.detector.clean_spread
        flag = abstention_logit(classes, self.detector(x), self.detector.threshold, scale)
        return torch.cat([classes, torch.maximum(flag, own) if own.numel() else flag], 1)

    def _classified(self, seen: Tensor, x: Tensor) -> Tensor:
        try:
            logits: Tensor = logits_in(self.classifier(seen))  # type: ignore[assignment]
        except RuntimeError as error:
            wanted = _shape_of_images(self)
            if wanted is not None and tuple(x.shape[1:]) != wanted:
                raise ModelError(
                    f"images of shape {tuple(x.shape[1:])} for a pipeline of {wanted}: "
                    "give images of that shape"
                ) from error
            if seen.shape == x.shape:
                raise
            raise ModelError(
                f"the classifier fails on shape {tuple(seen.shape[1:])}, which the transforms make "
                f"of images of shape {tuple(x.shape[1:])}: {first_line(error)}: "
                f"give a classifier that takes {seen.shape[1]} channels of "
                f"{seen.shape[2]} x {seen.shape[3]} pixels"
            ) from error
        return logits

    def _split(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes, and that of the classifier's own adversarial class, if any."""
        if logits.shape[1] not in (self.classes, self.classes + 1):
            raise ModelError(
                f"the classifier has {logits.shape[1]} outputs for {self.classes} classes: "
                "give as many, or one more for its adversarial class"
            )
        return logits[:, : self.classes], logits[:, self.classes :]


def _require_alike(pipeline: Pipeline) -> None:
    """Refuse a detector whose network takes other images than arrive at the classifier."""
    own = _shape(pipeline.classifier)
    other = seen = _shape(getattr(pipeline.detector, "network", None))
    if own is None or seen is None:
        return
    for transform in pipeline.transforms:
        seen = transform.shape_after(seen)  # type: ignore[operator]
    if own != seen:
        behind = " behind the transforms" if len(pipeline.transforms) else ""
        raise ModelError(
            f"the network of {type(pipeline.detector).__name__} takes images of shape {other} and "
            f"the classifier of {own}{behind}: give a detector that was fitted with this "
            "classifier's data"
        )


def _shape(network: object) -> tuple[int, ...] | None:
    """Shape of a network's images, if it says so."""
    architecture = getattr(network, "architecture", None)
    return tuple(architecture["shape"]) if isinstance(architecture, dict) else None


def _architecture(pipeline: Pipeline, own: Mapping[str, Any] | None) -> dict[str, Any]:
    inner = describe(pipeline.classifier, own)
    if "defense" in inner:
        raise ModelError(f"the defense {inner['defense']} as a classifier: give a network")
    model = inner.get("model")
    classifier = inner if model is None else {"name": model["name"], "options": model["options"]}
    detector = pipeline.detector
    blueprint = Blueprint(
        name="pipeline",
        shape=_shape_of_images(pipeline) or _before(pipeline, inner["shape"]),
        classes=pipeline.classes,
        options={
            "classifier": classifier,
            "transforms": [describe(part, own) for part in pipeline.transforms],
            "detector": None if detector is None else describe(detector, own),
            "scale": pipeline.scale,
        },
    )
    return blueprint.as_json()


def _shape_of_images(pipeline: Pipeline) -> tuple[int, int, int] | None:
    """What is transformed to the shape that the classifier takes; None if it does not say."""
    own = getattr(pipeline.classifier, "architecture", None)
    if not isinstance(own, dict):
        return None
    return _before(pipeline, own["shape"])


def _before(pipeline: Pipeline, seen: Sequence[int]) -> tuple[int, int, int]:
    """The shape of the images that are transformed to a shape.

    Raises:
        ModelError: If there are none.
    """
    channels, height, width = seen
    shape = (channels, height, width)
    for transform in reversed(pipeline.transforms):
        shape = transform.shape_before(shape)  # type: ignore[operator]
    return shape


def _classes(classifier: nn.Module, given: int | None) -> int:
    for classes in (given, *(getattr(classifier, name, None) for name in _SAYS_CLASSES)):
        if isinstance(classes, int):
            return classes
    raise ModelError(
        f"a {type(classifier).__name__} does not say how many classes it has: give classes"
    )


_SAYS_CLASSES = ("classes", "adversarial_class")
"""Attributes of a classifier that say how many classes there are."""
