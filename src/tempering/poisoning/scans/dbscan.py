"""Samples outside all large clusters of the incoming set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tempering.poisoning.features import Features
from tempering.poisoning.neighbours import Neighbours
from tempering.poisoning.scans.base import ScanScores

MIN_SAMPLES = 10
SMALL = 0.05
"""Share of the samples below which a cluster counts as small."""


def dbscan(features: Features) -> ScanScores:
    """Score samples by how far they are from being inside a large cluster.

    The half of ML-Filter against poisoned data (Lavanya Sanapala and Gondi, 2024): DBSCAN (Ester
    et al., 1996) on 50 principal components of pixels, at least 10 samples, eps from the knee of
    the sorted 10th distances. Only the nearest neighbours are linked, which needs memory linear
    in the number of samples. Noise scores by its 10th distance over eps, a member of a small
    cluster by 1 more.
    """
    near = features.neighbours
    at = min(MIN_SAMPLES, near.distance.shape[1]) - 1
    reach = near.distance[:, at]
    eps = knee(reach)
    cluster = _clusters(near, reach <= eps, eps)
    sizes = torch.bincount(cluster + 1)[1:]
    inside = cluster >= 0
    small = torch.zeros(len(reach), dtype=torch.bool)
    small[inside] = sizes[cluster[inside]] < SMALL * len(reach)
    score = (reach / eps).nan_to_num(posinf=10.0).clamp(max=10.0) + small.float()

    def reason(row: int) -> str:
        if small[row]:
            return f"it lies in a small cluster of {int(sizes[cluster[row]])} samples"
        return f"its 10th neighbour is {float(reach[row] / eps):.1f} times the usual reach away"

    noise = int((~inside).sum())
    return ScanScores(score, reason, f"{len(sizes)} clusters, {noise} samples in none")


def knee(values: Tensor) -> float:
    """The value where sorted values turn up: farthest below the line between their ends."""
    ordered = values[values.isfinite()].sort().values.double()
    if len(ordered) < 3 or float(ordered[-1]) <= float(ordered[0]):
        return float(values[values.isfinite()].max()) if len(ordered) else 1.0
    line = torch.linspace(0, 1, len(ordered), dtype=torch.float64)
    height = (ordered - ordered[0]) / (ordered[-1] - ordered[0])
    return max(float(ordered[int((line - height).argmax())]), 1e-6)


def _clusters(near: Neighbours, core: Tensor, eps: float) -> Tensor:
    """Cluster of each sample, -1 for noise, shape (n,), int64."""
    from scipy.sparse import coo_array  # takes long to import
    from scipy.sparse.csgraph import connected_components

    n = len(core)
    linked = (near.distance <= eps) & core[:, None] & core[near.row]
    start, where = linked.nonzero(as_tuple=True)
    end = near.row[start, where]
    graph = coo_array(
        (np.ones(len(start), dtype=np.int8), (start.numpy(), end.numpy())), shape=(n, n)
    )
    _, labels = connected_components(graph, directed=False)
    cluster = torch.from_numpy(labels).long()
    beside = (near.distance <= eps) & core[near.row]
    member = cluster[near.row.gather(1, beside.float().argmax(1, keepdim=True))[:, 0]]
    cluster = torch.where(core, cluster, torch.where(beside.any(1), member, -1))
    kept, renamed = cluster.unique(return_inverse=True)
    return renamed - int(kept[0] < 0)
