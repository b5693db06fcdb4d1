"""The base of all attacks: a frozen set of hyperparameters that can be called."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tempering.core.errors import (
    AttackError,
    DataError,
    TemperingError,
    ThreatError,
    UsageError,
    type_and_message,
)
from tempering.core.goals import Goal, Untargeted
from tempering.core.probe import Probe, probing
from tempering.core.python_values import plain
from tempering.core.random import RandomStreams
from tempering.core.tensors import require_tensors
from tempering.core.threats import NORMS, TOLERANCE, Threat, parse_threat
from tempering.models.adoption import as_module

BATCH_SIZE = 256
"""Default number of samples that an attack processes at a time."""

COUNTS = ("steps", "queries", "epochs", "searches", "iterations", "targets", "places")
"""Hyperparameters whose product approximates the number of model evaluations per sample."""


@dataclass(frozen=True)
class Problem:
    """The input of an attack: images, threat, goal and random streams.

    Attributes:
        x: Images in [0, 1], shape (n, c, h, w).
        y: Labels, shape (n,), int64.
        threat: What may change.
        streams: One random stream per sample.
        goal: What counts as success.
        batch_size: Samples to process at a time.
    """

    x: Tensor
    y: Tensor
    threat: Threat
    streams: RandomStreams
    goal: Goal
    batch_size: int

    def batches(self) -> list[Tensor]:
        """Row numbers, batch by batch."""
        rows = torch.arange(len(self.x), device=self.x.device)
        return [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]

    def part(self, rows: Tensor) -> Problem:
        """The same problem for some rows."""
        return replace(self, x=self.x[rows], y=self.y[rows], streams=self.streams[rows])

    def protected(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Protected outputs of all rows or of some, shape of their logits, bool."""
        y = self.y if rows is None else self.y[rows]
        return self.goal.protected(y, logits.shape[1])


@dataclass(frozen=True)
class Attack(ABC):
    """An attack: hyperparameters that can be compared, printed and recorded.

    Attributes:
        name: Canonical name, the same in registry, records and reports.
        norms: Built-in norms in which it works.
        any_threat: Whether it also works in a user's `Threat` that extends none of the
            built-in norms, through the methods of `Threat` only.
        access: Access to the model: `gradients`, `scores`, `labels` or `none`.
        source: Author, title, year.
        cost: Passes per sample at most, in terms of the hyperparameters.
    """

    name: ClassVar[str]
    norms: ClassVar[tuple[str, ...]]
    any_threat: ClassVar[bool] = False
    access: ClassVar[str] = "gradients"
    source: ClassVar[str]
    cost: ClassVar[str] = "depends on its settings"

    def __new__(cls, *_given: object, **_named: object) -> Self:
        """Refuse a class that lacks what every attack must define."""
        for needed, example in (("name", "'mine'"), ("norms", "('linf',)")):
            if not hasattr(cls, needed):
                raise UsageError(f"{cls.__name__} has no {needed}: define it, as {example}")
        return super().__new__(cls)

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat | str,
        random: RandomStreams | None = None,
        goal: Goal | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Tensor:
        """Propose adversarial images; the evaluator decides whether they succeed.

        Args:
            model: From images in [0, 1] to logits, shape (n, outputs).
            x: Images in [0, 1], shape (n, c, h, w), float.
            y: Labels, shape (n,), int64.
            threat: What may change, as a value or as text such as `linf:8/255`.
            random: One stream per sample; by default those of seed 0, samples 0 to n - 1.
            goal: What counts as success; by default any class but the true one.
            batch_size: Samples to process at a time; it changes no result.

        Returns:
            x_adv, shape and dtype of x, within the threat around x.

        Raises:
            ThreatError: If the attack does not work in the threat.
            DataError: If images are neither float32 nor float64, lie outside [0, 1] or are
                not finite, or labels are no int64 or name no output of the model.
            ModelError: If the model's logits or gradients are not finite.
            AttackError: If shapes or streams do not fit together, or the attack or a method of
                the threat fails.

        Example:
            >>> from tempering.attacks import PGD
            >>> from tempering.core.threats import Linf
            >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
            >>> x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 0])
            >>> PGD(steps=5)(net, x, y, Linf(0.1)).shape
            torch.Size([3, 1, 2, 2])
        """
        if isinstance(threat, str):
            threat = parse_threat(threat)
        if not isinstance(threat, Threat):
            raise ThreatError(f"threat {threat!r}: give a value, or text such as 'linf:8/255'")
        model = as_module(model)
        require_tensors(images=x, labels=y)
        self.require(threat)
        if x.ndim != 4 or y.shape != x.shape[:1]:
            raise AttackError(
                f"images {tuple(x.shape)} and labels {tuple(y.shape)} do not fit: "
                "give (n, c, h, w) and (n,)"
            )
        if random is not None and len(random) != len(x):
            raise AttackError(f"{len(random)} random streams for {len(x)} images: give one each")
        if y.dtype != torch.int64:
            raise DataError(f"labels of type {y.dtype}: give int64")
        if x.dtype not in (torch.float32, torch.float64):
            raise DataError(
                f"images of type {x.dtype}: give float32 or float64, to a model in half "
                "precision too: rounding to fewer bits leaves the ball"
            )
        if len(x) == 0:
            return x.detach().clone()
        _check_images(x.detach())
        if threat.eps == 0:
            return x.detach().clone()
        problem = Problem(
            x=x.detach().clone(),  # an attack of one's own may write into its problem
            y=y.clone(),
            threat=threat,
            streams=(random or RandomStreams.of(0, len(x))).on(x.device),
            goal=goal or Untargeted(),
            batch_size=max(1, batch_size),
        )
        with probing(model) as probe:
            try:
                return self.propose(probe, problem).detach()
            except TemperingError:
                raise
            except Exception as error:
                raise AttackError(
                    f"{self.label()} failed under {threat}: {type_and_message(error)}"
                ) from error

    def require(self, threat: Threat) -> None:
        """Refuse a threat in which this attack does not work.

        Raises:
            ThreatError: Naming the norms in which it does.
        """
        norm = threat.norm
        custom = norm not in (*NORMS, "patch")
        if norm not in self.norms and not (custom and self.any_threat):
            raise ThreatError(
                f"{self.name} does not attack in {norm}: it knows {', '.join(self.norms)}"
            )

    def knows(self, threat: Threat) -> bool:
        """Whether this attack works in a threat."""
        try:
            self.require(threat)
        except ThreatError:
            return False
        return True

    @abstractmethod
    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The algorithm: x_adv for a problem of at least one sample and eps > 0."""

    def effort(self) -> int:
        """Approximate number of model evaluations per sample: a rough order of strength.

        The product of steps, queries, epochs and so on; a combined attack counts those of its
        parts.

        Example:
            >>> from tempering.attacks import FGSM, PGD, Restarts, Square
            >>> FGSM().effort(), Restarts(PGD(steps=40), 2).effort(), Square(queries=300).effort()
            (1, 80, 300)
        """
        return math.prod(getattr(self, name, 1) for name in COUNTS)

    def minimum_norm(self) -> bool:
        """Whether it minimizes the perturbation instead of using the whole threat.

        Example:
            >>> from tempering.attacks import CWL2, CWLinf
            >>> CWL2().minimum_norm(), CWLinf().minimum_norm()
            (True, False)
        """
        return False

    def batch_dependent(self) -> bool:
        """Whether the result for a sample depends on the other samples."""
        return False

    def config(self) -> dict[str, Any]:
        """Hyperparameters for the record."""
        return {"name": self.name, **plain(asdict(self))}

    def label(self) -> str:
        """The name with the number of steps or queries, such as `pgd-40`."""
        number = getattr(self, "steps", getattr(self, "queries", None))
        return self.name if number is None else f"{self.name}-{number}"


def _check_images(x: Tensor) -> None:
    low, high = (float(end) for end in x.aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise DataError(
            f"images from {low:g} to {high:g}: give finite pixels in [0, 1], "
            "and normalise inside the model"
        )
