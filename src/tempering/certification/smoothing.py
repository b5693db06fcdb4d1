"""Randomised smoothing: L2 certificates for the majority vote of any classifier under noise."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.certification.binomial import lower_bound, tie_chance
from tempering.certification.noisy_votes import Counted, Keep, NoisyVotes
from tempering.core.errors import DataError, UsageError
from tempering.core.random import RandomStreams
from tempering.core.records import Count
from tempering.core.tensors import require_tensors
from tempering.core.threats import TOLERANCE

ABSTAINED = -1
"""Prediction where the draws do not determine a winner."""

_LOST = 0.001
"""Chance that a sample is given up whose class is exactly as likely as it must be."""
BATCH_SIZE = 256
"""Default number of noisy images at a time."""


@dataclass(frozen=True, eq=False)
class SmoothedCertificate:
    """What is proved of the smoothed classifier, sample by sample, on the CPU.

    Each row is false with probability at most `alpha`, over the draws: of n samples, alpha
    n are expected to be false at most.

    Attributes:
        y: True classes, shape (n,), int64.
        selected: The class most voted for by the first draws, shape (n,), int64.
        hits: Votes for it among the other draws, shape (n,), int64.
        samples: How many other draws there were, for each sample.
        radius: The smoothed classifier answers `selected` everywhere closer than this, in L2
            on images in [0, 1]; 0 where it abstains; shape (n,), float64.
        given_up: Samples that were given up as hopeless; it abstains on them; shape (n,), bool.
        unreached: Samples that lack draws since the time was up; it abstains on them.
    """

    y: Tensor
    selected: Tensor
    hits: Tensor
    samples: int
    radius: Tensor
    given_up: Tensor
    unreached: int = 0

    def __len__(self) -> int:
        return len(self.y)

    @property
    def predicted(self) -> Tensor:
        """The class of the smoothed classifier, or ABSTAINED, shape (n,), int64."""
        return self.selected.where(self.radius > 0, ABSTAINED)

    def certified(self, eps: float) -> Tensor:
        """Whether no change of L2 length eps or less moves a sample off its true class.

        Args:
            eps: Length, at least 0; at 0 it says whether the class is proved for the image itself.

        Returns:
            Shape (n,), bool; False where the class is wrong, or the radius too small.

        Raises:
            UsageError: If eps is no length.
        """
        _check_length(eps)
        return (self.predicted == self.y) & (self.radius > eps)

    def count(self, eps: float) -> Count:
        """The number of samples certified at eps; abstentions and errors count as not certified."""
        return Count(hits=int(self.certified(eps).sum()), n=len(self))


@dataclass(frozen=True)
class Smoothing:
    """Certify the smoothed classifier: the class that a model answers most often under noise.

    Cohen, Rosenfeld and Kolter, 'Certified adversarial robustness via randomized
    smoothing', 2019, theorem 1 and section 3.2, with 1 - p for the probability of the
    runner-up. The first draws select a class, the others bound its probability p from below
    by Clopper and Pearson; the radius is sigma times the normal quantile of the bound.
    Where the bound is at most 1/2 it abstains.

    What it proves, and what not:

    - It proves nothing of the model itself, only of its vote under noise. Who wants the
      guarantee must deploy the vote (`predict`), noise and all. A model that was not trained
      under noise of this sigma is seldom certified far.
    - A sample's certificate is false with probability at most alpha.
    - Noise is added to images in [0, 1] and not cut to the box, as the theorem has it; the
      model must answer such images. One that cuts or squeezes its input itself is a classifier
      like any other, and the certificate holds for its vote; one that refuses pixels outside
      the box cannot be smoothed.
    - Draws must be independent: a model that uses statistics of its batch is refused, and one that
      remembers earlier images must not be smoothed.
    - The theorem is about real numbers and normal noise. The draws here are pseudo-random
      float32, and end at 5.77 sigma, beyond which 8e-9 of the noise of a pixel would lie.
    - Every certificate is of all draws. To stop once a bound is good enough would look at the
      draws more than once, and alpha would no longer hold. To give up a hopeless sample early is
      sound: it abstains, so nothing is claimed that could be false.

    Attributes:
        sigma: Standard deviation of the noise, in units of [0, 1], above 0.
        selection: Draws that select the class, at least 1.
        samples: Draws that bound its probability.
        alpha: Chance that the certificate of one sample is false, above 0 and below 1.

    Raises:
        UsageError: If a setting makes no sense, or so few samples can prove nothing at alpha.
    """

    name: ClassVar[str] = "smoothing"
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = "Cohen et al., 2019"

    sigma: float = 0.25
    selection: int = 100
    samples: int = 10_000
    alpha: float = 0.001

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise UsageError(
                f"smoothing: sigma = {self.sigma}: give a finite number above 0, such as 0.25"
            )
        for what in ("selection", "samples"):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"smoothing: {what} = {value}: give a whole number of at least 1")
        if not 0 < self.alpha < 1:
            raise UsageError(
                f"smoothing: alpha = {self.alpha}: give a chance above 0 and below 1, such as 0.001"
            )
        least = math.floor(-math.log2(self.alpha)) + 1
        if self.samples < least:
            raise UsageError(
                f"smoothing: samples = {self.samples} prove nothing at alpha {self.alpha:g}, "
                f"even if all agree: give at least {least}"
            )

    @property
    def largest_radius(self) -> float:
        """The largest possible radius, reached where all draws agree."""
        from scipy.special import ndtri

        return self.sigma * float(ndtri(self.alpha ** (1 / self.samples)))

    def draws_beyond(self, eps: float) -> float:
        """The least `samples` whose largest radius lies beyond eps; infinite if too many to count.

        Example:
            >>> smoothing = Smoothing(sigma=0.25, samples=1000)
            >>> smoothing.largest_radius > 0.6, smoothing.draws_beyond(0.6) <= 1000
            (True, True)
        """
        from scipy.special import log_ndtr

        chance = -float(log_ndtr(eps / self.sigma))
        draws = -math.log(self.alpha) / chance if chance > 0 else math.inf
        return math.floor(draws) + 1 if draws < 1e15 else math.inf

    def require(self, eps: float) -> None:
        """Refuse an eps at which no sample can be certified, whatever the draws say.

        Raises:
            UsageError: If eps lies beyond the largest radius; names it, and what would suffice.
        """
        if eps < self.largest_radius:
            return
        draws, wider = self.draws_beyond(eps), self.sigma * eps / self.largest_radius
        more = f"at least {draws:,} draws (--votes), or " if draws <= 1e9 else ""
        raise UsageError(
            f"eps {eps:g} lies beyond {self.largest_radius:.4g}, the largest radius that "
            f"{self.samples:,} draws with sigma {self.sigma:g} can certify: give {more}a sigma "
            f"above {wider:.3g} (--smoothing), or a smaller eps"
        )

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        random: RandomStreams | None = None,
        batch_size: int = BATCH_SIZE,
        seconds: float | None = None,
        eps: float | None = None,
    ) -> SmoothedCertificate:
        """Certify each image; `selection + samples` forward passes each.

        Args:
            model: From images to logits, shape (n, outputs); an output that means
                'adversarial' is a class like any other.
            x: Images in [0, 1], shape (n, c, h, w), float32 or float64.
            y: True classes, shape (n,), int64.
            random: One stream a sample; by default those of seed 0, samples 0 to n - 1.
            batch_size: Noisy images at a time, of one sample or of several; changes no draw.
            seconds: Time after which no batch is begun; samples that then lack draws abstain.
                None for no limit.
            eps: If given, only certificates of the true class beyond this radius matter. Samples
                are given up where the first draws select another class, and where the votes of a
                hundredth or a tenth of the other draws show that the class is too rare under
                noise; one that is likely enough is given up with probability at most 0.001 each
                time. Draws of other samples do not change. None to draw all.

        Returns:
            Classes, radii and votes.

        Raises:
            DataError: If images are not such, or labels do not fit them.
            UsageError: If there is not one stream a sample, or the batch size is below 1, or the
                time or eps is none.
            ModelError: If the model does not answer with finite logits, one for each class, or
                answers an image differently beside other images.

        Example:
            >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
            >>> x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 0])
            >>> Smoothing(samples=100)(net, x, y).count(eps=0.1).n
            3
        """
        _check_labels(x, y)
        classes = int(y.max()) + 1 if len(y) else 1
        rounds = (self.selection, self.samples)
        if seconds is not None and not seconds > 0:
            raise UsageError(f"seconds {seconds}: give more than 0, or None for no limit")
        if eps is not None:
            _check_length(eps)
        until = math.inf if seconds is None else time.monotonic() + seconds
        plan = NoisyVotes(self.sigma, rounds, batch_size, classes, until)
        pauses = () if eps is None else self._pauses()
        keep = None if eps is None else _Hopeful(self, y, eps)
        counted = self._counted(plan, model, x, random, "certify", pauses, keep)
        selected = counted.votes[:, 0].argmax(1)
        hits = counted.votes[:, 1].gather(1, selected[:, None])[:, 0]
        bound = lower_bound(hits, self.samples, self.alpha)
        radius = self.sigma * torch.special.ndtri(bound.clamp_min(0.5)).clamp_min(0.0)
        radius = radius.masked_fill(~counted.complete, 0.0)
        unreached = int((~(counted.complete | counted.left)).sum())
        return SmoothedCertificate(
            y.cpu(), selected, hits, self.samples, radius, counted.left, unreached
        )

    def predict(
        self,
        model: nn.Module,
        x: Tensor,
        random: RandomStreams | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Tensor:
        """Classify with the smoothed classifier, or abstain; `samples` forward passes each.

        The class with most votes, unless an exact binomial test at level alpha cannot tell
        it from the second (Cohen et al., 2019, section 3.2.1). An answer differs from the
        smoothed classifier's with probability at most alpha (their proposition 1).

        Args:
            model: From images to logits, shape (n, outputs).
            x: Images in [0, 1], shape (n, c, h, w), float32 or float64.
            random: One stream a sample; its draws are others than those that certify.
            batch_size: Noisy images at a time; changes no draw.

        Returns:
            Classes, or ABSTAINED, shape (n,), int64, on the CPU.

        Raises:
            DataError: If images are not such.
            UsageError: If there is not one stream a sample, or the batch size is below 1.
            ModelError: If the model does not answer with finite logits.

        Example:
            >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
            >>> with torch.no_grad():
            ...     _ = net[1].bias.copy_(torch.tensor([0.0, 100.0]))
            >>> Smoothing(samples=100).predict(net, torch.rand(2, 1, 2, 2)).tolist()
            [1, 1]
        """
        plan = NoisyVotes(self.sigma, (self.samples,), batch_size)
        votes = self._counted(plan, model, x, random, "predict").votes[:, 0]
        most, order = votes.sort(dim=1, descending=True, stable=True)
        second = most[:, 1] if most.shape[1] > 1 else torch.zeros_like(most[:, 0])
        sure = tie_chance(most[:, 0], second) <= self.alpha
        return order[:, 0].where(sure, ABSTAINED)

    def config(self) -> dict[str, Any]:
        """Settings for the record."""
        return {"name": self.name, **asdict(self)}

    def label(self) -> str:
        """A short name with its main setting, such as `smoothing-0.25`."""
        return f"{self.name}-{self.sigma:g}"

    def _counted(
        self,
        plan: NoisyVotes,
        model: nn.Module,
        x: Tensor,
        random: RandomStreams | None,
        purpose: str,
        pauses: Sequence[int] = (),
        keep: Keep | None = None,
    ) -> Counted:
        _check_images(x, random, plan.batch_size)
        streams = (random or RandomStreams.of(0, len(x))).on(x.device).derive(self.name, purpose)
        return plan.count(model, x, streams, purpose, pauses, keep)

    def _pauses(self) -> list[int]:
        """After the class is selected, and after a hundredth and a tenth of the other draws."""
        parts = [0, self.samples // 100, self.samples // 10]
        return sorted({self.selection + part for part in parts})

    def chance_beyond(self, eps: float) -> float:
        """How likely the class must be under noise for a radius of eps: its normal quantile."""
        from scipy.special import ndtr

        return float(ndtr(eps / self.sigma))


@dataclass(frozen=True, eq=False)
class _Hopeful:
    """Which samples may still be certified at eps.

    Attributes:
        smoothing: The settings.
        y: True classes.
        eps: The radius that matters.
    """

    smoothing: Smoothing
    y: Tensor
    eps: float

    def __call__(self, votes: Tensor, drawn: int) -> Tensor:
        """Whether the true class was selected, and is not surely too rare, shape (n,), bool."""
        y, drawn = self.y.to(votes.device), drawn - self.smoothing.selection
        hopeful = votes[:, 0].argmax(1) == y
        if not drawn:
            return hopeful
        misses = drawn - votes[:, 1].gather(1, y[:, None])[:, 0]
        most = 1 - lower_bound(misses.clamp_min(0), drawn, _LOST).to(votes.device)
        return hopeful & (most > self.smoothing.chance_beyond(self.eps))


def _check_length(eps: float) -> None:
    if not (math.isfinite(eps) and eps >= 0):
        raise UsageError(f"eps {eps:g}: give a finite length of at least 0, such as 0.5")


def _check_images(x: Tensor, random: RandomStreams | None, batch_size: int) -> None:
    if batch_size < 1:
        raise UsageError(f"batch_size {batch_size}: give at least 1")
    require_tensors(images=x)
    if x.ndim != 4 or x.dtype not in (torch.float32, torch.float64):
        raise DataError(
            f"images of type {x.dtype} and shape {tuple(x.shape)}: "
            "give float32 or float64 of shape (n, c, h, w)"
        )
    if random is not None and len(random) != len(x):
        raise UsageError(f"{len(random)} random streams for {len(x)} images: give one each")
    if len(x):
        low, high = (float(end) for end in x.aminmax())
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise DataError(f"images from {low:g} to {high:g}: give finite pixels in [0, 1]")


def _check_labels(x: Tensor, y: Tensor) -> None:
    require_tensors(images=x, labels=y)
    if y.dtype != torch.int64 or y.shape != x.shape[:1]:
        raise DataError(
            f"labels of type {y.dtype} and shape {tuple(y.shape)}: give int64 of shape ({len(x)},)"
        )
    if len(y) and int(y.min()) < 0:
        raise DataError(f"label {int(y.min())}: give classes counted from 0")
