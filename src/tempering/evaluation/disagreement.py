"""How much several answers on the same images disagree: of an ensemble, or with dropout left on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError, UsageError
from tempering.core.module_copies import copied_module
from tempering.core.random import derive
from tempering.core.user_code import device_of, set_evaluation_mode
from tempering.data.dataset import Dataset
from tempering.defenses.confidence import all_logits, class_logits
from tempering.models.seeded import seeded

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_TINY = 1e-12


def disagreement(probabilities: Tensor) -> Tensor:
    """Entropy of the mean prediction minus the mean entropy: the mutual information.

    Houlsby et al., 'Bayesian active learning for classification and preference learning', 2011.

    Args:
        probabilities: Of each answer, shape (answers, n, classes).

    Returns:
        In nats, at least 0, shape (n,); 0 where all answers are equal.

    Example:
        >>> disagreement(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])).round(decimals=3)
        tensor([0.6930])
    """
    together = _entropy(probabilities.mean(0))
    return (together - _entropy(probabilities).mean(0)).clamp_min(0)


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp_min(_TINY).log()).sum(-1)


def ensemble_probabilities(models: list[nn.Module], data: Dataset) -> Tensor:
    """Probabilities of each model, shape (models, n, classes).

    Raises:
        UsageError: If there are not at least two models.
        ModelError: If they have different numbers of classes.
    """
    if len(models) < 2:
        raise UsageError(f"an ensemble of {len(models)}: give at least one model more")
    answers = [class_logits(model, all_logits(model, data.x)).softmax(1) for model in models]
    widths = [answer.shape[1] for answer in answers]
    if len(set(widths)) > 1:
        raise ModelError(
            f"an ensemble with {', '.join(map(str, widths))} classes: give models of the same data"
        )
    return torch.stack(answers)


def dropout_probabilities(model: nn.Module, data: Dataset, passes: int, seed: int) -> Tensor | None:
    """Probabilities of passes with dropout left on, shape (passes, n, classes).

    Gal and Ghahramani, 'Dropout as a Bayesian approximation', 2016.

    Args:
        model: Returns logits; it is left as it is.
        data: Images.
        passes: At least 2.
        seed: Of dropout.

    Returns:
        None if the model has no dropout layers.

    Raises:
        UsageError: If there are fewer than 2 passes.
    """
    if passes < 2:
        raise UsageError(f"passes {passes}: give at least 2")
    if not any(True for _ in _dropouts(model)):
        return None
    copy = set_evaluation_mode(copied_module(model)).requires_grad_(False)
    for layer in _dropouts(copy):
        layer.train()
    device, answers = device_of(copy), []
    with seeded(derive(seed, "dropout")), torch.no_grad():
        for _ in range(passes):
            parts = [copy(x.to(device)).float().cpu() for x in data.chunks()]
            answers.append(class_logits(copy, torch.cat(parts)).softmax(1))
    return torch.stack(answers)


def _dropouts(model: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in model.modules() if isinstance(layer, DROPOUT) and layer.p > 0)
