"""A model under evaluation, and what was found out about it before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tempering.core.module_copies import copied_module
from tempering.core.notes import note
from tempering.core.records import Subject
from tempering.data.dataset import Dataset
from tempering.models.adoption import initialise, with_logits
from tempering.models.checks import check_classifier
from tempering.models.classifier import flag_of
from tempering.models.evaluation_mode import note_if_training
from tempering.models.logits import BeforeFinalStage, as_logits_model
from tempering.models.weights import weights_hash

_EXACT = (torch.float32, torch.float64)
_FIRST = 8


@dataclass(frozen=True)
class RandomDraws:
    """How often a random model is asked for a prediction.

    Attributes:
        seed: Of the global generators that it draws from.
        count: Forward passes whose probabilities are averaged.
    """

    seed: int
    count: int = 16


@dataclass(frozen=True, eq=False)
class Target:
    """A classifier under attack.

    Attributes:
        subject: Which model this is, as records name it.
        model: From images in [0, 1] to logits, in float32 or float64.
        outputs: Logits an image.
        flag: Number of the output that means 'adversarial', or None.
        weights: Hash of parameters and buffers as they were given.
        draws: How a prediction is made if the model is random; None if it is not.
    """

    subject: Subject
    model: nn.Module
    outputs: int
    flag: int | None
    weights: str
    draws: RandomDraws | None = None

    @classmethod
    def of(cls, subject: Subject, model: nn.Module, data: Dataset) -> Target:
        """Check that a model is a classifier of this data.

        A model in half precision is evaluated as a float32 copy: rounding to eight or
        eleven bits hides small changes of an image, and so flatters a model. Modules that its
        own `eval()` leaves in training mode are switched off. Both are noted.

        Args:
            subject: Which model this is.
            model: Any network; its mode, parameters and gradients stay as they are.
            data: What it classifies, at least one sample.

        Returns:
            The target.

        Raises:
            ModelError: If the model is no classifier of this data.

        Example:
            >>> import torch
            >>> from tempering.data.dataset import Dataset
            >>> data = Dataset(torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), ("a", "b"), "toy")
            >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
            >>> Target.of("given", net, data).outputs
            2
        """
        weights, model, images = _prepared(model, data)
        return cls._checked(subject, model, images, data, weights)

    @classmethod
    def of_any(cls, subject: Subject, model: nn.Module, data: Dataset) -> Target:
        """As `of`; a model that returns probabilities, or squashes them, is asked for logits.

        The answer is the same, and attacks see what they would see of logits.

        Args:
            subject: Which model this is.
            model: Any network; its mode, parameters and gradients stay as they are.
            data: What it classifies, at least one sample.

        Returns:
            The target; its weights are those of the model as it was given.

        Raises:
            ModelError: If the model is no classifier of this data.
        """
        weights, model, images = _prepared(model, data)
        return cls._checked(subject, as_logits_model(model, images), images, data, weights)

    @classmethod
    def _checked(
        cls, subject: Subject, model: nn.Module, images: Tensor, data: Dataset, weights: str
    ) -> Target:
        classes = len(data.classes)
        outputs = check_classifier(model, images, classes, data.name)
        flag = flag_of(model, classes, outputs)
        if outputs > classes and flag is None:
            note(
                f"the model has {outputs} outputs for {classes} classes: "
                "the others count as wrong answers"
            )
        return cls(subject, model, outputs, flag, weights)

    @property
    def certifiable(self) -> nn.Module:
        """The model with the same predictions whose layers certification knows."""
        return self.model.model if isinstance(self.model, BeforeFinalStage) else self.model

    def without_flag(self) -> Target:
        """The same model, evaluated as if its adversarial class were one wrong class more."""
        return replace(self, flag=None)


def _prepared(model: nn.Module, data: Dataset) -> tuple[str, nn.Module, Tensor]:
    """The hash of a model's weights, the model as it returns logits, and a few images."""
    weights = weights_hash(initialise(model, data.first(1).x))
    note_if_training(model)
    model = _exact(model)
    images = _images(model, data)
    return weights, with_logits(model, images[:1]), images


def _exact(model: nn.Module) -> nn.Module:
    """A model in float32 or float64: a copy, if it is in less."""
    dtypes = {part.dtype for part in _tensors(model) if part.is_floating_point()}
    if dtypes <= set(_EXACT):
        return model
    other = ", ".join(sorted(str(dtype) for dtype in dtypes - set(_EXACT)))
    note(f"the model is in {other}: it is judged in float32")
    return copied_module(model).float()


def _images(model: nn.Module, data: Dataset) -> Tensor:
    """A few images, where the model lies."""
    parts = _tensors(model)
    images = data.images(torch.arange(min(_FIRST, len(data))))
    return images.to(parts[0].device if parts else torch.device("cpu"))


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
