"""How far attributions move from clean images to others, and how much lies on the figure."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata, t
from torch import Tensor

from tempering.core.explanation_records import Mean

BRIGHT, DARK = 0.5, 0.1
"""Pixels above the first belong to the figure; those below the second are ground."""
GROUND = 1 / 3
"""Share of ground pixels from which images show a figure on a dark ground."""
FIGURE = f"pixels above {BRIGHT:g} of the clean image"


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of pixels, image by image; ties have their mean rank.

    Args:
        first: Maps, shape (n, h, w).
        second: Maps, same shape.

    Returns:
        From -1 to 1, shape (n,), float64. Equal maps have 1, also constant ones; a constant map
        and another have 0.

    Example:
        >>> x = torch.tensor([[[1.0, 2.0, 3.0]]])
        >>> rank_correlation(x, x**2).tolist(), rank_correlation(x, -x).tolist()
        ([1.0], [-1.0])
    """
    a, b = (_centred_ranks(maps) for maps in (first, second))
    norms = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(norms > 0, (a * b).sum(1) / norms, 0.0)
    equal = (first == second).flatten(1).all(1).cpu().numpy()
    return torch.from_numpy(np.where(equal, 1.0, values.clip(-1.0, 1.0)))


def _centred_ranks(maps: Tensor) -> NDArray[np.float64]:
    values = maps.detach().cpu().double().flatten(1).numpy()
    ranks: NDArray[np.float64] = np.asarray(rankdata(values, axis=1), dtype=np.float64)
    centred: NDArray[np.float64] = ranks - ranks.mean(1, keepdims=True)
    return centred


def shows_figures(x: Tensor) -> bool:
    """Whether images are grey with a bright figure on a dark ground, such as digits.

    Args:
        x: Images in [0, 1], shape (n, c, h, w).
    """
    return x.shape[1] == 1 and float((x < DARK).double().mean()) >= GROUND


def share_on_figure(maps: Tensor, clean: Tensor) -> Tensor:
    """Share of the attribution on the figure of the clean image, shape (n,), float64.

    Args:
        maps: Attribution without sign, shape (n, h, w).
        clean: Clean images, shape (n, 1, h, w).

    Returns:
        From 0 to 1; NaN where there is no attribution at all.
    """
    weights = maps.detach().cpu().double().abs()
    on = (clean[:, 0].cpu() > BRIGHT).double()
    return (weights * on).flatten(1).sum(1) / weights.flatten(1).sum(1)


def mean_of(values: Tensor) -> Mean | None:
    """The mean of finite values with its 95 % interval; None if there are none.

    Example:
        >>> mean_of(torch.tensor([1.0, 3.0])).value
        2.0
    """
    kept = values.detach().cpu().double()
    kept = kept[kept.isfinite()]
    n = len(kept)
    if n == 0:
        return None
    middle = float(kept.mean())
    half = 0.0
    if n > 1:
        half = float(t.ppf(0.975, n - 1)) * float(kept.std()) / math.sqrt(n)
    return Mean(value=middle, low=middle - half, high=middle + half, n=n)
