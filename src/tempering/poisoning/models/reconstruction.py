"""The smallest trigger that makes a model answer a class, for each class (Neural Cleanse)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tempering.core.errors import DataError, UsageError
from tempering.core.probe import Probe, probing
from tempering.core.progress import Advance, track
from tempering.core.random import RandomStreams, derive, permutation
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset
from tempering.poisoning.triggers.overlay import Overlay

MOST_AT_ONCE = 512
"""Images that a step stamps together, over all target classes."""
_EDGE = 1e-3
"""How far masks and patterns keep from 0 and 1, where their gradient vanishes."""


@dataclass(frozen=True, eq=False)
class ReconstructedTrigger:
    """What makes a model answer a class.

    Attributes:
        target: Index of the class.
        trigger: Mask and pattern.
        size: Sum of the mask, in pixels.
        reached: Whether so many images followed it as were asked for.
    """

    target: int
    trigger: Overlay
    size: float
    reached: bool


@dataclass(frozen=True)
class NeuralCleanse:
    """Reconstruct the smallest trigger for each target class.

    Wang et al., 'Neural Cleanse: identifying and mitigating backdoor attacks in neural networks',
    2019, section IV: the cross-entropy of the target class plus the weighted sum of the mask is
    minimised by Adam. The weight grows while enough images follow the trigger, and falls
    otherwise. All classes take the same images and starts, and are optimised together.

    Attributes:
        steps: Steps of Adam for each class.
        batch_size: Images a step and class.
        success: Share of images that must follow a trigger, above 0 and below 1.
        learning_rate: Of Adam.
        window: Steps after which the weight of the mask changes.
        weight: First weight of the mask.
        factor: What the weight is multiplied by, above 1; it falls by this to the power 1.5.

    Raises:
        UsageError: If a setting is out of range.

    Example:
        `NeuralCleanse(steps=200).reconstruct(net, data.validation, seed=0)[7].size`
    """

    steps: int = 400
    batch_size: int = 32
    success: float = 0.99
    learning_rate: float = 0.1
    window: int = 10
    weight: float = 1e-3
    factor: float = 1.5

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "window"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: give at least 1")
        if not 0 < self.success < 1:
            raise UsageError(f"success {self.success}: give a share above 0 and below 1")
        if not (self.learning_rate > 0 and self.weight > 0 and self.factor > 1):
            raise UsageError(
                f"learning_rate {self.learning_rate}, weight {self.weight}, factor {self.factor}: "
                "give more than 0, more than 0 and more than 1"
            )

    def reconstruct(
        self, model: nn.Module, data: Dataset, seed: int = 0
    ) -> list[ReconstructedTrigger]:
        """One trigger a class, by number of the class.

        Args:
            model: From images in [0, 1] to logits; it is left as it is.
            data: Clean images of at least two classes.
            seed: Of the start and the batches.

        Raises:
            DataError: If all images are of one class.
            NoGradientError: If the logits have no gradient with respect to images.
            ModelError: If the model fails.
        """
        require_two_classes(data)
        classes = torch.arange(data.num_classes)
        groups = torch.split(classes, max(1, MOST_AT_ONCE // self.batch_size))
        found: list[ReconstructedTrigger] = []
        total = self.steps * len(groups)
        with probing(model) as probe, track("reconstructing triggers", total) as advance:
            for number, targets in enumerate(groups):
                search = _Search(self, probe, data, targets, seed, device_of(model))
                found += search.run(advance, number * self.steps)
        return found


def require_two_classes(data: Dataset) -> None:
    """Refuse data of a single class.

    Raises:
        DataError: Naming the class.
    """
    present = data.y.bincount().nonzero()[:, 0].tolist()
    if len(present) < 2:
        which = f"are of class {data.classes[present[0]]}" if present else "are missing"
        raise DataError(f"all images of {data.name} {which}: give images of at least 2 classes")


class _Search:
    """The search for the triggers of some classes, side by side."""

    def __init__(
        self,
        settings: NeuralCleanse,
        probe: Probe,
        data: Dataset,
        targets: Tensor,
        seed: int,
        device: torch.device,
    ) -> None:
        self.settings, self.probe, self.data = settings, probe, data
        self.targets, self.seed, self.device = targets.to(device), seed, device
        channels, height, width = data.shape
        start = RandomStreams.of(derive(seed, "trigger"), 1).uniform((channels + 1, height, width))
        start = start.expand(len(targets), -1, -1, -1).to(device)
        self.raw = _inverse(start).requires_grad_(True)
        self.optimizer = torch.optim.Adam([self.raw], settings.learning_rate, betas=(0.5, 0.9))
        self.weight = torch.full((len(targets),), settings.weight, device=device)
        self.best = start[:, :, :, :].clone()
        self.smallest = torch.full((len(targets),), torch.inf, device=device)
        self.reached = torch.zeros(len(targets), dtype=torch.bool, device=device)
        self.highest = torch.full((len(targets),), -1.0, device=device)

    def run(self, advance: Advance, done: int) -> list[ReconstructedTrigger]:
        followed = torch.zeros(len(self.targets), device=self.device)
        shown = torch.zeros_like(followed)
        order, epoch = torch.zeros(0, dtype=torch.int64), 0
        size = min(self.settings.batch_size, len(self.data))
        for step in range(1, self.settings.steps + 1):
            while len(order) < size:
                more = permutation(derive(self.seed, "batches", epoch), len(self.data))
                order, epoch = torch.cat([order, more]), epoch + 1
            rows, order = order[:size], order[size:]
            hits, others = self._step(rows)
            followed, shown = followed + hits, shown + others
            if step % self.settings.window == 0 or step == self.settings.steps:
                self._judge(followed / shown.clamp_min(1))
                followed, shown = torch.zeros_like(followed), torch.zeros_like(shown)
            advance(
                done + step, f"{int(self.reached.sum())} of {len(self.reached)} classes reached"
            )
        return self._found()

    def _step(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One step of Adam; how many images followed each trigger, and how many were to."""
        x = self.data.images(rows).to(self.device)
        y = self.data.y[rows].to(self.device)
        count, batch = len(self.targets), len(x)
        mask, pattern = _parts(self.raw)
        stamped = x * (1 - mask[:, None]) + pattern[:, None] * mask[:, None]
        wanted = self.targets.repeat_interleave(batch)
        other = (y != self.targets[:, None]).float()
        share = (other / other.sum(1, keepdim=True).clamp_min(1)).flatten()

        def loss(logits: Tensor) -> Tensor:
            return F.cross_entropy(logits, wanted, reduction="none") * share

        logits, gradient = self.probe.gradient(stamped.detach().flatten(0, 1), loss)
        penalty = (self.weight * mask.sum((1, 2, 3))).sum()
        self.optimizer.zero_grad()
        torch.autograd.backward([stamped, penalty], [gradient.view_as(stamped), None])
        self.optimizer.step()
        hits = (logits.argmax(1) == wanted).view(count, batch).float() * other
        return hits.sum(1), other.sum(1)

    @torch.no_grad()
    def _judge(self, share: Tensor) -> None:
        """Keep the smallest triggers that enough images follow, and change the weights."""
        mask, pattern = _parts(self.raw)
        size = mask.sum((1, 2, 3))
        enough = share >= self.settings.success
        nearer = ~enough & ~self.reached & (share > self.highest)
        better = (enough & (size < self.smallest)) | nearer
        now = torch.cat([mask, pattern], 1)
        self.best = torch.where(better[:, None, None, None], now, self.best)
        self.smallest = torch.where(enough & better, size, self.smallest)
        self.highest = torch.maximum(self.highest, share)
        self.reached |= enough
        up, down = self.settings.factor, self.settings.factor**-1.5
        self.weight = torch.where(enough, self.weight * up, self.weight * down)

    def _found(self) -> list[ReconstructedTrigger]:
        held = self.best.cpu()
        return [
            ReconstructedTrigger(
                int(target),
                Overlay(both[1:].clone(), both[0].clone()),
                float(both[0].sum()),
                bool(reached),
            )
            for target, both, reached in zip(self.targets, held, self.reached, strict=True)
        ]


def _inverse(values: Tensor) -> Tensor:
    """What `_parts` maps to these values."""
    return torch.atanh((2 * values - 1).clamp(_EDGE - 1, 1 - _EDGE))


def _parts(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mask, shape (k, 1, h, w), and pattern, shape (k, c, h, w), in [0, 1]."""
    both = (torch.tanh(raw) + 1) / 2
    return both[:, :1], both[:, 1:]
