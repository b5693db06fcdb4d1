"""Scan labelled data for poison: scores, suspects and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, UsageError
from tempering.core.random import derive
from tempering.data.dataset import Dataset
from tempering.poisoning.ensemble import Ensemble
from tempering.poisoning.scan_round import ScanRound, scan_once
from tempering.poisoning.scans.base import ScanScores
from tempering.poisoning.scans.names import NAMES
from tempering.poisoning.scans.registry import SCANS

SMALLEST_CLASS = 12
"""Samples of a class at least: clusters and principal components need so many."""
SMALLEST_SIDE = 4
"""Pixels of a side of an image at least, for the small networks."""
MOST_CLEAN = 10_000
"""Samples of clean reference data at most."""
ROUNDS = 3
"""Rounds at most."""
_COMPARED = 1000


@dataclass(frozen=True, eq=False)
class DataScan:
    """The result of a scan.

    What is left of suspicious data is scanned again: poison that was frequent is rare then, and
    shows in other scans. Only suspicious rounds count beside the first.

    Attributes:
        data: What was scanned.
        fpr: Share of clean samples that may be suspect, in a round.
        rounds: Rows of the data that were scanned, shape (k,), int64, and what was found.
    """

    data: Dataset
    fpr: float
    rounds: tuple[tuple[Tensor, ScanRound], ...]

    @property
    def first(self) -> ScanRound:
        """The round of all samples."""
        return self.rounds[0][1]

    @property
    def scans(self) -> Mapping[str, ScanScores]:
        """Scan -> its scores in the first round: of samples, clean and planted ones."""
        return self.first.scans

    @property
    def ensemble(self) -> Ensemble:
        """The first round's."""
        return self.first.ensemble

    @cached_property
    def score(self) -> Tensor:
        """By how much each sample is above the threshold, shape (n,), float32."""
        score = torch.zeros(len(self.data))
        for rows, each in self.rounds:
            score[rows] = each.score
        return score

    @cached_property
    def keep(self) -> Tensor:
        """Whether each sample is not above the threshold, shape (n,), bool."""
        return self.score <= 0

    @property
    def suspects(self) -> Tensor:
        """Rows of the suspects, the most suspect first, shape (k,), int64."""
        order = self.score.argsort(descending=True, stable=True)
        return order[~self.keep[order]]

    @property
    def expected(self) -> float:
        """Number of suspects that chance alone would give."""
        return sum(each.expected for _, each in self.rounds)

    @property
    def excess(self) -> float:
        """Share of the samples that are suspects beyond chance, at least 0."""
        return max(0.0, (len(self.suspects) - self.expected) / len(self.data))

    @property
    def p_value(self) -> float:
        """Probability of so many suspects in the first round, or more, if all are clean."""
        return self.first.p_value

    @property
    def suspicious(self) -> bool:
        """Whether there are significantly more suspects than chance explains."""
        return self.first.suspicious

    def like(self, row: int) -> str:
        """The kind of planted poison that a sample is most like, or `learned trigger`."""
        each, at = self._last(row)
        return each.like(at)

    def reason(self, row: int) -> str:
        """Why a sample is suspect, in words: what the scans that count most say of it."""
        each, at = self._last(row)
        return each.reason(at)

    def reasons(self) -> list[str]:
        """The reason for each suspect, empty for other samples."""
        suspect = set(self.suspects.tolist())
        return [self.reason(row) if row in suspect else "" for row in range(len(self.data))]

    def clean_neighbours(self, row: int, count: int = 3) -> list[int]:
        """Rows of the nearest neighbours that are samples and no suspects."""
        near = self.first.neighbours(row)
        return [at for at in near if bool(self.keep[at])][:count]

    def _last(self, row: int) -> tuple[ScanRound, int]:
        """The last round that scanned a sample, and its row there."""
        for rows, each in reversed(self.rounds[1:]):
            at = int(torch.searchsorted(rows, row))
            if at < len(rows) and int(rows[at]) == row:
                return each, at
        return self.first, row


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

    Poison is planted in a copy of the data, so that the scan learns what it looks like there. The
    rest of suspicious data is scanned again, twice at most.

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
        DataError: If the data has one class alone, a class too few samples, or equal images alone;
            if every sample would be suspect.

    Example:
        `scan_samples(tempering.data.load("mnist").train, fpr=0.01).keep`
    """
    chosen = {name: SCANS[name] for name in (NAMES if scans is None else scans)}
    if not chosen:
        raise UsageError(f"no scans: give some of {', '.join(NAMES)}")
    check_rate(fpr, len(data) if clean is None else min(MOST_CLEAN, len(clean)))
    require_scannable(data)
    reference = None if clean is None else _reference(clean, data)
    rows = torch.arange(len(data))
    first = scan_once(data, fpr, tuple(chosen), reference, model, seed)
    if first.suspects == len(data):
        raise DataError(
            f"every sample of {data.name} is suspect: the scan cannot tell what is clean: give "
            "clean reference data of the same kind"
        )
    done = DataScan(data, fpr, ((rows, first),))
    for number in range(1, ROUNDS):
        rows = done.keep.nonzero()[:, 0]
        rest = data.subset(rows)
        if not done.rounds[-1][1].suspicious or not _scannable(rest):
            break
        own = derive(seed, "round", number)
        again = scan_once(rest, fpr, tuple(chosen), reference, model, own)
        if not again.suspicious or again.suspects == len(rest):
            break
        done = replace(done, rounds=(*done.rounds, (rows, again)))
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
        DataError: If it has one class alone, a class too few samples, or if images are too small
            or all equal.
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
    if all(bool((part == data.pixels[0]).all()) for part in torch.split(data.pixels, _COMPARED)):
        raise DataError(f"all {len(data)} images of {data.name} are equal: give different images")


def _scannable(data: Dataset) -> bool:
    try:
        require_scannable(data)
    except DataError:
        return False
    return True


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
