"""Distances that are larger than those between clean samples."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.random import RandomStreams, derive
from tempering.poisoning.features import Features
from tempering.poisoning.scans.base import ScanScores

GRID = (0.01, 0.05, 0.1, 0.2, 0.3)
"""Sizes of the perturbations that are compared, in pixel units."""
NOISE = 0.02
"""Deviation of pixels that is not taken for a change."""
BOUND = 0.99
SIGNIFICANT = 0.01
PROBED = 500


def perturbation_bounds(features: Features) -> ScanScores:
    """Score samples by their whitened distance to others over its 99th percentile.

    The statistical half of ML-Filter (Lavanya Sanapala and Gondi, 2024). Distances to the nearest
    neighbours are measured in whitened principal components, with what lies beside them as one
    more coordinate. The summary compares clean distances with those of copies that are perturbed
    by random signs over a grid of eps: Kolmogorov-Smirnov tests with Holm's correction at 0.01.
    The smallest eps that shows is the one below which the scan is blind.
    """
    space = features.components
    scale = (space.variances + NOISE**2).sqrt()

    def whitened(inside: Tensor, beside: Tensor) -> Tensor:
        return torch.cat([inside / scale, beside[:, None] / (NOISE * beside_scale)], 1)

    pixels = space.mean.numel()
    beside_scale = max(1.0, (pixels - len(scale)) ** 0.5)
    points = whitened(features.pixels, features.beside)
    near = features.near(points).distance[:, 0]
    finite = near[near.isfinite()]
    bound = float(finite.quantile(BOUND)) if len(finite) <= 2**24 else float(finite.max())
    score = (near / max(bound, 1e-6)).nan_to_num(posinf=10.0).clamp(max=10.0)

    def reason(row: int) -> str:
        return f"its nearest neighbour is {float(score[row]):.2f} of the bound away"

    return ScanScores(score, reason, _blindness(features, whitened, points, near))


def _blindness(features: Features, whitened, points: Tensor, near: Tensor) -> str:  # type: ignore[no-untyped-def]
    from scipy.stats import ks_2samp  # takes long to import

    from tempering.poisoning.neighbours import nearest

    streams = RandomStreams(derive(features.seed, "probed"), features.data.ids.keys)
    rows = streams.order()[:PROBED]
    x = features.data.images(rows).flatten(1)
    signs = streams.derive("signs")[rows].uniform((x.shape[1],)).sub(0.5).sign()
    references = features.references
    p_values = []
    for eps in GRID:
        moved = (x + eps * signs).clamp(0, 1)
        there = whitened(features.components.project(moved), features.components.beside(moved))
        far = nearest(
            there, points[references], 1, features.group[rows], features.group[references]
        ).distance[:, 0]
        p_values.append(float(ks_2samp(far.numpy(), near[rows].numpy(), alternative="less").pvalue))
    shown = [eps for eps, p in zip(GRID, holm(p_values), strict=True) if p < SIGNIFICANT]
    if not shown:
        return f"noise up to eps {GRID[-1]:g} does not show in distances"
    return f"noise of eps {min(shown):g} and more shows in distances; smaller ones do not"


def holm(p_values: list[float]) -> list[float]:
    """P-values corrected for several tests (Holm, 1979).

    Example:
        >>> holm([0.01, 0.04])
        [0.02, 0.04]
    """
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = worst
    return corrected
