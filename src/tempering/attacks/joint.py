"""Joint detection: attacks on a classifier and a separate detector at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack, Problem
from tempering.attacks.surrogate_ref import SurrogateRef
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import UsageError
from tempering.core.goals import Undetected
from tempering.core.probe import Probe, probing
from tempering.core.protocols import abstention_logit


class GuardedClassifier(nn.Module):
    """A classifier with one output more, which wins where a detector flags.

    Attributes:
        classifier: Images to logits.
        detector: Images to one score each, larger for what is more suspect.
        threshold: Score above which an image is flagged.
        scale: Logits that one unit of score is worth.
    """

    def __init__(
        self, classifier: nn.Module, detector: nn.Module, threshold: float, scale: float
    ) -> None:
        super().__init__()
        self.classifier, self.detector = classifier, detector
        self.threshold, self.scale = threshold, scale

    def forward(self, x: Tensor) -> Tensor:
        """Logits and that of the detector, shape (n, outputs + 1).

        Raises:
            ModelError: If the detector does not return one score an image.
        """
        logits = self.classifier(x.clone())  # it may write what it is given
        flag = abstention_logit(logits, self.detector(x), self.threshold, self.scale)
        return torch.cat([logits, flag], 1)


@dataclass(frozen=True, init=False)
class JointDetection(AttackWrapper):
    """Fool the classifier and stay below the detector's threshold, in one attack.

    Carlini and Wagner, 'Adversarial examples are not easily detected: bypassing ten detection
    methods', 2017. It serves detectors that are not part of the model. A model that abstains by
    itself (`defenses.Pipeline`, a network with an adversarial class) needs no wrapper: attack
    it with the goal `core.goals.EvadeDetector`.

    Attributes:
        attack: The attack that runs, such as PGD; put BPDA or EOT inside if the detector needs
            them.
        detector: Images in [0, 1] to one score each, larger for what is more suspect.
        threshold: Score above which an image is flagged.
        scale: Logits that one unit of score is worth, above 0.

    Example:
        `JointDetection(PGD(steps=100), detector, threshold=0.5)(model, x, y, Linf(0.3))`
    """

    name: ClassVar[str] = "joint"
    source: ClassVar[str] = "Carlini and Wagner, 2017"
    cost: ClassVar[str] = "its attack's, through classifier and detector"

    detector: SurrogateRef
    threshold: float
    scale: float

    def __init__(
        self,
        attack: Attack,
        detector: nn.Module | SurrogateRef | str | Path,
        threshold: float,
        scale: float = 1.0,
    ) -> None:
        if not math.isfinite(threshold):
            raise UsageError(f"joint: threshold = {threshold}: give a finite score")
        if not 0 < scale < math.inf:
            raise UsageError(f"joint: scale = {scale}: give more than 0")
        object.__setattr__(self, "attack", attack)
        object.__setattr__(self, "detector", SurrogateRef.of(detector))
        object.__setattr__(self, "threshold", threshold)
        object.__setattr__(self, "scale", scale)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """Attack both as one classifier; the added output counts as a failure."""
        detector = self.detector.network().to(problem.x.device)
        guarded = GuardedClassifier(probe.model, detector, self.threshold, self.scale)
        with probing(guarded) as seen:
            return self.attack.propose(seen, replace(problem, goal=Undetected(problem.goal)))

    def settings(self) -> dict[str, Any]:
        """Where the detector comes from, its threshold and scale."""
        return {
            "detector": self.detector.address,
            "threshold": self.threshold,
            "scale": self.scale,
        }
