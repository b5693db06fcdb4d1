"""One adversarial patch for all images, at any place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import BATCH_SIZE, Attack, Problem
from tempering.attacks.learning import TrainingLoss, as_problem, in_order
from tempering.attacks.patch import patch_of
from tempering.attacks.steps import check_steps
from tempering.core.errors import ThreatError
from tempering.core.goals import Goal
from tempering.core.hashing import tensor_hash
from tempering.core.patches import Patch
from tempering.core.probe import Probe, probing
from tempering.core.random import RandomStreams
from tempering.core.threat_words import exact
from tempering.core.threats import Threat


@dataclass(frozen=True)
class UniversalPatch(Attack):
    """Train one patch that fools the model on any image and at any place.

    Brown, Mané, Roy, Abadi and Gilmer, 'Adversarial patch', 2017. In each epoch the
    patch is placed at random on every image and takes a step along the sign of the mean
    gradient. Called as an attack it is trained on the images under attack, so the result
    for an image depends on all of them; `fit` returns the patch as an attack of its own.

    Attributes:
        epochs: Passes through the images, at least 1.
        step_size: Length of a step in pixel units.
    """

    name: ClassVar[str] = "universal-patch"
    norms: ClassVar[tuple[str, ...]] = ("patch",)
    source: ClassVar[str] = "Brown, Mané, Roy, Abadi and Gilmer, 2017"
    cost: ClassVar[str] = "epochs x (forward + backward)"

    epochs: int = 100
    step_size: float = 0.05

    def __post_init__(self) -> None:
        check_steps(self.name, self.epochs, self.step_size)

    def batch_dependent(self) -> bool:
        """True: it is trained on all samples."""
        return True

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The images with the patch that was trained on them."""
        return self._train(probe, problem).propose(probe, problem)

    def fit(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Patch,
        random: RandomStreams | None = None,
        goal: Goal | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> FixedPatch:
        """Train a patch on images; arguments as for calling an attack.

        Args:
            model: From images in [0, 1] to logits.
            x: Images in [0, 1], shape (n, c, h, w), at least one.
            y: Labels, shape (n,), int64.
            threat: Size and place.
            random: One stream per sample.
            goal: What counts as success.
            batch_size: Samples at a time.

        Returns:
            The patch, as an attack.

        Raises:
            ThreatError: If the threat is no patch or exceeds the image.
            UsageError: If there is no image.
        """
        problem = as_problem(self, x, y, threat, random, goal, batch_size)
        with probing(model) as probe:
            return self._train(probe, problem)

    def _train(self, probe: Probe, problem: Problem) -> FixedPatch:
        problem = in_order(problem)
        threat = patch_of(problem)
        height, width = problem.x.shape[2:]
        side = threat.side(height, width)
        patch = torch.full(
            (problem.x.shape[1], min(side, height), min(side, width)),
            0.5,
            dtype=problem.x.dtype,
            device=problem.x.device,
        )
        for epoch in range(self.epochs):
            total = torch.zeros_like(patch)
            for rows in problem.batches():
                streams = problem.streams[rows].derive("epoch", epoch)
                mask = threat.random(problem.x[rows].shape, streams)
                x_adv = _put(problem.x[rows], patch, mask)
                objective = TrainingLoss(problem.goal, problem.y[rows], probe)
                gradient = objective.gradient(x_adv, problem.streams.index[rows])
                inside = gradient.movedim(1, -1)[mask[:, 0]]
                inside = inside.reshape(len(rows), *patch.shape[1:], patch.shape[0])
                total += inside.sum(0).movedim(-1, 0)
            patch = (patch + self.step_size * total.sign()).clamp(0.0, 1.0)
        return FixedPatch(threat, tensor_hash({"patch": patch}), patch)


@dataclass(frozen=True)
class FixedPatch(Attack):
    """A patch that is placed at random on each image; the model is not queried.

    Attributes:
        threat: Size and place for which it was trained.
        content: Hash of the patch.
        patch: Its pixels, shape (c, side, side).
    """

    name: ClassVar[str] = "fixed-patch"
    norms: ClassVar[tuple[str, ...]] = ("patch",)
    access: ClassVar[str] = "none"
    source: ClassVar[str] = "Brown, Mané, Roy, Abadi and Gilmer, 2017"
    cost: ClassVar[str] = "no pass"

    threat: Patch
    content: str
    patch: Tensor = field(compare=False, repr=False)

    def require(self, threat: Threat) -> None:
        """Refuse a threat that does not allow a patch of this size.

        Raises:
            ThreatError: If it is no patch, or a smaller one.
        """
        super().require(threat)
        if threat.eps < self.threat.eps:
            raise ThreatError(
                f"a patch trained for {self.threat} under {threat}: give {self.threat}"
            )

    def propose(self, probe: Probe, problem: Problem) -> Tensor:  # noqa: ARG002 - not asked
        """Images with the patch."""
        threat = patch_of(problem)
        if threat.at is None:
            threat = self.threat
        threat = replace(threat, eps=self.threat.eps)
        mask = threat.random(problem.x.shape, problem.streams)
        return _put(problem.x, self.patch.to(problem.x), mask)

    def config(self) -> dict[str, Any]:
        """Threat and hash of the pixels."""
        return {"name": self.name, "threat": exact(str(self.threat)), "content": self.content}


def _put(x: Tensor, patch: Tensor, mask: Tensor) -> Tensor:
    """Images with a patch where the masks are."""
    out = x.movedim(1, -1).clone()
    pixels = patch.movedim(0, -1).expand(len(x), *patch.shape[1:], patch.shape[0])
    out[mask[:, 0]] = pixels.reshape(-1, patch.shape[0])
    return out.movedim(-1, 1).contiguous()
