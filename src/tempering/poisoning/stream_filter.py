"""A filter for streams: fitted to clean data, it scores batches as they come."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempering.core.arrays import read_arrays, require_layout
from tempering.core.errors import DamagedArraysError, DataError, UsageError
from tempering.core.files import write_with
from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset
from tempering.poisoning.neighbours import CHUNK, squared_distances
from tempering.poisoning.projections import Components, principal

COMPONENTS, REFERENCES = 1000, 5000
NOISE = 0.01
"""Deviation of pixels that is not taken for a change."""
LEADING, NEIGHBOURS = 50, 3
"""Components, and clean samples of a class, that labels are compared with."""
HELD = 0.3
"""Share of the clean samples that the scores of the others are compared with."""
FEWEST = 50
_LAYOUT: dict[str, tuple[type[np.generic], str]] = {
    "mean": (np.float32, "d"),
    "axes": (np.float32, "dk"),
    "variances": (np.float32, "k"),
    "inside": (np.float32, "mk"),
    "beside": (np.float32, "m"),
    "y": (np.int64, "m"),
    "distances": (np.float32, "h"),
    "margins": (np.float32, "h"),
    "shape": (np.int64, "s"),
    "classes": (np.str_, "c"),
}
"""Arrays of a file: type and sizes."""


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
    of ML-Filter) and, where labels come with them, by how far the nearest clean samples of their
    class are over those of the nearest other class (the inverse of the trust score; Jiang et al.,
    2018). The p-value is conformal: the share of held-back clean samples that score as high, the
    smaller one of both scores, doubled.

    Attributes:
        components: Principal components of clean images.
        inside: Clean samples in them, shape (m, k).
        beside: Their distances from the space of the components, shape (m,).
        y: Their labels, shape (m,), int64.
        distances: Of held-back clean samples, ascending, shape (h,).
        margins: Log of the ratio of distances to classes, of the same, ascending, shape (h,).
        shape: Channels, height and width.
        classes: Class names.
    """

    components: Components
    inside: Tensor
    beside: Tensor
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
        inside, beside = components.project(known), components.beside(known)
        empty = torch.empty(0)
        half = cls(
            components, inside, beside, clean.y[rows], empty, empty, clean.shape, clean.classes
        )
        distances, margins = half._scores(clean.images(held), clean.y[held])
        return replace(half, distances=distances.sort().values, margins=margins.sort().values)

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
        inside, beside = space.project(flat), space.beside(flat)
        distances, margins = [], []
        for rows in torch.split(torch.arange(len(x)), max(1, CHUNK // len(self.inside))):
            points = space.whitened(inside[rows], beside[rows], NOISE)
            distances.append(_distances(points, self._points).amin(1))
            if y is not None:
                near = _distances(inside[rows, :LEADING], self.inside[:, :LEADING])
                margins.append(self._margins(near, y[rows]))
        empty = torch.empty(0)
        return torch.cat([empty, *distances]), torch.cat([empty, *margins])

    @cached_property
    def _points(self) -> Tensor:
        return self.components.whitened(self.inside, self.beside, NOISE)

    def _margins(self, near: Tensor, y: Tensor) -> Tensor:
        """Log of the distance to the own class over that to the nearest other one, shape (n,)."""
        to = torch.full((len(near), len(self.classes)), torch.inf)
        for label in torch.unique(self.y).tolist():
            mine = near[:, self.y == label]
            to[:, label] = mine.topk(min(NEIGHBOURS, mine.shape[1]), largest=False).values.mean(1)
        to = (to + 1e-3).clamp(max=1e6)
        own = to.gather(1, y[:, None])[:, 0]
        other = to.scatter(1, y[:, None], 1e6).amin(1)
        return own.log() - other.log()

    def save(self, path: Path) -> None:
        """Write it as `.npz`.

        Raises:
            RunError: If the file cannot be written.
        """
        arrays = {
            "mean": self.components.mean.numpy(),
            "axes": self.components.axes.numpy(),
            "variances": self.components.variances.numpy(),
            "inside": self.inside.numpy(),
            "beside": self.beside.numpy(),
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
            _require_filter(arrays)
        except DamagedArraysError as error:
            raise DataError(f"cannot read {path}: {error}: {remedy}") from error
        numbers = [name for name in _LAYOUT if name not in ("shape", "classes")]
        held = {name: torch.from_numpy(arrays[name].copy()) for name in numbers}
        channels, height, width = (int(side) for side in arrays["shape"])
        return cls(
            Components(held["mean"], held["axes"], held["variances"]),
            held["inside"],
            held["beside"],
            held["y"],
            held["distances"],
            held["margins"],
            (channels, height, width),
            tuple(str(name) for name in arrays["classes"]),
        )


def _require_filter(arrays: dict[str, NDArray[Any]]) -> None:
    """Check that arrays make a filter.

    Raises:
        DamagedArraysError: If they do not.
    """
    require_layout(arrays, _LAYOUT)
    shape, y = arrays["shape"].tolist(), arrays["y"]
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) != len(arrays["mean"]):
        raise DamagedArraysError(f"images of shape {shape} have not {len(arrays['mean'])} pixels")
    if not 0 <= y.min() <= y.max() < len(arrays["classes"]):
        raise DamagedArraysError(
            f"labels from {y.min()} to {y.max()} of {len(arrays['classes'])} classes"
        )
    if arrays["variances"].min() < 0:
        raise DamagedArraysError(f"a variance is {arrays['variances'].min():g}")
    for name in ("distances", "margins"):
        if (np.diff(arrays[name]) < 0).any():
            raise DamagedArraysError(f"array {name} is not in ascending order")


def _exceeding(scores: Tensor, clean: Tensor) -> Tensor:
    """Conformal p-values: share of clean scores that are at least as high, shape (n,)."""
    below = torch.searchsorted(clean, scores.contiguous(), right=False)
    return (len(clean) - below + 1) / (len(clean) + 1)


def _distances(points: Tensor, references: Tensor) -> Tensor:
    """Euclidean distances, shape (n, m)."""
    squares = references.square().sum(1)
    return squared_distances(points, references, squares).clamp(min=0).sqrt()
