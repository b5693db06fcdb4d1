"""The smaller of two clusters of the features of a class."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.poisoning.features import Features
from tempering.poisoning.scans.base import ScanScores
from tempering.poisoning.scans.by_class import by_class

DIMENSIONS = 10
ALIKE = 0.35
"""Share of the smaller cluster from which on a class counts as split by nature."""
ROUNDING = 1e-5
"""Difference of features, over the largest, that is only rounding: such a class has no clusters."""


def activation_clustering(features: Features) -> ScanScores:
    """Score samples by how clearly they lie in the smaller of two clusters of their class.

    Chen et al., 'Detecting backdoor attacks on deep neural networks by activation clustering',
    2018. Features are reduced to 10 principal components. A cluster counts the less, the nearer
    its share is to 35 %, the paper's bound for what is a poisoned cluster.
    """
    score = by_class(features, _in_smaller_cluster)

    def reason(_row: int) -> str:
        return "it lies in the smaller of two clusters of its class"

    return ScanScores(score, reason)


def _in_smaller_cluster(seen: Tensor, number: int) -> Tensor:
    from sklearn.cluster import KMeans  # takes long to import

    centred = seen - seen.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:DIMENSIONS].T
    if float(reduced.abs().max()) <= ROUNDING * max(1.0, float(seen.abs().max())):
        return torch.zeros(len(seen))
    fitted = KMeans(2, n_init=2, random_state=number).fit(reduced.numpy())
    centres = torch.from_numpy(fitted.cluster_centers_).float()
    sizes = torch.bincount(torch.from_numpy(fitted.labels_).long(), minlength=2)
    small, large = int(sizes.argmin()), 1 - int(sizes.argmin())
    share = float(sizes[small]) / len(seen)
    between = (centres[0] - centres[1]).square().sum().clamp(min=1e-12)
    to_large = (reduced - centres[large]).square().sum(1)
    to_small = (reduced - centres[small]).square().sum(1)
    score: Tensor = (to_large - to_small) / between * max(0.0, 1 - share / ALIKE)
    return score
