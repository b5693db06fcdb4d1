"""Scan labelled data for poison: scores, suspects and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, UsageError
from tempering.core.progress import track
from tempering.core.random import derive
from tempering.data.dataset import Dataset
from tempering.poisoning.ensemble import Ensemble, combine
from tempering.poisoning.features import Features
from tempering.poisoning.planting import KINDS, Planted, plant
from tempering.poisoning.scans.base import ScanScores
from tempering.poisoning.scans.names import NAMES
from tempering.poisoning.scans.registry import SCANS
from tempering.poisoning.threshold import (
    Threshold,
    chance_of,
    threshold_by_clean,
    threshold_by_planted,
)

SMALLEST_CLASS = 12
"""Samples of a class at least: clusters and principal components need so many."""
SMALLEST_SIDE = 4
"""Pixels of a side of an image at least, for the small networks."""
MOST_CLEAN = 10_000
"""Samples of clean reference data at most."""
SIGNIFICANT = 0.001
"""Probability of so many suspects in clean data below which data are suspicious."""
REASONS = 2
"""Scans that a reason names."""


@dataclass(frozen=True, eq=False)
class DataScan:
    """The result of a scan.

    Attributes:
        data: What was scanned.
        fpr: Share of clean samples that may be suspect.
        scans: Scan -> its scores of the samples, and of clean and planted ones behind them.
        ensemble: All of them as one score.
        threshold: Above which score a sample is suspect.
        features: What the scans looked at.
        kind: Kind of planted poison, -1 for others, of samples, clean and planted ones.
    """

    data: Dataset
    fpr: float
    scans: Mapping[str, ScanScores]
    ensemble: Ensemble
    threshold: Threshold
    features: Features
    kind: Tensor

    @cached_property
    def score(self) -> Tensor:
        """Higher is more suspect, shape (n,), float32."""
        return self.ensemble.score[: len(self.data)]

    @cached_property
    def keep(self) -> Tensor:
        """Whether each sample is below the threshold, shape (n,), bool."""
        return self.score <= self.threshold.value

    @property
    def suspects(self) -> Tensor:
        """Rows of the suspects, the most suspect first, shape (k,), int64."""
        order = self.score.argsort(descending=True, stable=True)
        return order[~self.keep[order]]

    @property
    def expected(self) -> float:
        """Number of suspects that chance alone would give."""
        return self.fpr * len(self.data)

    @property
    def excess(self) -> float:
        """Share of the samples that are suspects beyond chance, at least 0."""
        return max(0.0, (len(self.suspects) - self.expected) / len(self.data))

    @cached_property
    def p_value(self) -> float:
        """Probability of so many suspects, or more, if all samples are clean."""
        return chance_of(len(self.suspects), len(self.data), self.fpr, self.threshold)

    @property
    def suspicious(self) -> bool:
        """Whether there are significantly more suspects than chance explains."""
        return self.p_value < SIGNIFICANT

    def like(self, row: int) -> str:
        """The kind of planted poison that a sample is most like."""
        return KINDS[int(self.ensemble.odds[row].argmax())]

    def reason(self, row: int) -> str:
        """Why a sample is suspect, in words: what the scans that count most say of it."""
        like = self.like(row)
        names = list(self.scans)
        slope = torch.tensor([self.ensemble.weights[name][like] for name in names])
        parts = self.ensemble.spread[row] * slope
        leading = [at for at in parts.argsort(descending=True).tolist() if float(parts[at]) > 0]
        said = [self.scans[names[at]].reason(row) for at in leading[:REASONS]]
        return "; ".join(said) or "scores of no scan stand out"

    def reasons(self) -> list[str]:
        """The reason for each suspect, empty for other samples."""
        suspect = set(self.suspects.tolist())
        return [self.reason(row) if row in suspect else "" for row in range(len(self.data))]

    def seen(self, score: Tensor | None = None) -> dict[str, float]:
        """Kind of planted poison -> share of its copies that are suspect.

        Args:
            score: Of one scan, whose threshold is then the quantile of the data that the
                false-positive rate allows; None for the ensemble.
        """
        if score is None:
            score, value = self.ensemble.score, self.threshold.value
        else:
            own = score[: len(self.data)].sort(descending=True).values
            value = float(own[min(len(own) - 1, int(self.expected))])
        return {
            name: float((score[self.kind == at] > value).float().mean())
            for at, name in enumerate(KINDS)
        }

    def clean_neighbours(self, row: int, count: int = 3) -> list[int]:
        """Rows of the nearest neighbours that are samples and no suspects."""
        near = self.features.neighbours.row[row].tolist()
        return [at for at in near if at < len(self.data) and bool(self.keep[at])][:count]


def scan_samples(
    data: Dataset,
    fpr: float = 0.01,
    *,
    scans: Sequence[str] | None = None,
    clean: Dataset | None = None,
    model: nn.Module | None = None,
    seed: int = 0,
) -> DataScan:
    """Scan labelled images for poison; nothing is dropped.

    Poison is planted in a copy of the data, so that the scan learns what it looks like there.

    Args:
        data: Training data.
        fpr: Share of clean samples that may be suspect, above 0 and below 0.5.
        scans: Names of scans; None for all.
        clean: Samples that are known to be clean: the threshold is then a quantile of their
            scores. None to estimate it.
        model: A network whose features are used in place of those of small networks that are
            trained on the data.
        seed: Of all draws.

    Raises:
        UsageError: If the rate is out of range, or finer than the data can show.
        UnknownNameError: If there is no such scan.
        DataError: If the data has one class alone, or a class too few samples; if every sample
            would be suspect.

    Example:
        `scan_samples(tempering.data.load("mnist").train, fpr=0.01).keep`
    """
    chosen = {name: SCANS[name] for name in (NAMES if scans is None else scans)}
    if not chosen:
        raise UsageError(f"no scans: give some of {', '.join(NAMES)}")
    check_rate(fpr, len(data) if clean is None else len(clean))
    require_scannable(data)
    reference = None if clean is None else _reference(clean, data)
    planted = plant(data, derive(seed, "scan"))
    everything = planted if reference is None else _with_clean(planted, reference)
    features = Features(everything.data, everything.group, derive(seed, "features"), model)
    scores: dict[str, ScanScores] = {}
    with track("scanning", len(chosen)) as advance:
        for at, (name, scan) in enumerate(chosen.items(), 1):
            scores[name] = scan(features)
            advance(at, name)
    ensemble = combine({name: each.score for name, each in scores.items()}, everything.kind)
    own, copies = ensemble.score[: len(data)], ensemble.score[everything.kind >= 0]
    if reference is None:
        threshold = threshold_by_planted(own, copies, fpr)
    else:
        known = ensemble.score[len(data) : len(data) + len(reference)]
        threshold = threshold_by_clean(known, copies, fpr)
    done = DataScan(data, fpr, scores, ensemble, threshold, features, everything.kind)
    if not bool(done.keep.any()):
        raise DataError(
            f"every sample of {data.name} is suspect: the scan cannot tell what is clean: give "
            "clean reference data of the same kind"
        )
    return done


def check_rate(fpr: float, n: int) -> None:
    """Check a false-positive rate.

    Raises:
        UsageError: If it is out of range, or n samples cannot show it.
    """
    if not 0 < fpr < 0.5:
        raise UsageError(f"--fpr {fpr:g}: give a share above 0 and below 0.5, such as 0.01")
    if fpr * n < 1:
        raise UsageError(
            f"--fpr {fpr:g} of {n:,} samples is less than one: give at least {1.001 / n:.2g}"
        )


def require_scannable(data: Dataset) -> None:
    """Refuse data that cannot be scanned.

    Raises:
        DataError: If it has one class alone, a class too few samples, or images are too small.
    """
    counts = torch.bincount(data.y, minlength=data.num_classes)
    present = (counts > 0).nonzero()[:, 0].tolist()
    if len(present) < 2:
        raise DataError(
            f"{data.name} has samples of one class alone, {data.classes[present[0]]}: give data "
            "of at least two classes"
        )
    for label in present:
        if int(counts[label]) < SMALLEST_CLASS:
            raise DataError(
                f"class {data.classes[label]} of {data.name} has {int(counts[label])} samples: a "
                f"scan needs at least {SMALLEST_CLASS} of each class"
            )
    if min(data.shape[1:]) < SMALLEST_SIDE:
        raise DataError(
            f"images of {data.name} are {data.shape[1]} x {data.shape[2]} pixels: give at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )


def _reference(clean: Dataset, data: Dataset) -> Dataset:
    """Some of the clean data, as the same kind of data."""
    if clean.shape != data.shape or clean.classes != data.classes:
        raise DataError(
            f"clean data {clean.name} has images {clean.shape} of {clean.num_classes} classes, "
            f"{data.name} has {data.shape} of {data.num_classes}: give data of the same kind"
        )
    some = clean.take(min(MOST_CLEAN, len(clean)))
    pixels = some.pixels
    if pixels.dtype != data.pixels.dtype:
        pixels = some.x if data.pixels.is_floating_point() else (255 * some.x).round().byte()
    return replace(some, pixels=pixels, ids=some.ids.under("clean/"))


def _with_clean(planted: Planted, clean: Dataset) -> Planted:
    """Clean samples between the data and the planted copies."""
    n, held = planted.own, planted.data
    data = Dataset(
        torch.cat([held.pixels[:n], clean.pixels, held.pixels[n:]]),
        torch.cat([held.y[:n], clean.y, held.y[n:]]),
        held.classes,
        held.name,
        held.ids[torch.arange(n)] + clean.ids + held.ids[torch.arange(n, len(held))],
    )
    groups = torch.arange(n, n + len(clean))
    return Planted(
        data,
        torch.cat([planted.group[:n], groups, planted.group[n:]]),
        torch.cat([planted.kind[:n], torch.full_like(groups, -1), planted.kind[n:]]),
    )
