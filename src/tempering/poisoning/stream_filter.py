"""A filter for streams: fitted to clean data, it scores batches as they come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tempering.core.arrays import read_arrays
from tempering.core.errors import DamagedArraysError, DataError, UsageError
from tempering.core.files import write_with
from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset
from tempering.poisoning.neighbours import nearest
from tempering.poisoning.projections import Components, principal

COMPONENTS, REFERENCES, NEIGHBOURS = 50, 5000, 15
HELD = 0.3
"""Share of the clean samples that the scores of the others are compared with."""
FEWEST = 50
_KEYS = ("mean", "axes", "variances", "points", "y", "distances", "margins", "shape", "classes")


@dataclass(frozen=True, eq=False)
class BatchScores:
    """What a filter says of a batch.

    Attributes:
        p_value: Share of clean samples that are at least as unusual, of each image, shape (n,).
        suspects: Which have a p-value of at most the false-positive rate, shape (n,), bool.
        chance: Probability of so many suspects, or more, in a clean batch.
    """

    p_value: Tensor
    suspects: Tensor
    chance: float


@dataclass(frozen=True, eq=False)
class StreamFilter:
    """Distances from clean samples, and their labels, with the scores of held-back clean ones.

    Images are scored by their whitened distance to the nearest clean sample (the statistical half
    of ML-Filter) and, where labels come with them, by the share of their clean neighbours with
    another label. The p-value is conformal: the share of held-back clean samples that score as
    high, the smaller one of both scores, doubled.

    Attributes:
        components: Principal components of clean images.
        points: Clean samples in them, whitened, shape (m, k).
        y: Their labels, shape (m,), int64.
        distances: Of held-back clean samples, ascending, shape (h,).
        margins: Shares of neighbours with another label, of the same, ascending, shape (h,).
        shape: Channels, height and width.
        classes: Class names.
    """

    components: Components
    points: Tensor
    y: Tensor
    distances: Tensor
    margins: Tensor
    shape: tuple[int, int, int]
    classes: tuple[str, ...]

    @classmethod
    def fit(cls, clean: Dataset, seed: int = 0) -> StreamFilter:
        """Fit a filter to clean data.

        Args:
            clean: Labelled images.
            seed: Of the draw of references.

        Raises:
            DataError: If there are too few.
        """
        if len(clean) < FEWEST:
            raise DataError(f"{clean.name} has {len(clean)} samples: give at least {FEWEST}")
        order = RandomStreams(derive(seed, "filter"), clean.ids.keys).order()
        held = order[: max(1, round(HELD * len(clean)))][:REFERENCES]
        rows = order[len(held) :][:REFERENCES]
        known = clean.images(rows).flatten(1)
        components = principal(lambda: torch.split(known, 1000), COMPONENTS)
        points = components.whitened(components.project(known), components.beside(known))
        empty = torch.empty(0)
        half = cls(components, points, clean.y[rows], empty, empty, clean.shape, clean.classes)
        distances, margins = half._scores(clean.images(held), clean.y[held])
        return cls(
            components,
            points,
            clean.y[rows],
            distances.sort().values,
            margins.sort().values,
            clean.shape,
            clean.classes,
        )

    def score(self, x: Tensor, y: Tensor | None = None, fpr: float = 0.01) -> BatchScores:
        """Score a batch.

        Args:
            x: Images in [0, 1], shape (n, c, h, w).
            y: Labels, shape (n,), int64; None without.
            fpr: Share of clean images that may be suspect.

        Raises:
            UsageError: If the rate is finer than the held-back samples can show.
            DataError: If images have another shape, or labels are no classes.
        """
        from scipy.stats import binom  # takes long to import

        finest = 2 / (len(self.distances) + 1)
        if not finest <= fpr < 0.5:
            raise UsageError(
                f"--fpr {fpr:g} with {len(self.distances)} held-back clean samples: give at least "
                f"{finest * 1.001:.2g} and below 0.5"
            )
        if tuple(x.shape[1:]) != self.shape:
            raise DataError(f"images of shape {tuple(x.shape[1:])}: the filter has {self.shape}")
        if y is not None and len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(self.classes):
            raise DataError(
                f"labels from {int(y.min())} to {int(y.max())}: the filter has classes 0 to "
                f"{len(self.classes) - 1}"
            )
        distances, margins = self._scores(x, y)
        p_value = _exceeding(distances, self.distances)
        if y is not None:
            p_value = torch.minimum(p_value, _exceeding(margins, self.margins))
            p_value = (2 * p_value).clamp(max=1)
        suspects = p_value <= fpr
        chance = float(binom.sf(int(suspects.sum()) - 1, len(x), fpr))
        return BatchScores(p_value, suspects, chance)

    def _scores(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        flat, space = x.flatten(1), self.components
        points = space.whitened(space.project(flat), space.beside(flat))
        own = torch.full((len(points),), -1)
        near = nearest(points, self.points, NEIGHBOURS, own, torch.arange(len(self.points)))
        if y is None:
            return near.distance[:, 0], torch.zeros(len(points))
        weight = 1 / (near.distance + 1e-3)
        other = (self.y[near.row] != y[:, None]).float() * weight
        return near.distance[:, 0], other.sum(1) / weight.sum(1)

    def save(self, path: Path) -> None:
        """Write it as `.npz`.

        Raises:
            RunError: If the file cannot be written.
        """
        arrays = {
            "mean": self.components.mean.numpy(),
            "axes": self.components.axes.numpy(),
            "variances": self.components.variances.numpy(),
            "points": self.points.numpy(),
            "y": self.y.numpy(),
            "distances": self.distances.numpy(),
            "margins": self.margins.numpy(),
            "shape": np.array(self.shape),
            "classes": np.array(self.classes),
        }

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)

        write_with(path, write)

    @classmethod
    def load(cls, path: Path) -> StreamFilter:
        """Read a filter.

        Raises:
            DataError: If there is none, or it is damaged.
        """
        remedy = "give a file made by temper scan data --fit"
        if not path.is_file():
            raise DataError(f"no filter {path}: {remedy}")
        try:
            arrays = read_arrays(path)
        except DamagedArraysError as error:
            raise DataError(f"cannot read {path}: {error}: {remedy}") from error
        if missing := [name for name in _KEYS if name not in arrays]:
            raise DataError(f"{path} has no array {missing[0]}: {remedy}")
        held = {name: torch.from_numpy(arrays[name].copy()) for name in _KEYS[:-2]}
        channels, height, width = (int(side) for side in arrays["shape"])
        return cls(
            Components(held["mean"], held["axes"], held["variances"]),
            held["points"],
            held["y"],
            held["distances"],
            held["margins"],
            (channels, height, width),
            tuple(str(name) for name in arrays["classes"]),
        )


def _exceeding(scores: Tensor, clean: Tensor) -> Tensor:
    """Conformal p-values: share of clean scores that are at least as high, shape (n,)."""
    below = torch.searchsorted(clean, scores.contiguous(), right=False)
    return (len(clean) - below + 1) / (len(clean) + 1)
