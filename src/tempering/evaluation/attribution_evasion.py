"""The attacker who knows the attribution detector: one loss on classifier and score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tempering.core.errors import FailedModelError, NoGradientError
from tempering.core.goals import log_odds, reached
from tempering.core.probe import Probe
from tempering.core.progress import track
from tempering.core.smooth_rectifiers import SmoothRectifiers
from tempering.core.threats import Threat
from tempering.evaluation.attribution_detector import attribution_scores, score_graph

STEPS = 40
SURE = 1.0
"""Log odds of a wrong class above which the classifier's loss counts as won."""
SOFTPLUS, NO_GRADIENT = "softplus", "none"

Protected = Callable[[Tensor, Tensor], Tensor]
"""Rows and their logits -> outputs that do not count as success, shape of the logits, bool."""


@dataclass(frozen=True, eq=False)
class Evasion:
    """Images of the attacker who knows the detector, on the model's device.

    Attributes:
        x_adv: Of each sample the image that fools the classifier with the least score above the
            aim; where none does, one on which the classifier is least sure.
        gradient: `softplus` where second derivatives were followed, `none` where there are none.
    """

    x_adv: Tensor
    gradient: str


def evade(
    probe: Probe,
    x: Tensor,
    threat: Threat,
    starts: Sequence[Tensor],
    protected: Protected,
    aim: float,
    batch_size: int = 256,
    steps: int = STEPS,
) -> Evasion:
    """Fool the classifier and keep the detector's score low, by projected gradient steps.

    A step ascends the classifier's loss alone while the classifier is right; then that loss, until
    it is clearly won, less the score, until that is down to the aim (compare Bryniarski et al.,
    2021). Both gradients have length 1. The score is differentiated through the model with
    softplus for rectifiers; what is kept is decided by the score of the model as it is.

    Args:
        probe: The model.
        x: Clean images in [0, 1], shape (n, c, h, w).
        threat: What may change.
        starts: Images within the threat to start from, each of the shape of x, such as those of
            attacks that do not know the detector.
        protected: From rows of x and logits to the outputs that do not count as success.
        aim: Score that is low enough, such as the median of clean images: images with far less
            would stand out as well.
        batch_size: Images at a time.
        steps: From each start.

    Returns:
        One image a sample, within the threat.

    Raises:
        ModelError: If the model fails.
    """
    best, gradient = x.clone(), NO_GRADIENT
    walks, done = len(starts) * (steps + 1), 0
    with track("adaptive attack on classifier and attribution", walks * len(x)) as advance:
        for at in range(0, len(x), batch_size):
            rows = torch.arange(at, min(at + batch_size, len(x)), device=x.device)
            search = _Search(probe, x[rows], threat, partial(protected, rows), aim)
            for start in starts:
                for _ in search.walk(start[rows], steps):
                    done += len(rows)
                    advance(done, "")
            best[rows] = search.best
            gradient = SOFTPLUS if search.followed else gradient
    return Evasion(best, gradient)


class _Search:
    """The best image of each sample so far."""

    def __init__(
        self,
        probe: Probe,
        x: Tensor,
        threat: Threat,
        protected: Callable[[Tensor], Tensor],
        aim: float,
    ) -> None:
        self.probe, self.x, self.threat, self.aim = probe, x, threat, aim
        self.protected = protected
        self.best = x.clone()
        self.value = x.new_full((len(x),), torch.inf)
        self.followed = False

    def walk(self, start: Tensor, steps: int) -> Iterator[int]:
        """Walk from images within the threat; gives the number of each step."""
        current = start.clone()
        for step in range(steps + 1):
            logits, away = self.probe.gradient(current, self._loss)
            odds = self._loss(logits)
            scores = self._keep(current, logits, odds)
            yield step
            if step == steps or self.threat.eps == 0:
                return
            fooled = reached(logits, self.protected(logits))
            suspect = _column((scores > self.aim) & fooled, away)
            toward = _unit(away) * _column(~fooled | (odds <= SURE), away)
            direction = toward - _unit(self._score_gradient(current)) * suspect
            share = 0.1 * (1 - step / steps) + 0.01
            current = self.threat.project(current + self._move(direction, share), self.x)

    def _loss(self, logits: Tensor) -> Tensor:
        return log_odds(logits, self.protected(logits))

    def _move(self, direction: Tensor, share: float) -> Tensor:
        if self.threat.norm in ("linf", "l2", "l1"):
            return 2 * share * self.threat.eps * self.threat.ascent(direction)
        return 2 * share * direction.sign()

    def _keep(self, current: Tensor, logits: Tensor, odds: Tensor) -> Tensor:
        """Keep what is better than before; the scores of the images, shape (n,).

        A score is below 3; images that do not fool the classifier come after all others.
        """
        scores = attribution_scores(self.probe, current, len(current)).to(self.x)
        sure = torch.sigmoid(-odds).to(self.x)
        low = (scores - self.aim).clamp_min(0.0) + 1e-3 * sure
        value = torch.where(reached(logits, self.protected(logits)), low, 3 + sure)
        better = value < self.value
        self.best = torch.where(_column(better, current) > 0, current, self.best)
        self.value = torch.where(better, value, self.value)
        return scores

    def _score_gradient(self, current: Tensor) -> Tensor:
        """The gradient of the score through the smooth model; zero where there is none."""
        leaf = current.detach().clone().requires_grad_(True)
        try:
            with SmoothRectifiers():
                score = score_graph(self.probe, leaf)
                gradient: Tensor = torch.autograd.grad(score.sum(), leaf)[0]
        except (RuntimeError, NoGradientError, FailedModelError):
            return torch.zeros_like(current)
        gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
        self.followed = self.followed or bool((gradient != 0).any())
        return gradient


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype)[:, None, None, None]


def _unit(gradient: Tensor) -> Tensor:
    """Gradients of length 1; zero ones stay zero."""
    flat = gradient.flatten(1)
    scaled = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    length = scaled.square().sum(1, keepdim=True).sqrt().clamp_min(torch.finfo(flat.dtype).tiny)
    return (scaled / length).reshape(gradient.shape)
