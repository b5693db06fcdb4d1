"""What an attacker wants of an output, as values.

A goal names, for each sample, the *protected* outputs: those which the defender
wants to win. The attacker succeeds when the largest logit is not protected.
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
    """What counts as success for an attacker."""

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """Outputs that the defender wants to win, shape (n, outputs), bool."""
        ...


@dataclass(frozen=True)
class Untargeted:
    """Any output but the true class: the strict goal, comparable with other work."""

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """The true class alone."""
        return _true_class(y, outputs)


@dataclass(frozen=True)
class EvadeDetector:
    """A wrong class without being flagged: the adaptive attacker of a detecting model.

    Attributes:
        flag: Number of the output that means 'adversarial'.
    """

    flag: int

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """The true class and the flag."""
        keep = _true_class(y, outputs)
        keep[:, _among(self.flag, outputs)] = True
        return keep


@dataclass(frozen=True)
class Targeted:
    """One given output: targeted attacks, and forcing clean inputs into the flag.

    Attributes:
        target: Number of the output that must win.

    Raises:
        UsageError: If the number is negative.
    """

    target: int

    def __post_init__(self) -> None:
        if self.target < 0:
            raise UsageError(f"target {self.target}: give the number of an output, 0 or more")

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """Every output but the target."""
        keep = torch.ones(len(y), outputs, dtype=torch.bool, device=y.device)
        keep[:, _among(self.target, outputs)] = False
        return keep


@dataclass(frozen=True)
class TargetedLabels:
    """The label that is given: targeted attacks where each sample has its own target.

    Call an attack with the targets in place of the labels.
    """

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """Every output but the label."""
        return ~_true_class(y, outputs)


@dataclass(frozen=True)
class Undetected:
    """Another goal, without being flagged by one output more, the last.

    Attributes:
        goal: What is wanted of all outputs but the last.
    """

    goal: Goal

    def protected(self, y: Tensor, outputs: int) -> Tensor:
        """What the goal protects, and the last output."""
        inner = self.goal.protected(y, outputs - 1)
        return torch.cat([inner, torch.ones_like(inner[:, :1])], 1)


def reached(logits: Tensor, protected: Tensor) -> Tensor:
    """Whether the predicted output is not protected, shape (n,), bool."""
    return ~protected.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)


def log_odds(logits: Tensor, protected: Tensor) -> Tensor:
    """Log odds of the unprotected outputs, shape (n,): what gradient attacks climb.

    With one protected class this is log((1 - p) / p), which grows with cross-entropy
    -log p; its gradient has the same direction, and does not vanish where the
    softmax saturates.
    """
    low = torch.finfo(logits.dtype).min
    wrong = logits.masked_fill(protected, low).logsumexp(1)
    return wrong - logits.masked_fill(~protected, low).logsumexp(1)


def margin(logits: Tensor, protected: Tensor) -> Tensor:
    """Best unprotected logit less the best protected one, shape (n,) (Carlini and Wagner, 2017)."""
    low = torch.finfo(logits.dtype).min
    wrong = logits.masked_fill(protected, low).amax(1)
    return wrong - logits.masked_fill(~protected, low).amax(1)
