"""What a defense is made of: transforms, detectors, and pipelines of them.

The base classes are modules, so they are stages of a network like any other, move between
devices, and are saved in its state dict. `register_defense` gives a class the name under which
manifests and recipes know it; attacks and certification need no registration.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from tempering.core.backward import (
    INPUT_GRADIENTS,
    declared_backward,
    with_declared_backward,
)
from tempering.core.errors import ModelError
from tempering.core.image_batches import require_images
from tempering.core.registry import Registry


class Defense(nn.Module, ABC):
    """What transforms and detectors have in common: declared gradient, options, source.

    Attributes:
        input_gradient: The gradient that attacks and training use, see `core.backward`.
        random: Whether it draws random numbers (from torch's global generator) at each call.
        kind: `transform` or `detector`.
        source: Author and year; empty if it is common practice.
    """

    input_gradient: str = "true"
    random: bool = False
    kind: ClassVar[str]
    source: ClassVar[str] = ""
    input_gradients: ClassVar[tuple[str, ...]] = INPUT_GRADIENTS
    applies_declared_backward: ClassVar[bool] = True
    forward_method: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        definer = next(base for base in type(self).__mro__ if "forward" in base.__dict__)
        if "forward_method" not in definer.__dict__:
            raise ModelError(
                f"{type(self).__name__} overrides forward, which applies its declared gradient: "
                f"put the computation into {self.forward_method}(x)"
            )
        declared_backward(self)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the constructor, from attributes of the same names; for manifests.

        Raises:
            ModelError: If an argument is not kept as an attribute.
        """
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise ModelError(
                f"{type(self).__name__} does not keep its argument {missing[0]!r}: "
                "set an attribute of that name, so that it can be saved"
            )
        values = {name: getattr(self, name) for name in names}
        return {name: _plain(value) for name, value in values.items()}

    def extra_repr(self) -> str:
        """Options that are numbers or words, as printed with a model."""
        shown = {k: v for k, v in self.options.items() if isinstance(v, int | float | str)}
        return ", ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in shown.items()
        )


def _plain(value: Any) -> Any:
    """Tensors as numbers and lists; a number that is not set as None."""
    if isinstance(value, Tensor):
        value = value.tolist()
    return None if isinstance(value, float) and math.isnan(value) else value


class Transform(Defense):
    """An input transformation: images to images.

    A subclass defines `transform`, and declares its gradient if its own misleads.

    Attributes:
        monotone: Whether each output pixel depends on one input pixel alone and does not
            decrease with it, so that a box of images maps to the box between its corners.
        stepwise: Whether it is monotone and its outputs take few values, as a threshold's or a
            rounding's do. Certification then bounds it by its values at the corners of a box. A
            subclass that overrides `transform` declares both again.

    Example:
        >>> class Rounding(Transform):
        ...     input_gradient = "straight-through"
        ...     def transform(self, x: Tensor) -> Tensor:
        ...         return x.round()
        >>> x = torch.tensor([0.2, 0.7], requires_grad=True)
        >>> y = Rounding()(x)
        >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
        ([0.0, 1.0], [1.0, 1.0])
    """

    kind = "transform"
    forward_method = "transform"
    monotone: bool = False
    stepwise: bool = False

    @abstractmethod
    def transform(self, x: Tensor) -> Tensor:
        """Transform images in [0, 1], shape (n, c, h, w), as in deployment."""

    def shape_after(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of transformed images (c, h, w); override it together with `shape_before`."""
        return shape

    def shape_before(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of the images that have this shape (c, h, w) once they are transformed.

        Raises:
            ModelError: If there are none.
        """
        return shape

    def thresholds(self, shape: tuple[int, int, int]) -> Tensor | None:  # noqa: ARG002
        """Where a hard threshold jumps: the largest pixel values whose output is the lower one.

        A transform with two output values a pixel can answer this. An attack then knows how far
        each pixel is from its flip, and certification what a change of some length can flip.

        Args:
            shape: Of an image (c, h, w).

        Returns:
            Thresholds, broadcastable to (c, h, w), float64; None if it is no hard threshold.
        """
        return None

    def box_after(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The box of transformed images, from a box of images; exact.

        Pixels whose two ends are equal afterwards are decided: no image of the box changes them.
        With `core.pixel_boxes.pixel_box` for the first box, this is what a threat leaves
        undecided behind the transform; training, attacks and certification can use it.

        Args:
            low: Least values of each pixel, shape (n, c, h, w).
            high: Largest values.

        Returns:
            Least and largest values of each output pixel.

        Raises:
            ModelError: If the transform does not declare that it is monotone.

        Example:
            >>> class Rounding(Transform):
            ...     monotone = True
            ...     def transform(self, x: Tensor) -> Tensor:
            ...         return x.round()
            >>> low, high = Rounding().box_after(torch.tensor([0.1, 0.4]), torch.tensor([0.3, 0.6]))
            >>> low.tolist(), high.tolist()
            ([0.0, 0.0], [0.0, 1.0])
        """
        if not self.monotone:
            raise ModelError(
                f"{type(self).__name__} does not declare that it is monotone: "
                "set monotone = True if each output pixel grows with one input pixel alone"
            )
        return self.transform(low), self.transform(high)

    def forward(self, x: Tensor) -> Tensor:
        """Transformed images, with the declared gradient.

        Raises:
            ModelError: If x is not float, or far outside [0, 1].
        """
        require_images(type(self).__name__, x)
        return with_declared_backward(self, self.transform, x)


class Detector(Defense):
    """A detector: images to one score each, larger for what is more suspect.

    A subclass defines `score`. A detector whose score has no gradient (a decision tree, a
    nearest-neighbour search) declares `input_gradient = "none"`, or defines `approximation`.

    Args:
        threshold: Score above which an image is flagged; None if it is not set yet.

    Attributes:
        clean_spread: Standard deviation of scores of clean images, as calibration measures it; 1
            before. Joint attacks measure scores in this unit.
        added_buffers: Buffers that files of earlier versions lack, and what they stand for there.
    """

    kind = "detector"
    forward_method = "score"
    input_gradients = ("true", "approximation", "none")

    added_buffers: ClassVar[Mapping[str, float]] = {"clean_spread": 1.0}

    threshold: Tensor
    clean_spread: Tensor

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__()
        value = float("nan") if threshold is None else float(threshold)
        self.register_buffer("threshold", torch.tensor(value, dtype=torch.float32))
        self.register_buffer("clean_spread", torch.tensor(1.0))

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """Scores of images in [0, 1], shape (n, c, h, w): shape (n,)."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores, shape (n,), with the declared gradient."""
        return with_declared_backward(self, self.score, x)


class DefendedClassifier(Protocol):
    """A deployed classifier with its defenses: clean images to a class, or abstention.

    It is a module from images in [0, 1], shape (n, c, h, w), to logits, shape (n, outputs).
    If it can abstain, there is one output after the classes, and the model abstains where that
    output is the largest. `defenses.Pipeline` is one; so is a network with an adversarial class.

    Attributes:
        classes: Classes of the data.
        adversarial_class: Number of the abstention output, equal to `classes`, or None.
    """

    classes: int
    adversarial_class: int | None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs)."""
        ...


DEFENSES: Registry[type[Defense]] = Registry("defense")
"""Name -> class of a transform or detector."""

D = TypeVar("D", bound=type[Defense])


def register_defense(name: str) -> Callable[[D], D]:
    """Decorate a transform or detector with the name that manifests and recipes use.

    Args:
        name: Not registered yet.

    Example:
        >>> @register_defense("inversion")
        ... class Inversion(Transform):
        ...     def transform(self, x: Tensor) -> Tensor:
        ...         return 1 - x
        >>> DEFENSES.unregister("inversion") is Inversion
        True
    """

    def enter(kind: D) -> D:
        DEFENSES.register(name)(kind)
        return kind

    return enter


def one_score_each(what: str, scores: object, n: int) -> Tensor:
    """What a detector returned for n images, shape (n,).

    Raises:
        ModelError: If there is not one score an image.
    """
    if not isinstance(scores, Tensor) or scores.numel() != n:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ModelError(f"{what} returned {shape} for {n} images: return one score an image")
    return scores.reshape(n)


def registered_name(part: object) -> str | None:
    """The name under which the class of a defense is registered; None if it is not."""
    return next((name for name, kind in DEFENSES.items() if kind is type(part)), None)


def abstention_logit(
    logits: Tensor, scores: Tensor, threshold: float | Tensor, scale: float | Tensor = 1.0
) -> Tensor:
    """The logit that wins exactly where a detector flags.

    Carlini and Wagner, 'Adversarial examples are not easily detected: bypassing ten detection
    methods', 2017, section 3.1: the largest logit plus the score's excess over the threshold.

    Args:
        logits: Of the classes, shape (n, classes).
        scores: One an image, larger for what is more suspect.
        threshold: Score above which an image is flagged.
        scale: Logits that one unit of score is worth, above 0.

    Returns:
        Shape (n, 1).

    Raises:
        ModelError: If there is not one score an image, or the threshold is not set.

    Example:
        >>> abstention_logit(torch.tensor([[1.0, 3.0]]), torch.tensor([0.75]), threshold=0.5)
        tensor([[3.2500]])
    """
    scores = one_score_each("the detector", scores, len(logits))
    if not bool(torch.as_tensor(threshold).isfinite()):
        raise ModelError(
            f"the detector's threshold is {float(threshold)}: set it, such as at a "
            "false-positive rate on clean validation images"
        )
    excess = scale * (scores.reshape(len(logits), 1) - threshold)
    return logits.amax(1, keepdim=True) + excess
