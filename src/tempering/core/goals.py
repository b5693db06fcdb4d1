"""Goals of an attacker, as values.

A goal names the *protected* outputs of each sample. The attacker succeeds if the largest
logit belongs to an output that is not protected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tempering.core.errors import DataError, UsageError


def _true_class(y: Tensor, outputs: int) -> Tensor:
    try:
        return torch.nn.functional.one_hot(y, outputs).bool()
    except RuntimeError:
        raise DataError(
            f"labels from {int(y.min())} to {int(y.max())} for a model of {outputs} outputs: "
            f"give labels from 0 to {outputs - 1}"
        ) from None


def _among(number: int, outputs: int) -> int:
    if not 0 <= number < outputs:
        raise UsageError(
            f"output {number} of a model of {outputs} outputs: give 0 to {outputs - 1}"
        )
    return number


class Goal(Protocol):
    """Defines when an attack succeeds."""

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """The protected outputs of each sample, shape (n, outputs), bool.

        Args:
            y: Labels, shape (n,), int64.
            outputs: Outputs of the model.
        """
        ...


@dataclass(frozen=True)
class Untargeted:
    """Any output but the true class."""

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """The true class."""
        return _true_class(y, outputs)


@dataclass(frozen=True)
class EvadeDetector:
    """A wrong class that is not flagged: the goal of an attacker that knows the detector.

    Attributes:
        flag: Index of the adversarial class.
    """

    flag: int

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """The true class and the flag."""
        keep = _true_class(y, outputs)
        keep[:, _among(self.flag, outputs)] = True
        return keep


@dataclass(frozen=True)
class Targeted:
    """A given output, the same for all samples.

    Attributes:
        target: Index of the target output.

    Raises:
        UsageError: If the index is negative.
    """

    target: int

    def __post_init__(self) -> None:
        if self.target < 0:
            raise UsageError(f"target {self.target}: give the index of an output, at least 0")

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """Every output but the target."""
        keep = torch.ones(len(y), outputs, dtype=torch.bool, device=y.device)
        keep[:, _among(self.target, outputs)] = False
        return keep


@dataclass(frozen=True)
class TargetedLabels:
    """A target of its own for each sample.

    Call the attack with the targets instead of the labels.
    """

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """Every output but the label."""
        return ~_true_class(y, outputs)


@dataclass(frozen=True)
class Undetected:
    """A goal for all outputs but the last, reached without being flagged by the last.

    Attributes:
        goal: Goal for all outputs but the last.
    """

    goal: Goal

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """The outputs that the inner goal protects, and the last output."""
        inner = self.goal.protected(y, outputs - 1)
        return torch.cat([inner, torch.ones_like(inner[:, :1])], 1)


def reached(logits: Tensor, protected: Tensor) -> Tensor:
    """Whether the predicted output is not protected, shape (n,), bool."""
    return ~protected.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)


def log_odds(logits: Tensor, protected: Tensor) -> Tensor:
    """Log odds of the unprotected outputs, shape (n,): a loss that gradient attacks maximise.

    With one protected class this is log((1 - p) / p), which grows with cross-entropy
    -log p. Its gradient has the same direction and does not vanish where the softmax
    saturates.
    """
    low = torch.finfo(logits.dtype).min
    wrong = logits.masked_fill(protected, low).logsumexp(1)
    return wrong - logits.masked_fill(~protected, low).logsumexp(1)


def margin(logits: Tensor, protected: Tensor) -> Tensor:
    """Largest unprotected logit minus largest protected one, shape (n,).

    Carlini and Wagner, 2017.
    """
    low = torch.finfo(logits.dtype).min
    wrong = logits.masked_fill(protected, low).amax(1)
    return wrong - logits.masked_fill(~protected, low).amax(1)
