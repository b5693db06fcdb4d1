"""One round of a scan: scores of some data, and what is above their threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tempering.core.progress import track
from tempering.core.random import derive
from tempering.data.dataset import Dataset
from tempering.poisoning.ensemble import Ensemble, combine
from tempering.poisoning.features import Features
from tempering.poisoning.planting import KINDS, Planted, plant
from tempering.poisoning.scans.base import ScanScores
from tempering.poisoning.scans.registry import SCANS
from tempering.poisoning.threshold import (
    Threshold,
    chance_of,
    mirrored_threshold,
    threshold_by_clean,
    threshold_by_planted,
)

SIGNIFICANT = 0.001
"""Probability of so many suspects in clean data below which data are suspicious."""
LEAST = 0.004
"""Share of suspects beyond chance from which on data are suspicious: the threshold may err."""
LEARNED = "strip"
"""The scan that is also a test by itself."""
RATES = (0.75, 0.5)
"""Parts of the false-positive rate: of the ensemble, whose threshold is an estimate that may err,
and of that scan, whose threshold is strict."""
REASONS = 2
"""Scans that a reason names."""


@dataclass(frozen=True, eq=False)
class ScanRound:
    """Scores of some data.

    Attributes:
        data: What was scanned.
        fpr: Share of clean samples that may be suspect.
        scans: Scan -> its scores of the samples, and of clean and planted ones behind them.
        ensemble: All of them as log-odds of planted poison.
        above: Of samples, clean and planted ones: by how much the ensemble or the scan of learned
            triggers is above its own threshold, whichever is more, shape (n + m,).
        learned: Whether it is the scan of learned triggers, shape (n + m,), bool.
        threshold: Above which of these a sample is suspect.
        features: What the scans looked at.
        kind: Kind of planted poison, -1 for others, of samples, clean and planted ones.
    """

    data: Dataset
    fpr: float
    scans: Mapping[str, ScanScores]
    ensemble: Ensemble
    above: Tensor
    learned: Tensor
    threshold: Threshold
    features: Features
    kind: Tensor

    @cached_property
    def score(self) -> Tensor:
        """By how much each sample is above the threshold, shape (n,), float32."""
        return self.above[: len(self.data)] - self.threshold.value

    @property
    def planted_score(self) -> Tensor:
        """The same of the planted copies, shape (m,)."""
        return self.above[self.kind >= 0] - self.threshold.value

    @property
    def suspects(self) -> int:
        """Number of samples above the threshold."""
        return int((self.score > 0).sum())

    @property
    def expected(self) -> float:
        """Number of suspects that chance alone would give."""
        return self.fpr * len(self.data)

    @cached_property
    def p_value(self) -> float:
        """Probability of so many suspects, or more, if all samples are clean."""
        return chance_of(self.suspects, len(self.data), self.fpr, self.threshold)

    @property
    def suspicious(self) -> bool:
        """Whether there are significantly more suspects than chance explains.

        Without clean reference data the threshold is an estimate. At least 0.4 % of the samples
        must then be suspects beyond chance as well.
        """
        excess = (self.suspects - self.expected) / len(self.data)
        clear = self.threshold.rank is not None or excess >= LEAST
        return clear and self.p_value < SIGNIFICANT

    def like(self, row: int) -> str:
        """The kind of planted poison that a sample is most like, or `learned trigger`."""
        if self.learned[row]:
            return "learned trigger"
        return KINDS[int(self.ensemble.odds[row].argmax())]

    def reason(self, row: int) -> str:
        """Why a sample is suspect: facts, and what the scans that count most say of it."""
        names = list(self.scans)
        kind = KINDS[int(self.ensemble.odds[row].argmax())]
        slope = torch.tensor([self.ensemble.weights[name][kind] for name in names])
        parts = self.ensemble.spread[row] * slope
        leading = [at for at in parts.argsort(descending=True).tolist() if float(parts[at]) > 0]
        if self.learned[row]:
            first = names.index(LEARNED)
            leading = [first, *(at for at in leading if at != first)]
        facts = [at for at, name in enumerate(names) if self._certain(name, row)]
        leading = [*facts, *(at for at in leading if at not in facts)]
        said = [self.scans[names[at]].reason(row) for at in leading[:REASONS]]
        return "; ".join(said) or "scores of no scan stand out"

    def _certain(self, name: str, row: int) -> bool:
        """Whether a scan states a fact about a sample."""
        certain = self.scans[name].certain
        return certain is not None and bool(certain[row])

    def seen(self, score: Tensor | None = None) -> dict[str, float]:
        """Kind of planted poison -> share of its copies that are suspect.

        Args:
            score: Of one scan, whose threshold is then the quantile of the data that the
                false-positive rate allows; None for the ensemble.
        """
        if score is None:
            score, value = self.above, self.threshold.value
        else:
            own = score[: len(self.data)].sort(descending=True).values
            value = float(own[min(len(own) - 1, int(self.expected))])
        return {
            name: float((score[self.kind == at] > value).float().mean())
            for at, name in enumerate(KINDS)
        }

    def neighbours(self, row: int) -> list[int]:
        """Rows of the nearest neighbours of a sample, those of planted copies left out."""
        near: list[int] = self.features.neighbours.row[row].tolist()
        return [at for at in near if at < len(self.data)]


def scan_once(
    data: Dataset,
    fpr: float,
    scans: Sequence[str],
    reference: Dataset | None,
    model: nn.Module | None,
    seed: int,
) -> ScanRound:
    """Plant poison in a copy of the data, score everything, and find the threshold.

    Args:
        data: Samples that can be scanned.
        fpr: Share of clean samples that may be suspect.
        scans: Names of scans.
        reference: Samples that are known to be clean, as the same kind of data.
        model: A network whose features are used; None to train small ones.
        seed: Of all draws.

    Returns:
        The round; in the worst case every sample is suspect.
    """
    planted = plant(data, derive(seed, "scan"))
    everything = planted if reference is None else _with_clean(planted, reference)
    features = Features(everything.data, everything.group, derive(seed, "features"), model)
    scores: dict[str, ScanScores] = {}
    with track("scanning", len(scans)) as advance:
        for at, name in enumerate(scans, 1):
            scores[name] = SCANS[name](features)
            advance(at, name)
    ensemble = combine({name: each.score for name, each in scores.items()}, everything.kind)
    learned = scores[LEARNED].score if LEARNED in scores else None
    above, first = _above_thresholds(ensemble, learned, everything.kind, len(data), fpr)
    if reference is None:
        threshold = Threshold(0.0)
    else:
        threshold = threshold_by_clean(above[len(data) : len(data) + len(reference)], fpr)
    return ScanRound(
        data, fpr, scores, ensemble, above, first, threshold, features, everything.kind
    )


def _above_thresholds(
    ensemble: Ensemble, learned: Tensor | None, kind: Tensor, n: int, fpr: float
) -> tuple[Tensor, Tensor]:
    """How far two tests are above their thresholds.

    Planted copies are few, so the ensemble learns to see rare triggers. One that is frequent hides
    among the samples of its class from all scans but that of learned triggers.

    Args:
        ensemble: Log-odds of planted poison.
        learned: Scores of the scan of learned triggers, shape (n + m,); None without it.
        kind: Kind of planted poison, -1 for others, shape (n + m,).
        n: Number of samples; clean and planted ones are behind them.
        fpr: Share of clean samples that both tests together may exceed.

    Returns:
        The larger one of both distances, shape (n + m,), and whether it is that of learned
        triggers.
    """
    copies = [ensemble.score[kind == at] for at in range(len(KINDS))]
    rates = [part * fpr for part in RATES]
    above = ensemble.score - threshold_by_planted(ensemble.score[:n], copies, rates[0]).value
    if learned is None:
        return above, torch.zeros_like(above, dtype=torch.bool)
    beyond = learned - mirrored_threshold(learned[:n], rates[1]).value
    return torch.maximum(above, beyond), beyond > above


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
