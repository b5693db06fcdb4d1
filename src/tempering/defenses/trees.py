"""Random forests and gradient boosting, as arrays of nodes."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tempering.defenses.estimators import ESTIMATORS, Estimator, flat_rows, require_both


class TreeEnsemble(Estimator):
    """A weighted sum of decision trees.

    Each tree is a row of arrays: the feature that a node compares, its threshold, both
    children (a leaf is its own child) and the value of a leaf.
    """

    size_names = ("width", "trees", "nodes", "depth")
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    offset: Tensor

    def __init__(self, width: int, trees: int, nodes: int, depth: int) -> None:
        super().__init__()
        self.width, self.depth = width, depth
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(trees, nodes, dtype=torch.int64))
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.full((trees, nodes), float("nan")))
        self.register_buffer("offset", torch.tensor(float("nan")))

    @classmethod
    def blank(cls, sizes: tuple[int, ...]) -> Self:
        """One with buffers of these sizes."""
        return cls(*sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width, trees, nodes of the largest tree, depth of the deepest."""
        return (self.width, *self.feature.shape, self.depth)

    @classmethod
    def of(cls, trees: list[Any], values: list[Any], offset: float, width: int) -> Self:
        """Read the arrays of scikit-learn's trees.

        Args:
            trees: Objects `tree_`.
            values: What each node of each adds if it is a leaf.
            offset: What is added to the sum.
            width: Features.
        """
        nodes = max(tree.node_count for tree in trees)
        # a tree of one node has depth 0; a step in a leaf stays there
        ensemble = cls(width, len(trees), nodes, max(1, *(tree.max_depth for tree in trees)))
        for name, children in (("left", "children_left"), ("right", "children_right")):
            tables = [getattr(tree, children) for tree in trees]
            itself = [np.where(table < 0, np.arange(len(table)), table) for table in tables]
            ensemble.get_buffer(name).copy_(flat_rows(itself, nodes, 0))
        used = [np.maximum(tree.feature, 0) for tree in trees]
        ensemble.feature.copy_(flat_rows(used, nodes, 0))
        limits = [_rounded_down(tree.threshold) for tree in trees]
        ensemble.threshold.copy_(flat_rows(limits, nodes, 0))
        ensemble.value.copy_(flat_rows(values, nodes, 0))
        ensemble.offset.fill_(offset)
        return ensemble

    def total(self, features: Tensor) -> Tensor:
        """Sum of leaves and offset, shape (n,)."""
        trees, nodes = self.feature.shape
        first = torch.arange(trees, device=features.device) * nodes
        at = torch.zeros(len(features), trees, dtype=torch.int64, device=features.device)
        for _ in range(self.depth):
            place = at + first
            seen = features.gather(1, self.feature.take(place))
            goes_left = seen <= self.threshold.take(place)
            at = torch.where(goes_left, self.left.take(place), self.right.take(place))
        return self.value.take(at + first).sum(1) + self.offset

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Probabilities, shape (n,)."""


@ESTIMATORS.register("random_forest")
class RandomForest(TreeEnsemble):
    """Mean of the leaves' shares of adversarial samples (Breiman, 2001)."""

    @classmethod
    def fitted(cls, features: Tensor, labels: Tensor, members: int, seed: int) -> Self:
        """Fit trees of at least 2 samples a leaf."""
        from sklearn.ensemble import RandomForestClassifier  # takes long to import

        require_both(labels, 4)
        forest = RandomForestClassifier(members, min_samples_leaf=2, random_state=seed % 2**32)
        forest.fit(features.numpy(), labels.numpy())
        trees = [member.tree_ for member in forest.estimators_]
        values = [_adversarial_share(tree) / len(trees) for tree in trees]
        return cls.of(trees, values, 0.0, features.shape[1])

    def forward(self, features: Tensor) -> Tensor:
        """Mean share, shape (n,)."""
        return self.total(features)


@ESTIMATORS.register("gradient_boosting")
class GradientBoosting(TreeEnsemble):
    """Sigmoid of a sum of regression trees of depth 3 (Friedman, 2001)."""

    @classmethod
    def fitted(cls, features: Tensor, labels: Tensor, members: int, seed: int) -> Self:
        """Fit one tree after the other."""
        from sklearn.ensemble import GradientBoostingClassifier  # takes long to import

        require_both(labels, 4)
        boosting = GradientBoostingClassifier(
            n_estimators=members, max_features="sqrt", random_state=seed % 2**32
        )
        boosting.fit(features.numpy(), labels.numpy())
        trees = [member.tree_ for member in boosting.estimators_[:, 0]]
        values = [boosting.learning_rate * tree.value[:, 0, 0] for tree in trees]
        share = float(labels.double().mean())
        return cls.of(trees, values, math.log(share / (1 - share)), features.shape[1])

    def forward(self, features: Tensor) -> Tensor:
        """Probability, shape (n,)."""
        return torch.sigmoid(self.total(features))


def _adversarial_share(tree: Any) -> Any:
    """Share of adversarial samples in each node; some versions of scikit-learn keep counts."""
    return tree.value[:, 0, 1] / tree.value[:, 0].sum(1)


def _rounded_down(thresholds: Any) -> Any:
    """The largest float32 up to each threshold: float32 features compare with it alike."""
    near = thresholds.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > thresholds, below, near)
