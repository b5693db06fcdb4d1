"""Joint detection: attacks on a classifier and the detector beside it, both at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack, Problem
from tempering.attacks.owned import Owned
from tempering.attacks.wrapping import Wrapping
from tempering.core.errors import ModelError, UsageError
from tempering.core.goals import Undetected
from tempering.core.probe import Probe, probing


class Guarded(nn.Module):
    """A classifier and a detector as one classifier, whose last output wins if it is flagged.

    Carlini and Wagner, 'Adversarial examples are not easily detected', 2017, section
    3.1: the last logit is the largest of the others plus the detector's score less its
    threshold.

    Attributes:
        classifier: Images to logits.
        detector: Images to one score each, larger for what is more suspicious.
        threshold: Score above which an image is flagged.
        scale: Logits that one unit of score is worth.
    """

    def __init__(
        self, classifier: nn.Module, detector: nn.Module, threshold: float, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.classifier, self.detector = classifier, detector
        self.threshold, self.scale = threshold, scale

    def forward(self, x: Tensor) -> Tensor:
        """Logits and the flag's, shape (n, classes + 1).

        Raises:
            ModelError: If the detector does not answer with one score an image.
        """
        logits, scores = self.classifier(x), self.detector(x)
        if not isinstance(scores, Tensor) or scores.numel() != len(x):
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ModelError(
                f"the detector returned {shape} for {len(x)} images: return one score an image"
            )
        excess = self.scale * (scores.reshape(len(x), 1) - self.threshold)
        return torch.cat([logits, logits.amax(1, keepdim=True) + excess], 1)


@dataclass(frozen=True, init=False)
class JointDetection(Wrapping):
    """Fool the classifier and stay below the detector's threshold, in one attack.

    Carlini and Wagner, 'Adversarial examples are not easily detected: bypassing ten
    detection methods', 2017. The attack runs on both as one classifier with an output
    more; its goal is widened by that output. A model with an adversarial class of its
    own needs no wrapper: its attacker's goal is `core.goals.EvadeDetector`.

    Attributes:
        attack: What runs, such as PGD; within, BPDA or EOT for detectors that need it.
        detector: Images in [0, 1] to one score each, larger for what is more suspicious.
        threshold: Score above which an image is flagged.
        scale: Logits that one unit of score is worth, above 0.

    Example:
        `JointDetection(PGD(steps=100), detector, threshold=0.5)(model, x, y, Linf(0.3))`
    """

    name: ClassVar[str] = "joint"
    source: ClassVar[str] = "Carlini and Wagner, 2017"
    cost: ClassVar[str] = "its attack's, through classifier and detector"

    detector: Owned
    threshold: float
    scale: float

    def __init__(
        self,
        attack: Attack,
        detector: nn.Module | Owned | str | Path,
        threshold: float,
        scale: float = 1.0,
    ) -> None:
        if not math.isfinite(threshold):
            raise UsageError(f"joint: threshold = {threshold}: give a finite score")
        if not 0 < scale < math.inf:
            raise UsageError(f"joint: scale = {scale}: give more than 0")
        object.__setattr__(self, "attack", attack)
        object.__setattr__(self, "detector", Owned.of(detector))
        object.__setattr__(self, "threshold", threshold)
        object.__setattr__(self, "scale", scale)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """What the attack proposes for both together."""
        detector = self.detector.network().to(problem.x.device)
        both = Guarded(probe.model, detector, self.threshold, self.scale)
        with probing(both) as seen:
            return self.attack.propose(seen, replace(problem, goal=Undetected(problem.goal)))

    def settings(self) -> dict[str, Any]:
        """The detector's address and threshold."""
        return {
            "detector": self.detector.address,
            "threshold": self.threshold,
            "scale": self.scale,
        }
