"""Nearest neighbours by batched linear algebra."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 2**23
"""Distances that are in memory at once."""


class Neighbours(NamedTuple):
    """Nearest references of some points.

    Attributes:
        distance: Ascending, shape (n, k), float32.
        row: Rows of the references, shape (n, k), int64.
    """

    distance: Tensor
    row: Tensor


def nearest(
    points: Tensor, references: Tensor, k: int, group: Tensor, reference_group: Tensor
) -> Neighbours:
    """The nearest references of each point that are not of its own group.

    Args:
        points: Shape (n, d), float32.
        references: Shape (m, d), float32.
        k: Neighbours; fewer if there are fewer references.
        group: Of each point, shape (n,), int64: a sample, its copies and what was made of it.
        reference_group: Of each reference, shape (m,), int64.

    Returns:
        Distances and rows; the distance is infinite where references are too few.
    """
    k = min(k, len(references))
    squares = references.square().sum(1)
    distances, rows = [], []
    for part, own in zip(
        *(torch.split(t, max(1, CHUNK // max(1, len(references)))) for t in (points, group)),
        strict=True,
    ):
        square = squared_distances(part, references, squares)
        square.masked_fill_(own[:, None] == reference_group[None], torch.inf)
        value, row = square.topk(k, largest=False)
        distances.append(value.clamp(min=0).sqrt())
        rows.append(row)
    return Neighbours(torch.cat(distances), torch.cat(rows))


def squared_distances(points: Tensor, references: Tensor, squares: Tensor) -> Tensor:
    """Squared Euclidean distances, shape (n, m); rounding may make small ones negative.

    Args:
        points: Shape (n, d).
        references: Shape (m, d).
        squares: Squared lengths of the references, shape (m,).
    """
    square = torch.addmm(squares[None], points, references.T, alpha=-2)
    return square.add_(points.square().sum(1, keepdim=True))
