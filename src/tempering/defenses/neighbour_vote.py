"""The vote of the nearest training samples."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from tempering.defenses.distances import distances
from tempering.defenses.estimators import ESTIMATORS, Estimator, require_both


@ESTIMATORS.register("knn")
class NeighbourVote(Estimator):
    """Share of adversarial samples among the nearest ones (Cover and Hart, 1967)."""

    size_names = ("width", "samples", "neighbours")
    features: Tensor
    labels: Tensor

    def __init__(self, width: int, samples: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("features", torch.full((samples, width), float("nan")))
        self.register_buffer("labels", torch.zeros(samples, dtype=torch.int64))

    @classmethod
    def fitted(cls, features: Tensor, labels: Tensor, members: int, seed: int) -> Self:  # noqa: ARG003
        """Keep all samples."""
        require_both(labels, members)
        vote = cls(features.shape[1], len(features), members)
        vote.features.copy_(features)
        vote.labels.copy_(labels)
        return vote

    @classmethod
    def blank(cls, sizes: tuple[int, ...]) -> Self:
        """One with buffers of these sizes."""
        return cls(*sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width, samples kept, neighbours that vote."""
        samples, width = self.features.shape
        return width, samples, self.neighbours

    def forward(self, features: Tensor) -> Tensor:
        """Share of adversarial neighbours, shape (n,)."""
        near = distances(features, self.features).topk(self.neighbours, 1, largest=False).indices
        return self.labels[near].to(features.dtype).mean(1)
