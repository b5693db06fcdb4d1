"""One adversarial patch for all images, at any place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import BATCH_SIZE, Attack, Problem
from tempering.attacks.learning import Teacher, as_problem, in_order
from tempering.attacks.patch import patch_of
from tempering.attacks.steps import check_steps
from tempering.core.errors import ThreatError
from tempering.core.goals import Goal
from tempering.core.hashing import tensor_hash
from tempering.core.patches import Patch
from tempering.core.probe import Probe, probing
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat


@dataclass(frozen=True)
class UniversalPatch(Attack):
    """Learn one patch that fools on whatever image and at whatever place it is put.

    Brown, Mané, Roy, Abadi and Gilmer, 'Adversarial patch', 2017. In each epoch every
    image gets the patch at a place of its own, and the patch steps along the sign of
    the mean gradient. Called like other attacks it learns from the images that it is
    given, so its result for an image depends on all of them; `fit` gives the patch
    itself, as an attack that can be put on others.

    Attributes:
        epochs: Passes through the images, at least 1.
        step_size: Length of a step in pixel units.
    """

    name: ClassVar[str] = "universal-patch"
    norms: ClassVar[tuple[str, ...]] = ("patch",)
    source: ClassVar[str] = "Brown, Mané, Roy, Abadi and Gilmer, 2017"
    cost: ClassVar[str] = "100 gradients a sample"

    epochs: int = 100
    step_size: float = 0.05

    def __post_init__(self) -> None:
        check_steps(self.name, self.epochs, self.step_size)

    def batch_dependent(self) -> bool:
        """It does."""
        return True

    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        """The images with the patch that was learned from them."""
        return self._learn(probe, problem).propose(probe, problem)

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
        """Learn a patch from images; arguments as for calling an attack.

        Args:
            model: From images in [0, 1] to logits.
            x: Images in [0, 1], shape (n, c, h, w), at least one.
            y: Labels, shape (n,), int64.
            threat: Size and place.
            random: One stream a sample.
            goal: What counts as success.
            batch_size: Samples at a time.

        Returns:
            The patch, as an attack.

        Raises:
            ThreatError: If the threat is no patch or leaves the image.
            UsageError: If there is no image.
        """
        problem = as_problem(self, x, y, threat, random, goal, batch_size)
        with probing(model) as probe:
            return self._learn(probe, problem)

    def _learn(self, probe: Probe, problem: Problem) -> FixedPatch:
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
                teacher = Teacher(problem.goal, problem.y[rows], probe)
                gradient = teacher.gradient(x_adv, problem.streams.index[rows])
                inside = gradient.movedim(1, -1)[mask[:, 0]]
                inside = inside.reshape(len(rows), *patch.shape[1:], patch.shape[0])
                total += inside.sum(0).movedim(-1, 0)
            patch = (patch + self.step_size * total.sign()).clamp(0.0, 1.0)
        return FixedPatch(threat, tensor_hash({"patch": patch}), patch)


@dataclass(frozen=True)
class FixedPatch(Attack):
    """A patch that is put on images, each at a place of its own; the model is not asked.

    Attributes:
        threat: Size and place, as it was learned for.
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
        """Refuse any threat but one that allows a patch of this size.

        Raises:
            ThreatError: If it is no patch, or a smaller one.
        """
        super().require(threat)
        if threat.eps < self.threat.eps:
            raise ThreatError(f"a patch made for {self.threat} under {threat}: give {self.threat}")

    def propose(self, probe: Probe, problem: Problem) -> Tensor:  # noqa: ARG002 - not asked
        """Images with the patch."""
        threat = patch_of(problem)
        if threat.at is None:
            threat = self.threat
        threat = replace(threat, eps=self.threat.eps)
        mask = threat.random(problem.x.shape, problem.streams)
        return _put(problem.x, self.patch.to(problem.x), mask)

    def config(self) -> dict[str, Any]:
        """Threat and hash; the pixels are not for a record."""
        return {"name": self.name, "threat": str(self.threat), "content": self.content}


def _put(x: Tensor, patch: Tensor, mask: Tensor) -> Tensor:
    """Images with a patch where the masks are."""
    out = x.movedim(1, -1).clone()
    pixels = patch.movedim(0, -1).expand(len(x), *patch.shape[1:], patch.shape[0])
    out[mask[:, 0]] = pixels.reshape(-1, patch.shape[0])
    return out.movedim(-1, 1).contiguous()
